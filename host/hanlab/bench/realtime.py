"""The bench paced by the wall clock, each board's UART on a PTY or a TCP port that any tool can open.

Nothing is emulated differently: events run when their time has come instead of at once, and what a
tool writes is on the board's wire from then on.
"""

from __future__ import annotations

import os
import select
import socket
import time
import tty
from collections.abc import Collection
from typing import Final, Protocol, Self

from hanlab.bench.boards import BenchBoard
from hanlab.bench.kernel import FOREVER, Kernel
from hanlab.bench.uart import HostEnd, UartWire
from hanlab.tcp import listen

_PORTION: Final = 4096
"""Octets taken from a tool at once."""
_BACKLOG_US: Final = 20_000
"""A line that is busy for longer takes no more: the tool's writing waits."""


class ToolPort(HostEnd, Protocol):
    """The host's end of a UART wire that a tool attaches to."""

    @property
    def path(self) -> str:
        """Where: as pyserial takes it."""

    def fileno(self) -> int:
        """Readable when a tool has something."""

    @property
    def has_room(self) -> bool:
        """The wire can take more."""

    def forward(self) -> None:
        """Put what a tool has written on the wire."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


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

    def __exit__(self, *error: object) -> None:
        os.close(self._ours)
        os.close(self._tools)


class TcpPort:
    """The host's end of a UART wire as a TCP server: octets as they are, for one tool after the other."""

    def __init__(self, host: str, port: int) -> None:
        """Raises UsageError where the address is not to be had; port 0 is any that is free."""
        self._listener = listen(host, port, "--tcp {host}:{port}", backlog=1)
        bound = self._listener.getsockname()
        self.path = f"socket://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
        self.unread = 0
        """Octets lost because no tool read them."""
        self._tool: socket.socket | None = None
        self._wire: UartWire | None = None

    def plug(self, wire: UartWire) -> None:
        self._wire = wire

    def feed(self, octets: bytes) -> None:
        taken = 0
        if self._tool:
            try:
                taken = self._tool.send(octets)
            except BlockingIOError:
                pass
            except OSError:
                self._hang_up()
        self.unread += len(octets) - taken

    def fileno(self) -> int:
        """Readable when a tool attaches, has written, or hangs up."""
        return (self._tool or self._listener).fileno()

    @property
    def has_room(self) -> bool:
        return self._wire is not None and self._wire.busy_us < _BACKLOG_US

    def forward(self) -> None:
        """Take what a tool wants: to attach, to send, to leave."""
        assert self._wire is not None
        if self._tool is None:
            self._tool, _ = self._listener.accept()
            self._tool.setblocking(False)
            self._tool.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return
        try:
            octets = self._tool.recv(_PORTION)
        except OSError:
            octets = b""
        if octets:
            self._wire.from_host(octets)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._tool:
            self._tool.close()
        self._tool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._hang_up()
        self._listener.close()


def serve(kernel: Kernel, boards: Collection[BenchBoard], ports: Collection[ToolPort]) -> None:
    """Run events as the wall clock reaches them, and sleep between. Ends by an exception only.

    Raises:
        BoardError: a board died, and does not start again (`BenchBoard.on_death`).
        KeyboardInterrupt: Ctrl-C.
    """
    zero = time.monotonic_ns() // 1000 - kernel.now
    while True:
        kernel.run_until_host_ready(time.monotonic_ns() // 1000 - zero)
        due = kernel.next_time()
        sleep = None if due == FOREVER else max(0, due + zero - time.monotonic_ns() // 1000) / 1e6
        lifelines = {board.lifeline: board for board in boards if board.lifeline}
        sources: list[socket.socket | ToolPort] = [*lifelines, *(p for p in ports if p.has_room)]
        awake, _, _ = select.select(sources, [], [], sleep)
        kernel.run_until_host_ready(time.monotonic_ns() // 1000 - zero)
        for source in awake:
            if not isinstance(source, socket.socket):
                source.forward()
            elif (board := lifelines[source]).lifeline is source:  # not one that has restarted
                board.gone()
