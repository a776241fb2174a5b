"""DMVES: which clauses of S1SR hold for which Device Models (S1SR Annex A; rules 6, 7, 8, 64).

The matrix is made from the Device Models' own `s1sr_clauses`, which are also the switches of what the
clauses stand for: so a mismatch is a clause that hanlab does not know, or one whose behaviour has nothing to
go by. Which clause holds for which real Device Model is not public; the model files mark their lists as
illustrative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from hanlab.boards.clauses import CLAUSES, Behaviour, behaviours, is_known
from hanlab.boards.data import DeviceModel


@dataclass(frozen=True)
class Mismatch:
    """A Device Model whose clauses and data do not agree."""

    model: str
    clause: str
    what: str


_NEEDS: Final[Mapping[Behaviour, tuple[Callable[[DeviceModel], bool], str]]] = {
    Behaviour.SIZE: (lambda m: m.store.capacity is not None, "its store has no capacity"),
    Behaviour.METADATA: (
        lambda m: m.update is None or bool(m.update.metadata_manufacturer),
        "it names no metadata_manufacturer",
    ),
}
"""What a behaviour goes by, and what is said where that is missing."""


def matrix(models: Iterable[DeviceModel]) -> dict[str, dict[str, bool]]:
    """Clause to Device Model to whether it holds."""
    models = list(models)
    return {c.number: {m.model: c.number in m.s1sr_clauses for m in models} for c in CLAUSES}


def check(models: Iterable[DeviceModel]) -> list[Mismatch]:
    """Where clauses and data do not agree."""
    found = []
    for model in models:
        for number in model.s1sr_clauses:
            if not is_known(number):
                found.append(Mismatch(model.model, number, "hanlab knows no such clause"))
            for behaviour in behaviours([number]) & set(_NEEDS):
                has, what = _NEEDS[behaviour]
                if not has(model):
                    found.append(Mismatch(model.model, number, what))
    return found
