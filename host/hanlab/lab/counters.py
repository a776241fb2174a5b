"""What happened on a lab's wires and in its boards, as one report: nothing is lost without a trace."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hanlab.bench.impair import LaneCounters
from hanlab.wan.client import ClientCounters


@dataclass(frozen=True)
class LaneReport:
    """One direction of a wire ("wan": a board's UART, "han": the air), in frames."""

    wire: str
    source: str
    sink: str
    counters: LaneCounters


@dataclass(frozen=True)
class BoardReport:
    """What a board counted since it started; empty where it did not answer."""

    name: str
    han: dict[str, int]
    """Frames by what became of them; firmware/smets1/han/network.py says what each name means."""
    wan: dict[str, int]
    uart_lost: int | None
    """Octets that found the UART's FIFO full, because flash work held the interrupts; None: a real board's."""


@dataclass(frozen=True)
class Counters:
    """Of a lab since it was opened."""

    lanes: tuple[LaneReport, ...]
    client: ClientCounters
    """Of the S1SP's clients on the CHs' UARTs, together."""
    boards: tuple[BoardReport, ...]

    @property
    def adds_up(self) -> bool:
        """Every frame that was sent was delivered, damaged or lost, and counted once."""
        return all(lane.counters.adds_up for lane in self.lanes)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"adds_up": self.adds_up}


def sum_of(clients: Iterable[ClientCounters]) -> ClientCounters:
    """What several clients counted, added up."""
    total: Counter[str] = Counter()
    for client in clients:
        total.update(dataclasses.asdict(client))
    return ClientCounters(**total)
