"""How far a Service Request has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a stage ("upload", "distribute" or "activate") has come, in octets."""

    stage: str
    done: int
    total: int
    note: str = ""
    """How the stage began, if not afresh: where it goes on, or why it starts again."""
    device: str = ""
    """For which device, by its name, where a Service Request is for several."""


Report = Callable[[Progress], None]
