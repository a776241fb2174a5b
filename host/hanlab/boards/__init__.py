"""Boards, the Device Models they can play, and the MicroPython VM of the emulated ones."""
