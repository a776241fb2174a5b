"""The bench's clock: a discrete-event queue in whole microseconds.

Nothing here sleeps. Time moves to the next event, so a run with the same seed gives the same octets
at the same microseconds, however fast or loaded the machine is.

Events belong to a home, or to none (the host's, or what reaches several homes). Those of one home follow each
other. While a board of one home computes, in a process of its own, the other homes go on, for `LOOKAHEAD_US` at
most: nothing gets from a home to the host or to another home any faster. So several processors work, and
what happens does not depend on which is the quicker.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Final

from hanlab.errors import HanlabError

FOREVER: Final = 1 << 62
"""A time (µs) after everything else."""

LOOKAHEAD_US: Final = 600
"""Less than an octet takes to the host (the adapter's 1,000 µs), or a frame over the air (at least 320 + 352 µs)."""
HERE: Final = -1
"""In place of a home: that of the event which makes the new one."""

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
        self._events: list[tuple[int, int, Callable[[], None], int | None]] = []
        self._order = 0
        self._home: int | None = None
        """Whose event this is."""
        self._computing: dict[int, tuple[int, Callable[[], None]]] = {}
        """By home: since when (µs) one of its boards computes, and what takes what it did."""
        self._horizon = FOREVER
        """How far the other homes may go on (µs)."""
        self._end = FOREVER
        """When it is the host's turn again (µs)."""
        self._describe: list[Callable[[], str]] = []

    def random(self, name: str) -> random.Random:
        """A generator of its own for each user, so that one more user does not shift the others."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, when: int, event: Callable[[], None], home: int | None = HERE) -> None:
        """Run `event`, one of that `home`'s, at `when` (µs; not in the past)."""
        if when < self.now:
            raise ValueError(f"event at {when} µs, but it is {self.now} µs already")
        self._order += 1
        home = self._home if home == HERE else home
        heapq.heappush(self._events, (when, self._order, event, home))

    def compute(self, done: Callable[[], None]) -> None:
        """A board of this event's home computes from now on; `done` waits for it, and takes what it did."""
        if self._home is None:
            done()
            return
        self._computing[self._home] = self.now, done
        self._horizon = min(self._horizon, self.now + LOOKAHEAD_US)

    def _wait_for(self, home: int) -> None:
        self.now, done = self._computing.pop(home)
        self._home = home
        self._horizon = LOOKAHEAD_US + min(
            (since for since, _ in self._computing.values()), default=FOREVER
        )
        done()

    def explain_with(self, describe: Callable[[], str]) -> None:
        """Add a line to the report of a deadlock, e.g. what a board printed last."""
        self._describe.append(describe)

    def next_time(self) -> int:
        """When the next event is due (µs), `FOREVER` if there is none."""
        return self._events[0][0] if self._events else FOREVER

    def next_turn(self) -> int:
        """When the next event is due, or the host's turn comes, whichever is first (µs)."""
        return min(self.next_time(), self._end)

    def run_until_host_ready(self, limit: int | None) -> bool:
        """Run events until one concerns the host (True), or until `limit` (µs; None: no limit)."""
        end = self._end = self.now + PATIENCE_US if limit is None else limit
        events, computing = self._events, self._computing
        try:
            while True:
                if computing:
                    when, home = (events[0][0], events[0][3]) if events else (FOREVER, None)
                    if home in computing and when <= self._horizon:
                        self._wait_for(home)
                        continue
                    if home is None or when > min(end, self._horizon):
                        self._wait_for(min(computing, key=lambda home: computing[home][0]))
                        continue
                elif not events or events[0][0] > end:
                    break
                self.now, _, event, self._home = heapq.heappop(events)
                event()
                if self.host_ready:
                    self.host_ready = False
                    return True
        finally:
            self._home = None
        if limit is None:
            why = "nothing will ever happen" if not events else "24 hours passed with no answer"
            lines = "\n".join(describe() for describe in self._describe)
            raise BenchError(
                f"deadlock at {self.now / 1e6:.6f} s of bench time: {why}\n{lines}",
                next_step="the last output of each board is above",
            )
        self.now = max(self.now, limit)
        return False
