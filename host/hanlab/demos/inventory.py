"""What the DSP knows, lists and suspends, and what it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from hanlab.demos.parts import (
    ELSTER,
    ELSTER_PPMID,
    FACTORY,
    FOR_ELSTER,
    GAS_METER,
    GAS_UPDATE,
    METER,
    METER_UPDATE,
    OLD_METER,
    OTHER,
    SHORT,
    UPDATE,
    Activate,
    Activations,
    Demo,
    Enrol,
    ImageSpec,
    Known,
    ListAs,
    Meanwhile,
    Notify,
    Push,
    ReadMirror,
    Scene,
    Step,
    Told,
    Version,
    When,
    Withdraw,
)
from hanlab.lab.config import DEFAULT
from hanlab.s1sp.outcome import Outcome

NO_MP105: Final = {"mp105": False}
LOSES_ALL: Final = {"lost_responses": 1.0}
LOSES_HALF: Final = {"lost_responses": 0.5}
RETRYING: Final = (
    {
        "name": "supplier",
        "eui": "90-B3-D5-1F-30-01-00-00",
        "roles": ["IS", "GS"],
        "retries": 3,
    },
    {"name": "network", "eui": "90-B3-D5-1F-30-03-00-00", "roles": ["ED", "GT"]},
)
"""Service Users of whom the supplier's system sends an 11.3 again."""


def _of_the_dsp(
    *steps: Step,
    about: str,
    dsp: Mapping[str, Any] | None = None,
    users: tuple[Mapping[str, Any], ...] = (),
    device: Mapping[str, Any] = METER,
    hub: Mapping[str, Any] | None = None,
    listed: tuple[ImageSpec, ...] = (METER_UPDATE,),
    homes: int = 1,
) -> Scene:
    """A scene whose requests go through the DSP, by default to an ESME."""
    return Scene(
        steps,
        device=device,
        hub=hub or {},
        about=about,
        dsp=dsp or {"lost_responses": 0.0},
        users=users,
        listed=listed,
        homes=homes,
    )


_STUCK: Final = (
    Push(METER_UPDATE, Outcome.DISTRIBUTED),
    Withdraw(OLD_METER, "1 Suspended"),
    Activate(METER_UPDATE, "E21"),
    Known(f"Suspended, {OLD_METER}"),
)
"""The ESME runs its new firmware, and the DSP does not know (rule 86)."""

