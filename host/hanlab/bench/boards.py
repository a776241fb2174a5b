"""What the bench needs of a board, however it is emulated: in a MicroPython VM or on an emulated chip."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from hanlab.bench.board import BoardError, Transmit
from hanlab.bench.flash import NorFlash
from hanlab.boards.data import Board


class BenchBoard(Protocol):
    """A board on the bench. Times are the kernel's, in µs."""

    name: str
    facts: Board
    flash: NorFlash
    """Its filesystem: lasts from one command to the next."""
    home: int | None
    """The PAN whose events its own are; None: it is on none, or who knows where."""
    on_death: Callable[[BoardError], bool] | None
    """Asked when it has died or hangs: whether it starts again, as after a power failure."""

    @property
    def running(self) -> bool:
        """It is switched on and its firmware runs (it may be busy)."""

    @property
    def unique_id(self) -> bytes:
        """The board's own, its EUI-64 (8 octets, most significant first)."""

    @property
    def lost(self) -> int:
        """Octets that found a UART's hardware FIFO full."""

    @property
    def pid(self) -> int | None:
        """Its process; None: it is off, or has none."""

    @property
    def lifeline(self) -> socket.socket | None:
        """Readable between two steps only if its process has ended: then `gone` says how."""

    def connect(self, link: int, transmit: Transmit) -> None:
        """Plug a wire into one of the board's links; `transmit` takes what the board sends."""

    def arrive(self, link: int, octets: bytes) -> None:
        """UART octets reach the board now."""

    def power_on(self) -> None:
        """Switch it on; it boots for as long as it does."""

    def power_off(self) -> None:
        """Cut the power: it ends at once, wherever it is. `power_on` starts it again."""

    def cut_power(self, off_us: int = ...) -> None:
        """The power fails now, wherever the board is, and comes back after `off_us`."""

    def gone(self) -> None:
        """Its process has ended between two steps.

        Raises:
            BoardError: it does not start again.
        """

    def last_output(self) -> str:
        """The board's name and the last lines that its firmware printed."""

    def close(self) -> None:
        """Power off for good; the flash file stays."""
