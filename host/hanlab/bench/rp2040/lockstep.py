"""Chips in step with the bench: all of them run up to the next moment at which something can reach one.

A chip computes ahead of the bench's clock, but never past an event that is queued, nor so far that something
which another chip sends meanwhile would have arrived: so what crosses a wire does that at its microsecond.
"""

from __future__ import annotations

from typing import Final, Protocol

from hanlab.bench.kernel import LOOKAHEAD_US, Kernel

_LONGEST_US: Final = 100_000
"""Of a slice in which all chips sleep."""


class Stepped(Protocol):
    @property
    def sleeps_until(self) -> float:
        """Nothing happens on it before then (µs) unless something arrives; now or earlier: it computes."""

    def run_to(self, when: int) -> None:
        """Run up to then, and hand over what it has sent."""


class Lockstep:
    """The chips of a bench that are switched on."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._chips: list[Stepped] = []
        self._due = False

    def join(self, chip: Stepped) -> None:
        """From now on it is stepped."""
        self._chips.append(chip)
        if not self._due:
            self._due = True
            self._kernel.at(self._kernel.now, self._step, None)

    def leave(self, chip: Stepped) -> None:
        self._chips.remove(chip)

    def _step(self) -> None:
        kernel = self._kernel
        self._due = bool(self._chips)
        if not self._due:
            return
        now = kernel.now
        ahead = now + LOOKAHEAD_US
        asleep = min(*(chip.sleeps_until for chip in self._chips), now + _LONGEST_US)
        until = min(kernel.next_turn(), max(ahead, int(asleep)))
        for chip in tuple(self._chips):
            chip.run_to(max(until, now))
        if until <= now < kernel.next_time():  # it is the host's turn
            until = now + 1
        kernel.at(max(until, now), self._step, None)
