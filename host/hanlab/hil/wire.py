"""A test's handle of a lab's wires: what goes wrong on them, what was heard, whose power fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlab.errors import UsageError
from hanlab.hil.asserts import assert_number, listed
from hanlab.impairments import WIRES
from hanlab.lab.counters import Counters, LaneReport

if TYPE_CHECKING:
    from hanlab.hil.boards import Board
    from hanlab.hil.lab import Lab
    from hanlab.s1sp.progress import Progress


@dataclass
class _Cut:
    """Of a board's power, when so much of the next transfer to it is done."""

    board: Board
    share: float
    off_s: float


class Wire:
    """ "wan" is each board's UART to the laptop, "han" the air."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._said: list[str] = []
        """What is wrong with them beyond lab.toml, as `--impair` says it."""
        self._cuts: list[_Cut] = []

    @property
    def capture(self) -> Path | None:
        """The file with what was heard on the HAN so far, for Wireshark; None: it is a wire that nobody hears."""
        return self.lab.facade.pcap

    def begin(self) -> None:
        """The wires are as lab.toml has them, and nobody's power is about to fail."""
        self._cuts.clear()
        if self._said:
            self.impair("")

    # -- what goes wrong

    def impair(self, text: str) -> None:
        """From now on the wires are as `--impair` says: "wan.loss=0.2,han.flips=0.001"; "" makes them good again.

        Raises:
            UsageError: it cannot be read, or means a real board's own wire.
        """
        __tracebackhide__ = True
        self._set([text])

    def pull(self, wire: str, for_s: float, *, in_s: float = 0.0) -> None:
        """There is no such wire ("wan" or "han") for so many seconds, from `in_s` on.

        Raises:
            UsageError: there is no such wire, or it is a real board's own.
        """
        __tracebackhide__ = True
        since = self.lab.facade.clock_us / 1e6 + in_s
        self._set([*self._said, f"{wire}.pulled={since}+{for_s}"])

    def _set(self, said: list[str]) -> None:
        __tracebackhide__ = True
        spoilt = self.lab.facade.config.impaired(",".join(said))
        self.lab.facade.desk.impair(spoilt.wan, spoilt.han)
        self._said = [text for text in said if text]

    def cut_power(
        self, *boards: Board, off_s: float = 1.0, in_s: float = 0.0, at: float | None = None
    ) -> None:
        """The power of these boards fails for `off_s` (s), in `in_s`.

        With `at` (0 to 1) it fails when that share of the next transfer to the board is done: of the upload
        to a CH, of the distribution to a device.

        Raises:
            UsageError: one of them is real.
        """
        __tracebackhide__ = True
        for board in boards:
            self.lab.facade.board(board.facade)  # which a real one has not
        if at is None:
            self.lab.facade.power_cycle(*(b.facade for b in boards), off_s=off_s, in_s=in_s)
        else:
            self._cuts += [_Cut(board, at, off_s) for board in boards]

    def progressed(self, progress: Progress) -> None:
        """A transfer has come so far: whose power is to fail now?"""
        for cut in tuple(self._cuts):
            stage = "upload" if cut.board.facade.is_hub else "distribute"
            if progress.stage == stage and progress.done >= cut.share * progress.total > 0:
                self._cuts.remove(cut)
                self.lab.facade.power_cycle(cut.board.facade, off_s=cut.off_s)

    # -- what happened

    @property
    def counters(self) -> Counters:
        """What happened on every wire and in every board since the lab was opened, in frames."""
        __tracebackhide__ = True
        return self.lab.run(self.lab.facade.counters())

    def assert_lost(
        self,
        wire: str,
        exactly: int | None = None,
        *,
        at_least: int | None = None,
        at_most: int | None = None,
    ) -> None:
        """So many frames were lost on "wan" or "han" since the lab was opened."""
        __tracebackhide__ = True
        self._assert(wire, "lost", lambda lane: lane.counters.lost, exactly, at_least, at_most)

    def assert_damaged(
        self,
        wire: str,
        exactly: int | None = None,
        *,
        at_least: int | None = None,
        at_most: int | None = None,
    ) -> None:
        """So many frames arrived with other octets."""
        __tracebackhide__ = True
        self._assert(
            wire, "damaged", lambda lane: lane.counters.damaged, exactly, at_least, at_most
        )

    def _assert(
        self,
        wire: str,
        what: str,
        count: Callable[[LaneReport], int],
        *bounds: int | None,
    ) -> None:
        __tracebackhide__ = True
        lanes = [lane for lane in self.counters.lanes if lane.wire == wire]
        if not lanes:
            raise UsageError(f"nothing went along {wire!r}", next_step=f"one of {', '.join(WIRES)}")
        lines = listed(map(_told, lanes), "nothing went along it")
        total = sum(map(count, lanes))
        assert_number(f"{what} on {wire}", total, "frames", *bounds, besides=lines)


def _told(lane: LaneReport) -> str:
    said = ((f.name, getattr(lane.counters, f.name)) for f in dataclasses.fields(lane.counters))
    return f"{lane.source} to {lane.sink}: " + ", ".join(f"{n:,} {name}" for name, n in said if n)
