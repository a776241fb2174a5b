"""Which cuts there are: each flash operation of an update, cut in three ways, one board or all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

from hanlab.bench.flash import Effect, Kind
from hanlab.errors import UsageError
from hanlab.images import OtaImage
from hanlab.lab.config import LabConfig

EVERYTHING: Final = "both"
"""The last word of a cut that takes the power from every board, and ends the host's command."""


@unique
class Phase(StrEnum):
    """The parts of an update, in order; a one-step CH distributes as a part of `activate`."""

    PUSH = "push"
    DISTRIBUTE = "distribute"
    ACTIVATE = "activate"


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
    """A part of the update that begins with the boards switched on, from the flash in `folder`.

    `operations` has the kind of each flash operation of each board, in order; `first` the number
    (in the whole update) of the first one.
    """

    phase: Phase
    folder: Path
    first: dict[str, int]
    operations: dict[str, tuple[Kind, ...]]

    def numbers(self, board: str) -> range:
        """The numbers of that board's operations in the whole update."""
        first = self.first[board]
        return range(first, first + len(self.operations[board]))


@dataclass(frozen=True)
class Plan:
    """An update that was made once without a cut, in parts that can be repeated."""

    config: LabConfig
    device: str
    old: OtaImage
    new: OtaImage
    folder: Path
    firmware: Path | None
    stages: tuple[Stage, ...]
    end: dict[str, tuple[object, ...]]
    """What the stores reported when it was done (see cut.gist)."""

    @property
    def boards(self) -> tuple[str, ...]:
        """The boards that take part: the CH and the device, or the CH alone in an update of its own."""
        return tuple(dict.fromkeys((self.config.hub.name, self.device)))

    def operations(self, board: str) -> int:
        """How many flash operations the update has on that board."""
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
                f"{cut}: no board {cut.board!r} takes part in the update",
                next_step=f"there are {' and '.join(self.boards)}",
            )
        for stage in self.stages:
            if cut.operation in stage.numbers(cut.board):
                return stage, cut.operation - stage.first[cut.board] + 1
        raise UsageError(
            f"{cut}: {cut.board} has {self.operations(cut.board)} flash operations in this update",
            next_step="the count of another --size or --lab is another one",
        )
