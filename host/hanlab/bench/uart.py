"""A UART wire between the host's serial adapter and a board: 8N1, in order, nothing in zero time."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from hanlab.bench.board import EmulatedBoard
from hanlab.bench.kernel import Kernel

BITS_PER_OCTET: Final = 10
"""8N1: start bit, eight data bits, stop bit."""

ADAPTER_LATENCY_US: Final = 1000
"""One USB frame: a full-speed USB serial adapter hands octets over once a millisecond."""


class HostPort:
    """The host's end: a `Link` for hanlab.wan. Reading gives what has arrived, waiting for some."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._received = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._wire: UartWire | None = None

    def plug(self, wire: UartWire) -> None:
        self._wire = wire

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
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
            self._kernel.host_ready = True


class UartWire:
    """`baud` bit/s each way, and the latency of the host's adapter.

    The board's UART raises an interrupt each `irq_level` octets, or when the line has been idle for
    `irq_idle_bits`: that is how finely octets reach the firmware.
    """

    def __init__(
        self, kernel: Kernel, host: HostPort, board: EmulatedBoard, link: int, baud: int
    ) -> None:
        self._kernel = kernel
        self._host = host
        self._board = board
        self._link = link
        self._octet_us = BITS_PER_OCTET * 1e6 / baud
        self._idle_us = board.facts.uart.irq_idle_bits * 1e6 / baud
        self._to_board_free = 0.0  # when the line has sent all that it was given (µs)
        self._to_host_free = 0.0
        host.plug(self)
        board.connect(link, self._from_board)

    def from_host(self, octets: bytes) -> None:
        start = max(self._kernel.now + ADAPTER_LATENCY_US, self._to_board_free)
        level = self._board.facts.uart.irq_level
        for i in range(0, len(octets), level):
            part = octets[i : i + level]
            arrived = start + (i + len(part)) * self._octet_us
            if len(part) < level:
                arrived += self._idle_us
            self._kernel.at(round(arrived), partial(self._board.arrive, self._link, part))
        self._to_board_free = start + len(octets) * self._octet_us

    def _from_board(self, when: int, octets: bytes) -> None:
        start = max(float(when), self._to_host_free)
        self._to_host_free = start + len(octets) * self._octet_us
        self._kernel.at(
            round(self._to_host_free) + ADAPTER_LATENCY_US, partial(self._host.feed, octets)
        )
