"""Bad wires: each direction of a wire is a lane, and a lane may lose, damage, repeat or hold what goes along.

All of it is drawn from a generator of the lane's own, so a run repeats exactly, and all of it is
counted: `sent + duplicated == delivered + damaged + lost`, at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hanlab.bench.kernel import Kernel
from hanlab.impairments import Impairments

REORDER_US: Final = 100_000
"""How long a unit that is to be overtaken waits, at most, for another one to do that."""

Carry = Callable[[int, bytes], None]
"""Takes what comes along a lane: when (µs, not before now) and the octets."""


@dataclass
class LaneCounters:
    """What happened on one lane, in units."""

    sent: int = 0
    delivered: int = 0
    """Arrived as they were sent."""
    damaged: int = 0
    """Arrived with other octets: `flipped`, `truncated` or both. A radio drops these by their FCS."""
    lost: int = 0
    """Never arrived; `pulled` of them because there was no wire, or nobody at its end."""
    pulled: int = 0
    flipped: int = 0
    truncated: int = 0
    duplicated: int = 0
    """Arrived once more than they were sent."""
    reordered: int = 0
    stalled: int = 0
    retries: int = 0
    """Of `sent`, those that a radio sent again by itself, because no acknowledgement came."""
    given_up: int = 0
    """Frames whose last try was not acknowledged either."""
    acks_lost: int = 0
    """Acknowledgements of what went along here that never came back: the frame is sent again for nothing."""

    @property
    def adds_up(self) -> bool:
        return self.sent + self.duplicated == self.delivered + self.damaged + self.lost


class Lane:
    """One direction of a wire, `source` to `sink`; `carry` gets what is left of each unit."""

    def __init__(
        self,
        kernel: Kernel,
        wire: str,
        source: str,
        sink: str,
        impairments: Impairments,
        carry: Carry,
    ) -> None:
        self.wire = wire
        self.source = source
        self.sink = sink
        self.counters = LaneCounters()
        self._kernel = kernel
        self._carry = carry
        self._random = kernel.random(f"{wire} {source} to {sink}")
        self._bad = False  # in a burst of losses
        self._stalled_until = 0
        self._held: tuple[int, bytes] | None = None  # to be overtaken by the next unit
        self.impair(impairments)

    def impair(self, impairments: Impairments, carry: Carry | None = None) -> None:
        """From now on it is that bad; `carry` takes what comes along, if somebody else does now."""
        self.impairments = impairments
        self._impaired = impairments.any
        self._carry = carry or self._carry
        self._pulled = [
            (round(start * 1e6), round((start + duration) * 1e6))
            for start, duration in impairments.pulled
        ]

    def take(self, when: int, unit: bytes, *, again: bool = False, heard: bool = True) -> bool:
        """Carry a unit that is sent at `when` (µs): whether it gets to the other end, undamaged.

        `again`: it is a radio's next try; not `heard`: nobody is there at the other end.
        """
        counters = self.counters
        counters.sent += 1
        counters.retries += again
        if not heard:
            counters.lost += 1
            counters.pulled += 1
            return False
        if not self._impaired:
            counters.delivered += 1
            self._carry(when, unit)
            return True
        if self.loses(when):
            counters.lost += 1
            return False
        octets = self._altered(unit)
        intact = octets == unit
        copies = 1
        if self._happens(self.impairments.duplicate):
            counters.duplicated += 1
            copies = 2
        if intact:
            counters.delivered += copies
        else:
            counters.damaged += copies
        when = self._after_stall(when)
        held, self._held = self._held, None
        if held is None and self._happens(self.impairments.reorder):
            counters.reordered += 1
            self._hold(when, octets)
            copies -= 1
        for _ in range(copies):
            self._carry(when, octets)
        if held is not None:
            self._carry(when, held[1])
        return intact

    def loses(self, when: int) -> bool:
        """Whether something sent at `when` is lost; for acknowledgements, which no lane carries."""
        if any(start <= when < end for start, end in self._pulled):
            self.counters.pulled += 1
            return True
        loss, burst = self.impairments.loss, self.impairments.burst
        if not loss:
            return False
        draw = self._random.random()
        if burst <= 1 or loss >= 1:
            return draw < loss
        # Gilbert: a burst ends with chance 1/burst a unit, and begins as often as makes `loss` the share
        self._bad = draw >= 1 / burst if self._bad else draw < loss / (burst * (1 - loss))
        return self._bad

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate

    def _altered(self, unit: bytes) -> bytes:
        octets = unit
        if len(unit) > 1 and self._happens(self.impairments.truncate):
            self.counters.truncated += 1
            octets = unit[: self._random.randrange(1, len(unit))]
        flips = self.impairments.flips
        at = self._next_flip(-1, flips)
        if at >= len(octets):
            return octets
        self.counters.flipped += 1
        flipped = bytearray(octets)
        while at < len(flipped):
            flipped[at] ^= 1 << self._random.randrange(8)
            at = self._next_flip(at, flips)
        return bytes(flipped)

    def _next_flip(self, at: int, rate: float) -> int:
        """The next octet behind `at` that is flipped: geometrically distributed, one draw a flip."""
        if rate <= 0:
            return 1 << 30
        if rate >= 1:
            return at + 1
        return at + 1 + int(math.log(1.0 - self._random.random()) / math.log(1.0 - rate))

    def _after_stall(self, when: int) -> int:
        when = max(when, self._stalled_until)
        if self._happens(self.impairments.stall):
            self.counters.stalled += 1
            when += round(self.impairments.stall_s * 1e6)
            self._stalled_until = when
        return when

    def _hold(self, when: int, octets: bytes) -> None:
        late = when + REORDER_US
        self._held = held = (late, octets)

        def let_go() -> None:
            if self._held is held:  # nothing has overtaken it
                self._held = None
                self._carry(late, octets)

        self._kernel.at(late, let_go)
