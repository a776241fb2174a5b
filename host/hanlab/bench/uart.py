"""A UART wire between the host's serial adapter and a board: 8N1, in order, nothing in zero time."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final, Protocol

from hanlab.bench.boards import BenchBoard
from hanlab.bench.impair import Lane
from hanlab.bench.kernel import Kernel
from hanlab.impairments import PERFECT, Impairments

BITS_PER_OCTET: Final = 10
"""8N1: start bit, eight data bits, stop bit."""

ADAPTER_LATENCY_US: Final = 1000
"""One USB frame: a full-speed USB serial adapter hands octets over once a millisecond."""

_UNREAD: Final = 1 << 20
"""So many octets at most wait for a reader: what talks without being asked may have none."""


class Line(Protocol):
    """What carries the host's octets to a board."""

    @property
    def framing(self) -> str:
        """How messages go over it: a name of `hanlab.wan.framing`."""

    @property
    def octets_s(self) -> float:
        """How fast it is, each way (octet/s)."""

    def from_host(self, octets: bytes) -> None:
        """Send them, one after the other."""


class HostEnd(Protocol):
    """The host's end of a wire."""

    def plug(self, wire: UartWire) -> None:
        """Take `wire`: its `from_host` sends."""

    def feed(self, octets: bytes) -> None:
        """Take what has arrived from the board."""


class HostPort:
    """The host's end: a `Link` for hanlab.wan. Reading gives what has arrived, waiting for some."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._received = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._wire: Line | None = None

    def plug(self, wire: Line) -> None:
        self._wire = wire

    @property
    def framing(self) -> str:
        """How messages go over the wire: a name of `hanlab.wan.framing`."""
        assert self._wire is not None
        return self._wire.framing

    @property
    def octets_s(self) -> float:
        """How fast the wire is, each way (octet/s)."""
        assert self._wire is not None
        return self._wire.octets_s

    def write(self, octets: bytes) -> None:
        """Queue octets for sending; the wire sends them one after the other."""
        assert self._wire is not None
        self._wire.from_host(octets)

    async def read(self) -> bytes:
        """The octets that have arrived since the last read (at least one)."""
        if not self._received:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        octets = bytes(self._received)
        self._received.clear()
        return octets

    def feed(self, octets: bytes) -> None:
        self._received += octets
        del self._received[:-_UNREAD]
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
            self._kernel.host_ready = True


class UartWire:
    """`baud` bit/s each way, and the latency of the host's adapter.

    The board's UART raises an interrupt each `irq_level` octets, or when the line has been idle for
    `irq_idle_bits`: that is how finely octets reach the firmware. A unit, for `impairments`, is what is
    written at once: an SMP frame, or (console framing) a line of one.
    """

    framing: Final = "cobs"

    def __init__(
        self,
        kernel: Kernel,
        host: HostEnd,
        board: BenchBoard,
        link: int,
        baud: int,
        impairments: Impairments = PERFECT,
    ) -> None:
        self._kernel = kernel
        self._host = host
        self._board = board
        self._link = link
        self._octet_us = BITS_PER_OCTET * 1e6 / baud
        self._idle_us = board.facts.uart.irq_idle_bits * 1e6 / baud
        self._to_board_free = 0.0  # when the line has sent all that it was given (µs)
        self._to_host_free = 0.0
        self.to_board = Lane(kernel, "wan", "host", board.name, impairments, self._carry_to_board)
        self.to_host = Lane(kernel, "wan", board.name, "host", impairments, self._carry_to_host)
        host.plug(self)
        board.connect(link, self._from_board)

    def impair(self, impairments: Impairments) -> None:
        """From now on it is that bad, both ways."""
        self.to_board.impair(impairments)
        self.to_host.impair(impairments)

    @property
    def octets_s(self) -> float:
        """Octets that the line carries in a second."""
        return 1e6 / self._octet_us

    @property
    def busy_us(self) -> float:
        """How long (µs) the line to the board still sends what it was given."""
        return max(0.0, self._to_board_free - self._kernel.now)

    def from_host(self, octets: bytes) -> None:
        self.to_board.take(self._kernel.now, octets)

    def _carry_to_board(self, when: int, octets: bytes) -> None:
        start = max(when + ADAPTER_LATENCY_US, self._to_board_free)
        level = self._board.facts.uart.irq_level
        for i in range(0, len(octets), level):
            part = octets[i : i + level]
            arrived = start + (i + len(part)) * self._octet_us
            if len(part) < level:
                arrived += self._idle_us
            arrive = partial(self._board.arrive, self._link, part)
            self._kernel.at(round(arrived), arrive, self._board.home)
        self._to_board_free = start + len(octets) * self._octet_us

    def _from_board(self, when: int, octets: bytes) -> None:
        self.to_host.take(when, octets)

    def _carry_to_host(self, when: int, octets: bytes) -> None:
        start = max(float(when), self._to_host_free)
        self._to_host_free = start + len(octets) * self._octet_us
        arrived = round(self._to_host_free) + ADAPTER_LATENCY_US
        # what is left of a damaged unit comes when all of it has come
        self._kernel.at(max(arrived, self._kernel.now), partial(self._host.feed, octets), None)
