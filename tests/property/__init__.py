"""Property tests: every codec, both ways, host against firmware, and any octets at all."""
