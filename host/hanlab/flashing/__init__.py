"""Boards at the laptop's ports: which are there, what is on them, and getting the firmware onto them."""
