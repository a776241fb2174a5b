"""The S1SP: turns accepted Service Requests into WAN commands under the rules of the Device Model."""
