"""The bench's clock: a discrete-event queue in whole microseconds.

Nothing here sleeps. Time moves to the next event, so a run with the same seed gives the same octets
at the same microseconds, however fast or loaded the machine is.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Final

from hanlab.errors import HanlabError

FOREVER: Final = 1 << 62
"""A time (µs) after everything else."""

PATIENCE_US: Final = 24 * 3600 * 1_000_000
"""How long (virtual µs) the host waits for boards that are busy but never answer."""


class BenchError(HanlabError):
    """The emulation cannot go on: a deadlock, or a board that died."""

    exit_code = 2


class Kernel:
    """Events in order of time; those of one microsecond in the order in which they were made."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0
        self.seed = seed
        self.host_ready = False
        """Set by an event that gave the host's asyncio loop something to do."""
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._describe: list[Callable[[], str]] = []

    def random(self, name: str) -> random.Random:
        """A generator of its own for each user, so that one more user does not shift the others."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, when: int, event: Callable[[], None]) -> None:
        """Run `event` at `when` (µs; not in the past)."""
        if when < self.now:
            raise ValueError(f"event at {when} µs, but it is {self.now} µs already")
        self._order += 1
        heapq.heappush(self._events, (when, self._order, event))

    def explain_with(self, describe: Callable[[], str]) -> None:
        """Add a line to the report of a deadlock, e.g. what a board printed last."""
        self._describe.append(describe)

    def next_time(self) -> int:
        """When the next event is due (µs), `FOREVER` if there is none."""
        return self._events[0][0] if self._events else FOREVER

    def run_until_host_ready(self, limit: int | None) -> None:
        """Run events until one concerns the host, or until `limit` (µs; None: no limit)."""
        end = self.now + PATIENCE_US if limit is None else limit
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, event = heapq.heappop(events)
            event()
            if self.host_ready:
                self.host_ready = False
                return
        if limit is None:
            why = "nothing will ever happen" if not events else "24 hours passed with no answer"
            lines = "\n".join(describe() for describe in self._describe)
            raise BenchError(
                f"deadlock at {self.now / 1e6:.6f} s of bench time: {why}\n{lines}",
                next_step="the last output of each board is above",
            )
        self.now = max(self.now, limit)
