"""The failure catalogue: every demo, in the order in which they are told."""

from __future__ import annotations

from typing import Final

from hanlab.demos.hub_updates import HUB_UPDATES
from hanlab.demos.inventory import INVENTORY
from hanlab.demos.losses import LOSSES
from hanlab.demos.moves import MOVES
from hanlab.demos.parts import Demo
from hanlab.demos.refusals import REFUSALS
from hanlab.demos.sizes import SIZES
from hanlab.demos.updates import UPDATES

CATALOGUE: Final[tuple[Demo, ...]] = (
    *UPDATES,
    *HUB_UPDATES,
    *SIZES,
    *REFUSALS,
    *LOSSES,
    *INVENTORY,
    *MOVES,
)


def find_demo(name: str) -> Demo | None:
    return next((demo for demo in CATALOGUE if demo.name == name), None)
