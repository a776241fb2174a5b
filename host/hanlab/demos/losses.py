"""Power that goes, frames that vanish, flash that rots."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hanlab.demos.parts import (
    BROKEN,
    ELSTER,
    ELSTER_PPMID,
    FACTORY,
    HUB,
    OTHER,
    PPMID,
    SHORT,
    UPDATE,
    Activate,
    BitRot,
    Demo,
    Meanwhile,
    PowerCut,
    Push,
    Scene,
    Version,
    When,
)
from hanlab.s1sp.outcome import Outcome

LOSSES: Final[tuple[Demo, ...]] = (
    Demo(
        "power-upload",
        "The CH loses power during the upload",
        "it has what it wrote to flash; the upload goes on there, and the hash proves it",
        (
            Scene(
                (
                    Push(
                        UPDATE,
                        Outcome.DISTRIBUTED,
                        PowerCut(When("upload", 60_000), (HUB,)),
                    ),
                    Activate(UPDATE, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
            ),
        ),
    ),
    Demo(
        "power-hub",
        "The CH loses power during the transfer to the PPMID",
        "the CH has noted what it does, and goes on with it when it is back, where it stopped",
        (
            Scene(
                (
                    Push(
                        UPDATE,
                        Outcome.DISTRIBUTED,
                        PowerCut(When("distribute", 60_000), (HUB,)),
                    ),
                    Activate(UPDATE, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
            ),
        ),
    ),
    Demo(
        "power-ppmid",
        "The PPMID loses power during the transfer",
        "it keeps what it has, asks again when it is back, and the transfer goes on",
        (
            Scene(
                (
                    Push(
                        UPDATE,
                        Outcome.DISTRIBUTED,
                        PowerCut(When("distribute", 60_000), (PPMID,)),
                    ),
                    Activate(UPDATE, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
            ),
        ),
    ),
    Demo(
        "power-trial",
        "The PPMID loses power in the first second of its new firmware",
        "firmware that has not confirmed yet is given up, and the one before it runs again",
        (
            Scene(
                (
                    Push(SHORT, Outcome.DISTRIBUTED),
                    Activate(
                        SHORT,
                        Outcome.ACTIVATION_FAILURE,
                        PowerCut(When("activate", later_s=1.0), (PPMID,)),
                    ),
                    Version(FACTORY),
                    Push(SHORT, Outcome.DISTRIBUTED),
                    Activate(SHORT, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
            ),
        ),
    ),
    Demo(
        "no-boot",
        "New firmware that does not boot",
        "it never confirms, the watchdog bites, the PPMID goes back: activationFailure",
        (
            Scene(
                (
                    Push(BROKEN, Outcome.DISTRIBUTED),
                    Activate(BROKEN, Outcome.ACTIVATION_FAILURE),
                    Version(FACTORY),
                ),
            ),
        ),
    ),
    Demo(
        "lost-answers",
        "A fifth of all answers get lost",
        "11.3 loses about 20 % of its responses in the field (rule 94); a request that comes again "
        "is answered from memory, not carried out twice",
        (
            Scene(
                (
                    Push(SHORT, Outcome.DISTRIBUTED),
                    Activate(SHORT, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
                wires={"wan": {"loss": 0.2}},
                about="20 % loss on the WAN",
            ),
        ),
    ),
    Demo(
        "bad-links",
        "20 % loss on both wires",
        "every lost frame is sent again, and counted",
        (
            Scene(
                (
                    Push(SHORT, Outcome.DISTRIBUTED),
                    Activate(SHORT, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
                wires={"wan": {"loss": 0.2}, "han": {"loss": 0.2}},
                about="20 % loss on the WAN and on the HAN",
            ),
        ),
    ),
    Demo(
        "wire-pulled",
        "The WAN is pulled for 20 seconds",
        "the upload waits, and goes on at the octet that the CH wants next",
        (
            Scene(
                (Push(UPDATE, Outcome.DISTRIBUTED),),
                wires={"wan": {"pulled": [[5.0, 20.0]]}},
                about="no WAN from second 5 to second 25",
            ),
        ),
    ),
    Demo(
        "bit-rot",
        "A bit of the stored image flips in the CH's flash",
        "the CH hashes what it hands out: the damaged image is dropped, and a new 11.1 mends it",
        (
            Scene(
                (
                    Push(replace(SHORT, for_ch="Elster"), Outcome.STORED),
                    Activate(
                        replace(SHORT, for_ch="Elster"),
                        Outcome.ACTIVATION_FAILURE,
                        BitRot(HUB),
                    ),
                    Push(replace(SHORT, for_ch="Elster"), Outcome.STORED),
                    Activate(replace(SHORT, for_ch="Elster"), Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
                hub=ELSTER,
                device=ELSTER_PPMID,
            ),
        ),
    ),
    Demo(
        "wrong-key",
        "A PPMID with the key of another HAN",
        "its frames are dropped and counted, and it hears nothing of ours",
        (
            Scene(
                (Push(SHORT, Outcome.NO_ANSWER),),
                device={"stranger": True},
            ),
        ),
    ),
    Demo(
        "busy",
        "A second update while one is in progress",
        "one update at a time on a HAN: the second is rejected, the first goes on (rule 35)",
        (
            Scene(
                (
                    Push(
                        SHORT,
                        Outcome.DISTRIBUTED,
                        Meanwhile(When("distribute", 10_000), OTHER, Outcome.BUSY),
                    ),
                    Activate(SHORT, Outcome.ACTIVATED),
                    Version("IHDAE06"),
                ),
            ),
        ),
    ),
)
