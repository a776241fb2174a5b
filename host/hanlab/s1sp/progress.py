"""How far a Service Request has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """What a CH's image store has room for, in octets; without a `capacity` no limit is published (rule 9)."""

    capacity: int | None
    used: int
    reserved: int
    free: int


@dataclass(frozen=True)
class Progress:
    """How far a stage ("upload", "distribute" or "activate") has come, in octets.

    "store", at the end of an upload that the CH did not take: how much of the image it has room for.
    """

    stage: str
    done: int
    total: int
    note: str = ""
    """How the stage began, if not afresh: where it goes on, or why it starts again."""
    device: str = ""
    """For which device, by its name, where a Service Request is for several."""
    room: Room | None = None
    """What the CH said of its store when it had not taken the image."""


Report = Callable[[Progress], None]
