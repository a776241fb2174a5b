"""The bench paced by the wall clock, each board's UART on a PTY that any serial tool can open.

Nothing is emulated differently: events run when their time has come instead of at once, and what a
tool writes to a PTY is on the board's wire from then on.
"""

from __future__ import annotations

import os
import select
import socket
import time
import tty
from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from hanlab.bench.board import EmulatedBoard
from hanlab.bench.kernel import FOREVER, Kernel
from hanlab.bench.uart import UartWire

_PORTION: Final = 4096
"""Octets taken from a PTY at once."""
_BACKLOG_US: Final = 20_000
"""A line that is busy for longer takes no more: the PTY fills, and the tool's writing waits."""


class PtyPort:
    """The host's end of a UART wire: a tool opens `path` as it opens a serial adapter."""

    def __init__(self) -> None:
        # Both ends stay open here: a tool that closes its end hangs nothing up, as with an adapter.
        self._ours, self._tools = os.openpty()
        tty.setraw(self._tools)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(self._tools)
        self.unread = 0
        """Octets lost because no tool read them."""
        self._wire: UartWire | None = None

    def plug(self, wire: UartWire) -> None:
        self._wire = wire

    def feed(self, octets: bytes) -> None:
        try:
            taken = os.write(self._ours, octets)
        except BlockingIOError:
            taken = 0
        self.unread += len(octets) - taken

    def fileno(self) -> int:
        """Readable when a tool has written."""
        return self._ours

    @property
    def has_room(self) -> bool:
        return self._wire is not None and self._wire.busy_us < _BACKLOG_US

    def forward(self) -> None:
        """Put what a tool has written on the wire."""
        assert self._wire is not None
        self._wire.from_host(os.read(self._ours, _PORTION))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        os.close(self._ours)
        os.close(self._tools)


def serve(kernel: Kernel, boards: Collection[EmulatedBoard], ptys: Collection[PtyPort]) -> None:
    """Run events as the wall clock reaches them, and sleep between. Ends by an exception only.

    Raises:
        BoardError: a board died.
        KeyboardInterrupt: Ctrl-C.
    """
    zero = time.monotonic_ns() // 1000 - kernel.now
    while True:
        kernel.run_until_host_ready(time.monotonic_ns() // 1000 - zero)
        due = kernel.next_time()
        sleep = None if due == FOREVER else max(0, due + zero - time.monotonic_ns() // 1000) / 1e6
        lifelines = {board.lifeline: board for board in boards if board.lifeline}
        sources: list[socket.socket | PtyPort] = [*lifelines, *(p for p in ptys if p.has_room)]
        awake, _, _ = select.select(sources, [], [], sleep)
        kernel.run_until_host_ready(time.monotonic_ns() // 1000 - zero)
        for source in awake:
            if isinstance(source, PtyPort):
                source.forward()
            elif (board := lifelines[source]).lifeline is source:  # not one that has restarted
                raise board.died()
