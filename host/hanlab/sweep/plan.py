"""Which cuts there are: each flash operation of an update or a join, cut in three ways, one board or all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import Final, Protocol

from hanlab.bench.flash import Effect, Kind
from hanlab.errors import UsageError
from hanlab.lab import Lab
from hanlab.lab.config import LabConfig

EVERYTHING: Final = "both"
"""The last word of a cut that takes the power from every board, and ends the host's command."""


@unique
class Phase(StrEnum):
    """The parts of an update, in order, and a join, which is one.

    A one-step CH distributes as a part of `activate`.
    """

    PUSH = "push"
    DISTRIBUTE = "distribute"
    ACTIVATE = "activate"
    JOIN = "join"


@unique
class How(StrEnum):
    """How a cut meets an operation."""

    BEFORE = "before"
    TORN = "torn"
    AFTER = "after"

    @property
    def effect(self) -> Effect:
        return {
            How.BEFORE: Effect.CUT_BEFORE,
            How.TORN: Effect.CUT_TORN,
            How.AFTER: Effect.CUT_AFTER,
        }[self]


@dataclass(frozen=True)
class Cut:
    """The power goes at `operation` (from 1) of the board `board`.

    `everything`: not that board's alone but every board's, and the host's command ends there.
    """

    board: str
    how: How
    operation: int
    everything: bool = False

    def __str__(self) -> str:
        text = f"{self.board}:{self.how}:{self.operation}"
        return f"{text}:{EVERYTHING}" if self.everything else text

    @classmethod
    def parse(cls, text: str) -> Cut:
        """The cut that `str` wrote.

        Raises:
            UsageError: it is none.
        """
        board, _, rest = text.partition(":")
        how, _, rest = rest.partition(":")
        number, _, last = rest.partition(":")
        if (
            not board
            or how not in list(How)
            or not (number.isascii() and number.isdigit())
            or last not in ("", EVERYTHING)
        ):
            raise UsageError(
                f"{text!r} is no cut",
                next_step="BOARD:before|torn|after:OPERATION, e.g. hub:torn:12, or with :both behind",
            )
        return cls(board, How(how), int(number), bool(last))


@dataclass(frozen=True)
class Stage:
    """A part that begins with the boards switched on, from the flash in `folder`.

    `operations` has the kind of each flash operation of each board, in order; `first` the number
    (in the whole) of the first one.
    """

    phase: Phase
    folder: Path
    first: dict[str, int]
    operations: dict[str, tuple[Kind, ...]]

    def numbers(self, board: str) -> range:
        """The numbers of that board's operations in the whole."""
        first = self.first[board]
        return range(first, first + len(self.operations[board]))


@dataclass
class Course:
    """How it goes on after the cut. `repeated`: how often the user had to send the commands again."""

    distributed: bool = False
    done: bool = False
    repeated: int = 0


class Swept(Protocol):
    """What the cuts meet: update.py has an update, join.py a join."""

    @property
    def name(self) -> str:
        """What it is, in a word."""

    @property
    def octets(self) -> int | None:
        """Of the firmware in it; None: there is none in it."""

    async def command(self, lab: Lab, phase: Phase, course: Course) -> None:
        """The command of that phase, in which the cut comes; it may survive that.

        Raises:
            HanlabError: it did not, as a user sees it.
        """

    async def rest(self, lab: Lab, phase: Phase, course: Course) -> list[str]:
        """After the cut: look, have it done as a user would, look again. What does not hold, a sentence each."""


@dataclass(frozen=True)
class Plan:
    """What was done once without a cut, in parts that can be repeated."""

    config: LabConfig
    device: str
    swept: Swept
    folder: Path
    firmware: Path | None
    stages: tuple[Stage, ...]

    @property
    def boards(self) -> tuple[str, ...]:
        """The boards that take part: the CH and the device, or the CH alone in an update of its own."""
        return tuple(dict.fromkeys((self.config.hub.name, self.device)))

    def operations(self, board: str) -> int:
        """How many flash operations there are on that board."""
        return sum(len(stage.operations[board]) for stage in self.stages)

    def cuts(self, *, alone: tuple[str, ...], everything: bool) -> Iterator[Cut]:
        """Every cut of the boards in `alone`, and every one that takes all boards."""
        for board in self.boards:
            for number in range(1, self.operations(board) + 1):
                for how in How:
                    if board in alone:
                        yield Cut(board, how, number)
                    if everything:
                        yield Cut(board, how, number, everything=True)

    def find(self, cut: Cut) -> tuple[Stage, int]:
        """The stage of a cut, and the number of its operation in that stage.

        Raises:
            UsageError: there is no such board or operation.
        """
        if cut.board not in self.boards:
            raise UsageError(
                f"{cut}: no board {cut.board!r} takes part in the {self.swept.name}",
                next_step=f"there are {' and '.join(self.boards)}",
            )
        for stage in self.stages:
            if cut.operation in stage.numbers(cut.board):
                return stage, cut.operation - stage.first[cut.board] + 1
        raise UsageError(
            f"{cut}: {cut.board} has {self.operations(cut.board)} flash operations in this "
            f"{self.swept.name}",
            next_step="the count of another --size or --lab is another one",
        )
