"""S1SR's clauses on device-specific behaviour: what `s1sr_clauses` of a Device Model may name.

They are the only switch of such a behaviour (rules 6, 8, 64): it holds where the Device Model's list has
the clause, and nowhere else. Which clauses hold for which real Device Model is in DMVES, which is not
public; the lists in the model files are illustrative.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from hanlab.errors import UsageError


@unique
class Behaviour(StrEnum):
    """What a clause switches on, on a CH's model for its whole HAN, on a device's for that device."""

    ONE_UPDATE = "one update at a time"
    """A second update on a HAN with one in progress is refused (rules 35 to 37)."""
    SIZE = "store limit"
    """The store's capacity is a limit: of the CH's for all of its HAN, of a device's for itself (rules 4, 147)."""
    METADATA = "metadata"
    """An image needs the metadata block of the CH's manufacturer (rules 28 to 30)."""
    THIRD_PARTY = "third-party PPMID"
    """A PPMID of another population than its CH's cannot be updated (rules 22 to 27)."""


@dataclass(frozen=True)
class Clause:
    """`behaviour` is None for a clause that hanlab knows and does not carry out."""

    number: str
    subject: str
    rows: tuple[int, ...]
    behaviour: Behaviour | None


CLAUSES: Final = (
    Clause("18.62", "join time in whole minutes", (50, 51), None),
    Clause("18.63", "one update at a time on a HAN", (35, 36, 37), Behaviour.ONE_UPDATE),
    Clause("18.63(d)", "image size", (4, 6, 8, 147), Behaviour.SIZE),
    Clause("18.65(e)", "image size (18.64 before)", (6, 40), Behaviour.SIZE),
    Clause("Annex D", "third-party PPMID", (8, 25, 26), Behaviour.THIRD_PARTY),
    Clause("metadata annex", "metadata of the CH's maker", (8, 28, 29, 30), Behaviour.METADATA),
)
"""The clauses that hanlab knows. 18.63(d) has three new annexes, for size, third-party PPMIDs and metadata
(rule 8); only Annex D's letter is public, so the metadata's goes by its subject."""

OCTOBER_2021: Final = frozenset({Behaviour.SIZE, Behaviour.METADATA, Behaviour.THIRD_PARTY})
"""What S1SR got together in October 2021 (rule 20)."""

_BY_NUMBER: Final = {clause.number: clause for clause in CLAUSES}
_RENUMBERED: Final = {"18.64": "18.65(e)"}
"""Clause 18.64's text is in 18.65 now (rule 40)."""


def behaviours(numbers: Iterable[str]) -> frozenset[Behaviour]:
    """What these clauses switch on; numbers that hanlab does not know are no switches."""
    found = (clause and clause.behaviour for clause in map(_BY_NUMBER.get, numbers))
    return frozenset(behaviour for behaviour in found if behaviour)


def without(numbers: Iterable[str], off: frozenset[Behaviour]) -> tuple[str, ...]:
    """The same list without the clauses that switch on what is in `off`."""
    return tuple(n for n in numbers if behaviours([n]).isdisjoint(off))


def is_known(number: str) -> bool:
    return number in _BY_NUMBER


def check_clauses(numbers: Iterable[str], where: str) -> None:
    """Each has to be a clause that hanlab knows.

    Raises:
        UsageError: one is not; says which there are, and which one was probably meant.
    """
    for number in numbers:
        if is_known(number):
            continue
        folded = {each.casefold(): each for each in _BY_NUMBER}
        close = difflib.get_close_matches(number.strip().casefold(), folded, n=1, cutoff=0.8)
        meant = _RENUMBERED.get(number) or (folded[close[0]] if close else "")
        known = ", ".join(f"{c.number} ({c.subject})" for c in CLAUSES)
        raise UsageError(
            f"{where}: hanlab knows no clause {number!r} of S1SR",
            next_step=(f"did you mean {meant!r}? " if meant else "") + f"It knows {known}",
        )
