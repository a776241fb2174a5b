"""Bluetooth LE with no radio: bumble's controllers on one air, in the time that the loop keeps (the bench's, in tests).

`air.py` the air and its connection events, `board_radio.py` an emulated board's radio on it, `bleak_backend.py`
bleak's own API for a central on it.
"""