INVENTORY: Final[tuple[Demo, ...]] = (
    Demo(
        "suspended",
        "A lost 11.3 response leaves a meter Suspended; 11.2 brings it back, or cannot",
        "its version left the CPL while the answer was lost; only MP105 lets 11.2 through (rules 78 to 90)",
        (
            _of_the_dsp(
                *_STUCK,
                Version("E5"),
                Known(f"Suspended, {OLD_METER}"),
                about="before MP105",
                dsp={**NO_MP105, **LOSES_ALL},
            ),
            _of_the_dsp(
                *_STUCK,
                Version("P4X9G02"),
                Known("Commissioned, P4X9G02"),
                Told("N29", "supplier, network"),
                about="with MP105",
                dsp=LOSES_ALL,
            ),
        ),
        tour=False,
    ),
    Demo(
        "retry",
        "The supplier's system sends 11.3 again after a lost response",
        "with MP105 the second answer restores the meter, if it says the version; before it does not "
        "(rules 91 to 98)",
        (
            _of_the_dsp(
                Push(METER_UPDATE, Outcome.DISTRIBUTED),
                Withdraw(OLD_METER, "1 Suspended"),
                Activate(METER_UPDATE, Outcome.ACTIVATED),
                Known("Commissioned, P4X9G02"),
                Told("N29", "supplier, network"),
                about="with MP105, on a CH whose answers say the version",
                dsp=LOSES_HALF,
                users=RETRYING,
            ),
            _of_the_dsp(
                Push(METER_UPDATE, Outcome.DISTRIBUTED),
                Withdraw(OLD_METER, "1 Suspended"),
                Activate(METER_UPDATE, Outcome.ACTIVATED),
                Known(f"Suspended, {OLD_METER}"),
                Version("E5"),
                about="before MP105",
                dsp={**NO_MP105, **LOSES_HALF},
                users=RETRYING,
            ),
            _of_the_dsp(
                Push(replace(METER_UPDATE, for_ch="Elster", version="ASP04042"), Outcome.STORED),
                Withdraw("ASP04041", "1 Suspended"),
                Activate(
                    replace(METER_UPDATE, for_ch="Elster", version="ASP04042"), Outcome.ACTIVATED
                ),
                Known("Suspended, ASP04041"),
                Version("ASP04042"),
                Known("Commissioned, ASP04042"),
                about="with MP105, on a CH whose answers never say the version: 11.2 has to",
                dsp=LOSES_HALF,
                users=RETRYING,
                device={**METER, "model": "as-300p"},
                hub=ELSTER,
                listed=(replace(METER_UPDATE, for_ch="Elster", version="ASP04042"),),
            ),
        ),
    ),
    Demo(
        "lost-200",
        "One 11.3 response in five is lost, over 200 activations",
        "each lost answer leaves the DSP behind the device until an 11.2 (rules 86, 88, 94); a minute",
        (
            _of_the_dsp(
                Activations(
                    200,
                    (
                        replace(METER_UPDATE, body=1024),
                        replace(METER_UPDATE, body=1024, version="P4X9G03"),
                    ),
                    "200 activated, 0 stale",
                ),
                about="MP105 is in force, and nobody sends 11.3 again",
                dsp={"lost_responses": 0.2},
                listed=(
                    replace(METER_UPDATE, body=1024),
                    replace(METER_UPDATE, body=1024, version="P4X9G03"),
                ),
            ),
        ),
    ),
    Demo(
        "gpf",
        "The GPF says another version than the GSME runs",
        "it answers from what it last heard: N52, and only 11.2 to the GSME counts (rules 103 to 105)",
        (
            _of_the_dsp(
                ReadMirror("Q4X2G0E"),
                Told("N52", "nobody"),
                Push(GAS_UPDATE, Outcome.DISTRIBUTED),
                Activate(GAS_UPDATE, Outcome.ACTIVATED),
                Known("Commissioned, Q4X2G0F"),
                ReadMirror("Q4X2G0E"),
                Told("N52", "supplier, network"),
                Version("Q4X2G0F"),
                about="a Secure CH with its GSME",
                device=GAS_METER,
                listed=(GAS_UPDATE,),
            ),
        ),
    ),
    Demo(
        "third-party",
        "A third-party PPMID on a Secure CH",
        "the Secure S1SP holds no details of it, so every update fails (rules 22 to 27, Annex D)",
        (
            _of_the_dsp(
                Push(SHORT, "E110105"),
                Enrol("Pending, 2.08.01"),
                Push(SHORT, Outcome.THIRD_PARTY),
                Version("2.08.01"),
                Told("N22", "supplier"),
                about="Chameleon's SED V3 on Secure's CH",
                device={"model": "sed-v3"},
                listed=(SHORT,),
            ),
            _of_the_dsp(
                Push(SHORT, Outcome.DISTRIBUTED),
                about="Secure's own Pipit 500 there",
                device={"name": "PPMID"},
                listed=(SHORT,),
            ),
        ),
    ),
    Demo(
        "hash-lock",
        "One image, two manufacturers' CHs",
        "the hash covers the metadata, so an image fits the CH of one manufacturer only (rules 28 to 31)",
        tuple(
            _of_the_dsp(
                *(
                    Push(
                        replace(SHORT, for_ch=made_for),
                        (stored if made_for == maker else "E110102"),
                    )
                    for made_for in ("Elster", "Secure")
                ),
                about=f"a CH of {maker}; the CPL has the hash of its image",
                hub=hub,
                device=ppmid,
                listed=(replace(SHORT, for_ch=maker),),
            )
            for maker, hub, ppmid, stored in (
                (
                    "Secure",
                    {"eui": DEFAULT["comms_hub"]["eui"]},
                    {"name": "PPMID"},
                    Outcome.DISTRIBUTED,
                ),
                ("Elster", ELSTER, ELSTER_PPMID, Outcome.STORED),
            )
        ),
    ),
    Demo(
        "busy-mixed",
        "Two homes, one busy: a second 11.1, for a device in each",
        "the device on the busy HAN is left out, OtherRequestInProgressList; the other gets it (rules 35 to 37)",
        (
            _of_the_dsp(
                Push(
                    METER_UPDATE,
                    Outcome.DISTRIBUTED,
                    Meanwhile(When("distribute", 8_000), METER_UPDATE, "W110101"),
                ),
                Push(METER_UPDATE, Outcome.DISTRIBUTED),
                about="two CHs with an ESME each",
                homes=2,
            ),
        ),
    ),
    Demo(
        "bilingual",
        "A PPMID model that is sold for SMETS1 and for SMETS2+",
        "it needs two entries of the CPL with different versions (rules 13 to 19)",
        (
            _of_the_dsp(
                ListAs("SMETS2+", FACTORY, "refused"),
                Notify("IHDAE55", "SMETS V1.58", "refused"),
                ListAs("SMETS2+", "IHDAE55", "listed"),
                Notify("IHDAE55", "SMETS V1.58", "SMETS2+, Pending"),
                Notify(FACTORY, "SMETS V1.2", "refused"),
                about="Secure's Pipit 500, taken for a bilingual one",
                device={"name": "PPMID"},
                listed=(),
            ),
        ),
    ),
    Demo(
        "not-listed",
        "A version that is not on the CPL, and one that is there with another hash",
        "the DSP refuses the whole request, and nothing reaches the S1SP (rules 19, 29, 39)",
        (
            _of_the_dsp(
                Push(OTHER, "E110101"),
                Push(FOR_ELSTER, "E110102"),
                Push(UPDATE, Outcome.DISTRIBUTED),
                about="a Secure CH with its PPMID",
                device={"name": "PPMID"},
                listed=(UPDATE,),
            ),
        ),
    ),
)
