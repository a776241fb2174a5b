"""Fuzzing of the parsers of the host: targets, a kept corpus, and the test that replays it."""
