"""Devices that come to a HAN, leave it and move to another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hanlab.demos.parts import (
    OTHER_HOME,
    SHORT,
    Activate,
    Add,
    Commission,
    Demo,
    PreNotify,
    Push,
    Remove,
    Scene,
    Version,
)
from hanlab.s1sp.outcome import Outcome

_IN_OAK: Final = replace(SHORT, for_ch="Secure")
_NEXT: Final = replace(SHORT, version="IHDAE07", for_ch="Secure")
_FOR_ELM: Final = replace(SHORT, version="IHDAE08", for_ch="Elster")

MOVES: Final[tuple[Demo, ...]] = (
    Demo(
        "move",
        "A PPMID moves from a Secure home to an Elster home",
        "the CH decides: what updated it in the one home the other home's CH refuses (rules 11, 28 to 31)",
        (
            Scene(
                (
                    Push(_IN_OAK, Outcome.DISTRIBUTED),
                    Activate(_IN_OAK, Outcome.ACTIVATED),
                    Remove("Pending, IHDAE06"),
                    Push(_NEXT, "E110105"),
                    Add("InstalledNotCommissioned, IHDAE06", home=OTHER_HOME),
                    Commission("Commissioned, IHDAE06", home=OTHER_HOME),
                    Push(_NEXT, Outcome.METADATA),
                    Push(_FOR_ELM, Outcome.DISTRIBUTED),
                    Activate(_FOR_ELM, Outcome.ACTIVATED),
                    Version("IHDAE08"),
                ),
                about="oak has a CH of Secure, elm one of Elster",
                dsp={"lost_responses": 0.0},
                other_hub={"model": "am110r", "eui": "00-DB-12-34-56-78-91-A2"},
                listed=(_IN_OAK, _NEXT, _FOR_ELM),
            ),
        ),
    ),
    Demo(
        "late-join",
        "A device that comes too late, and one with another label",
        "8.11 opens the HAN for whole minutes, at least one, and for one install code (rules 50 to 52)",
        (
            Scene(
                (
                    PreNotify("Pending, IHDAE05"),
                    Add("Whitelisted, IHDAE05", join_s=30, on_after_s=62.0),
                    Add("Whitelisted, IHDAE05", join_s=60, code=bytes(16)),
                    Add("InstalledNotCommissioned, IHDAE05", join_s=30, on_after_s=40.0),
                    Commission("Commissioned, IHDAE05"),
                    Push(SHORT, Outcome.DISTRIBUTED),
                ),
                about="a PPMID fresh from its box; switched on 62 s, then 40 s after an 8.11 for 30 s",
                device={"joined": False},
                dsp={"lost_responses": 0.0},
                listed=(SHORT,),
            ),
        ),
    ),
)
