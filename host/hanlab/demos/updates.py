"""Updates as they should be."""

from __future__ import annotations

from typing import Final

from hanlab.demos.parts import (
    ELSTER,
    ELSTER_PPMID,
    FACTORY,
    FOR_ELSTER,
    UPDATE,
    Activate,
    Demo,
    Push,
    Scene,
    Version,
)
from hanlab.s1sp.outcome import Outcome

UPDATES: Final[tuple[Demo, ...]] = (
    Demo(
        "update",
        "An update that works",
        "two-step: 11.1 distributes, 11.3 activates, the PPMID restarts with it (rules 1 and 97)",
        (
            Scene(
                (
                    Version(FACTORY),
                    Push(UPDATE, Outcome.DISTRIBUTED),
                    Version(FACTORY),
                    Activate(UPDATE, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
            ),
        ),
        tour=True,
    ),
    Demo(
        "one-step",
        "An update in one step",
        "11.1 leaves the image in the CH; 11.3 transfers and activates it (rule 96)",
        (
            Scene(
                (
                    Push(FOR_ELSTER, Outcome.STORED),
                    Version("2.08.01"),
                    Activate(FOR_ELSTER, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
                hub=ELSTER,
                device=ELSTER_PPMID,
                about="an Elster CH with its PPMID",
            ),
        ),
    ),
)
