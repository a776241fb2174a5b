"""What came of many cuts, as the tables and pictures show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, unique

from hanlab.sweep.cut import Result
from hanlab.sweep.plan import How, Plan


@unique
class State(IntEnum):
    """The worst comes last."""

    NOT_TRIED = 0
    WENT_ON = 1
    """The command that the cut met came to its end all the same, or nothing was left to do."""
    REPEATED = 2
    """The user sent the commands again, and they came to their end."""
    BREACH = 3


def state(result: Result) -> State:
    if result.breaches:
        return State.BREACH
    return State.REPEATED if result.repeated else State.WENT_ON


@dataclass(frozen=True)
class Row:
    """One way to cut the operations of one board; `states` has one for each of them, in order."""

    board: str
    how: How
    everything: bool
    states: tuple[State, ...]

    @property
    def label(self) -> str:
        return f"{self.how}, {'all lose power' if self.everything else 'it alone'}"

    def count(self, *states: State) -> int:
        return sum(s in states for s in self.states)

    @property
    def cuts(self) -> int:
        return len(self.states) - self.count(State.NOT_TRIED)


def rows(plan: Plan, results: Iterable[Result]) -> list[Row]:
    """A row for each board, scope and kind of cut that was tried."""
    tried = {(r.cut.board, r.cut.everything, r.cut.how, r.cut.operation): r for r in results}
    made = []
    for board in plan.boards:
        for everything in (False, True):
            for how in How:
                found = (
                    tried.get((board, everything, how, number + 1))
                    for number in range(plan.operations(board))
                )
                states = tuple(state(r) if r else State.NOT_TRIED for r in found)
                row = Row(board, how, everything, states)
                if row.cuts:
                    made.append(row)
    return made
