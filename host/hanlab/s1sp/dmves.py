"""DMVES: which clauses of S1SR hold for which Device Models (S1SR Annex A; rules 6, 7, 8, 64).

The matrix is made from the Device Models' own `s1sr_clauses`, and checked against what they do: a
behaviour without its clause, or a clause without its behaviour, is a mismatch. Which clause holds for
which real Device Model is not public; the model files mark their lists as illustrative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hanlab.boards.data import DeviceModel


@dataclass(frozen=True)
class Clause:
    """A clause with the behaviour that it stands for; `behaves` asks a CH's Device Model for it.

    No `behaves`: hanlab does not carry it out, so there is nothing to compare.
    """

    number: str
    subject: str
    rows: tuple[int, ...]
    behaves: Callable[[DeviceModel], bool] | None


@dataclass(frozen=True)
class Mismatch:
    """A Device Model whose clauses and behaviour do not agree."""

    model: str
    clause: str
    what: str


def _limits_size(model: DeviceModel) -> bool:
    return model.store.capacity is not None


def _limits_size_or_metadata(model: DeviceModel) -> bool:
    return _limits_size(model) or (model.update is not None and model.update.needs_metadata)


def _refuses_third_party(model: DeviceModel) -> bool:
    return model.update is not None and not model.update.third_party_ppmid


def _one_update_at_a_time(model: DeviceModel) -> bool:
    return model.update is not None


CLAUSES: Final = (
    Clause("18.62", "join time; not emulated", (50, 51), None),
    Clause("18.63", "one update at a time on a HAN", (35, 36, 37), _one_update_at_a_time),
    Clause("18.63(d)", "image size, metadata", (4, 6, 8, 28), _limits_size_or_metadata),
    Clause("18.65(e)", "image size (18.64 before)", (6, 40), _limits_size),
    Clause("Annex D", "third-party PPMID", (8, 25, 26), _refuses_third_party),
)
"""The clauses that hanlab knows. S1SR has three annexes to 18.63(d); which one holds the size and which
the metadata is not public."""


def matrix(models: Iterable[DeviceModel]) -> dict[str, dict[str, bool]]:
    """Clause to Device Model (of a CH) to whether it holds."""
    hubs = [m for m in models if m.device_type == "CHF"]
    return {c.number: {m.model: c.number in m.s1sr_clauses for m in hubs} for c in CLAUSES}


def check(models: Iterable[DeviceModel]) -> list[Mismatch]:
    """Where clauses and behaviour do not agree."""
    known = {clause.number: clause for clause in CLAUSES}
    found = []
    for model in models:
        for number in model.s1sr_clauses:
            if number not in known:
                found.append(Mismatch(model.model, number, "hanlab knows no such clause"))
            elif model.device_type != "CHF":
                found.append(Mismatch(model.model, number, "what holds for a device is its CH's"))
        if model.device_type != "CHF":
            continue
        for clause in CLAUSES:
            if clause.behaves is None:
                continue
            has, does = clause.number in model.s1sr_clauses, clause.behaves(model)
            if has and not does:
                found.append(Mismatch(model.model, clause.number, "it does not behave so"))
            elif does and not has:
                found.append(Mismatch(model.model, clause.number, "it behaves so without it"))
    return found
