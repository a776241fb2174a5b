"""The CH's own update: 11.1, 11.2 and 11.3 for a CHF."""

from __future__ import annotations

from typing import Final

from hanlab.demos.parts import (
    HUB,
    KIB,
    Activate,
    Demo,
    ImageSpec,
    Known,
    PowerCut,
    Push,
    Scene,
    Told,
    Version,
    When,
)
from hanlab.s1sp.outcome import Outcome

HUB_FACTORY: Final = "HUB3F0X"
"""What a Skyline i510 runs before any update (rule 126)."""
HUB_UPDATE: Final = ImageSpec(64 * KIB, "HUB3F10", device_type="CHF")
HUB_BROKEN: Final = ImageSpec(64 * KIB, "HUB3F10", device_type="CHF", boots=False)

HUB_UPDATES: Final[tuple[Demo, ...]] = (
    Demo(
        "hub-update",
        "The CH itself is updated",
        "its image stays in its own store, so one that is too large for that is so for the CH as well (rule 4); "
        "11.3 has it restart, and all who answer for a device on its HAN are told",
        (
            Scene(
                (
                    Version(HUB_FACTORY),
                    Push(HUB_UPDATE, Outcome.STORED),
                    Told("N57", "supplier, network"),
                    Version(HUB_FACTORY),
                    Activate(HUB_UPDATE, Outcome.ACTIVATED),
                    Told("N56", "supplier, network"),
                    Version("HUB3F10"),
                    Known("Commissioned, HUB3F10"),
                ),
                dsp={"lost_responses": 0.0},
                listed=(HUB_UPDATE,),
                to=HUB,
            ),
            Scene(
                (Push(HUB_UPDATE, Outcome.TOO_LARGE), Version(HUB_FACTORY)),
                hub={"store": 48 * KIB},
                about="a CH with a store of 48 KiB",
                to=HUB,
            ),
        ),
    ),
    Demo(
        "hub-rollback",
        "New firmware of the CH that does not work",
        "it never confirms, or loses its power before; the CH goes back to what it ran: activationFailure. The image "
        "stays in its store, so that 11.3 can be sent again",
        (
            Scene(
                (
                    Push(HUB_BROKEN, Outcome.STORED),
                    Activate(HUB_BROKEN, Outcome.ACTIVATION_FAILURE),
                    Version(HUB_FACTORY),
                ),
                about="an image that does not boot",
                to=HUB,
            ),
            Scene(
                (
                    Push(HUB_UPDATE, Outcome.STORED),
                    Activate(
                        HUB_UPDATE,
                        Outcome.ACTIVATION_FAILURE,
                        PowerCut(When("activate", later_s=1.5), (HUB,)),
                    ),
                    Version(HUB_FACTORY),
                    Activate(HUB_UPDATE, Outcome.ACTIVATED),
                    Version("HUB3F10"),
                ),
                about="no power in its first second",
                to=HUB,
            ),
        ),
    ),
)
