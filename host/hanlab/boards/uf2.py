"""What emulated RP2040s are called, and where the MicroPython that they run comes from."""

from __future__ import annotations

from typing import Final

RP2040: Final = "rp2040"
"""A board of that name is an emulated RP2040 (bench/rp2040); after a colon the UF2 file that it runs."""
UF2: Final = "HANLAB_UF2"
"""The environment variable that names that file where lab.toml does not."""
DOWNLOAD: Final = "https://micropython.org/download/RPI_PICO/"
"""Where MicroPython for a Raspberry Pi Pico is."""
