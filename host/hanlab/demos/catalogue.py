"""The demos. Each is data with an expected outcome; `hanlab demo` shows them, the tests run them all.

The images are made to size; their contents do not matter to a CH or a PPMID of this lab. Capacities
are illustrative: no public document gives a real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hanlab.images import OtaImage
from hanlab.lab.config import DEFAULT
from hanlab.s1sp.outcome import Outcome

KIB: Final = 1024


@dataclass(frozen=True)
class ImageSpec:
    """An image to make: `body` octets of firmware, for the CH of manufacturer `for_ch`."""

    body: int = 128 * KIB
    version: str = "IHDAE06"
    for_ch: str | None = "Secure"
    device_type: str = "PPMID"
    hardware: tuple[int, int] = (0x0000, 0xFFFF)
    boots: bool = True
    """False: it never confirms that it works."""
    claims: int | None = None
    """Another total size (octets) than the true one, in its OTA header."""
    own: OtaImage | None = None
    """Somebody's own image in place of all that."""


@dataclass(frozen=True)
class When:
    """As soon as a stage of a request ("upload", "distribute", "activate") has come to `octets`."""

    stage: str
    octets: int = 0
    later_s: float = 0.0


@dataclass(frozen=True)
class PowerCut:
    """The boards with these names lose power for a second."""

    when: When
    boards: tuple[str, ...]


@dataclass(frozen=True)
class BitRot:
    """One bit of the image flips in the flash of that board, before the request."""

    board: str


@dataclass(frozen=True)
class Meanwhile:
    """Somebody sends another 11.1 to the same HAN; through the DSP also to a device on another HAN."""

    when: When
    image: ImageSpec
    expect: Outcome | str


Fault = PowerCut | BitRot | Meanwhile


@dataclass(frozen=True)
class Push:
    """11.1 Update Firmware."""

    image: ImageSpec
    expect: Outcome | str
    fault: Fault | None = None


@dataclass(frozen=True)
class Activate:
    """11.3 Activate Firmware with the hash of `image`."""

    image: ImageSpec
    expect: Outcome | str
    fault: Fault | None = None


@dataclass(frozen=True)
class Version:
    """11.2 Read Firmware Version."""

    expect: str


@dataclass(frozen=True)
class Enrol:
    """12.2 for a device that was not migrated, then 8.11, which lets it onto the HAN."""

    expect: str


@dataclass(frozen=True)
class ListAs:
    """The manufacturer lists a version of the device's model on the CPL, for a generation."""

    generation: str
    version: str
    expect: str


@dataclass(frozen=True)
class Notify:
    """12.2 for another device of that model, with a version and a SMETS version."""

    version: str
    smets: str
    expect: str


@dataclass(frozen=True)
class Withdraw:
    """A version is taken off the CPL."""

    version: str
    expect: str


@dataclass(frozen=True)
class Known:
    """What the SMI says of the device: "status, version"."""

    expect: str


@dataclass(frozen=True)
class Told:
    """Who has got a DCC Alert with this code so far, e.g. "supplier, network"."""

    code: str
    expect: str


@dataclass(frozen=True)
class ReadMirror:
    """11.2 to the GPF: what it last heard from its GSME."""

    expect: str


@dataclass(frozen=True)
class Activations:
    """So many updates, one after the other, each with 11.1 and 11.3; 11.2 where no answer came."""

    times: int
    images: tuple[ImageSpec, ImageSpec]
    expect: str


Step = (
    Push
    | Activate
    | Version
    | Enrol
    | ListAs
    | Notify
    | Withdraw
    | Known
    | Told
    | ReadMirror
    | Activations
)


@dataclass(frozen=True)
class Scene:
    """One lab, fresh from the box, and what is sent to its PPMID."""

    steps: tuple[Step, ...]
    hub: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the default lab's [comms_hub]."""
    device: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the default lab's PPMID."""
    wires: Mapping[str, Any] = field(default_factory=dict)
    """The lab's [wan] and [han]: what goes wrong on them."""
    about: str = ""
    dsp: Mapping[str, Any] | None = None
    """The requests go through the DSP, with these settings; None: straight to the S1SP."""
    users: tuple[Mapping[str, Any], ...] = ()
    """Other Service Users than the default ones, as [[user]] has them."""
    listed: tuple[ImageSpec, ...] = ()
    """What is on the CPL for the device besides its factory version."""

    def lab(self) -> dict[str, Any]:
        """The lab.toml of this scene."""
        return {
            **DEFAULT,
            **self.wires,
            "comms_hub": {**DEFAULT["comms_hub"], **self.hub},
            "device": [{**DEFAULT["device"][0], **self.device}],
            **({"dsp": self.dsp} if self.dsp else {}),
            **({"user": list(self.users)} if self.users else {}),
        }


@dataclass(frozen=True)
class Demo:
    name: str
    title: str
    why: str
    scenes: tuple[Scene, ...]
    tour: bool = False
    """Part of `hanlab demo` without a name."""


ELSTER: Final = {"model": "am110r"}
ELSTER_PPMID: Final = {"model": "sed-v3"}
SMALL: Final = 96 * KIB
"""A store that is too small for the default image."""

UPDATE: Final = ImageSpec()
OTHER: Final = ImageSpec(version="IHDAE07")
FOR_ELSTER: Final = ImageSpec(for_ch="Elster")
FACTORY: Final = "IHDAE05"
"""What a Pipit 500 runs before any update (rule 126)."""
BROKEN: Final = ImageSpec(boots=False)
SHORT: Final = ImageSpec(body=32 * KIB)
"""Small, where what happens does not depend on the size."""
HUB: Final = "hub"
PPMID: Final = "PPMID"
METADATA: Final = 32
HEADER: Final = 60


def _too_small(behaviour: str, expect: Outcome) -> tuple[Scene, ...]:
    return (
        Scene(
            (Push(UPDATE, expect), Version(FACTORY)),
            hub={"store": SMALL, "size_behaviour": behaviour},
            about=f"a CH with room for {SMALL:,} octets",
        ),
    )


METER: Final = {
    "name": "ESME",
    "model": "liberty-100",
    "eui": "00-DB-12-34-56-78-90-A0",
}
GAS_METER: Final = {
    "name": "GSME",
    "model": "liberty-eg4v11",
    "eui": "00-DB-12-34-56-78-90-A1",
}
METER_UPDATE: Final = ImageSpec(32 * KIB, "P4X9G02", device_type="ESME")
GAS_UPDATE: Final = ImageSpec(32 * KIB, "Q4X2G0F", device_type="GSME")
OLD_METER: Final = "P4X9G01"
"""What a Liberty 100 runs before any update (rule 126)."""
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
    )


_STUCK: Final = (
    Push(METER_UPDATE, Outcome.DISTRIBUTED),
    Withdraw(OLD_METER, "1 Suspended"),
    Activate(METER_UPDATE, "E21"),
    Known(f"Suspended, {OLD_METER}"),
)
"""The ESME runs its new firmware, and the DSP does not know (rule 86)."""

CATALOGUE: Final[tuple[Demo, ...]] = (
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
    Demo(
        "size-refuse",
        "Too large: the CH refuses at once",
        "the CH compares the size with its free room before the first octet (rules 2 to 4)",
        _too_small("refuse", Outcome.TOO_LARGE),
        tour=True,
    ),
    Demo(
        "size-overflow",
        "Too large: the CH fails in mid-transfer",
        "the CH does not look at the size; its store is full before the image is complete",
        _too_small("overflow", Outcome.OVERFLOW),
        tour=True,
    ),
    Demo(
        "size-truncate",
        "Too large: the CH keeps what fits",
        "every octet is taken, the rest is thrown away; only the hash finds out",
        _too_small("truncate", Outcome.TRUNCATED),
        tour=True,
    ),
    Demo(
        "size-silent",
        "Too large: the CH stops answering",
        "the worst kind: no error at all, only a time-out",
        _too_small("silent", Outcome.SILENT),
        tour=True,
    ),
    Demo(
        "size-limit",
        "Exactly at the limit",
        "an image of exactly the store's size fits, one octet more does not (rule 5)",
        (
            Scene(
                (Push(ImageSpec(body=64 * KIB - METADATA - HEADER), Outcome.DISTRIBUTED),),
                hub={"store": 64 * KIB},
                about="an image as large as the store",
            ),
            Scene(
                (Push(ImageSpec(body=64 * KIB - METADATA - HEADER + 1), Outcome.TOO_LARGE),),
                hub={"store": 64 * KIB},
                about="one octet larger",
            ),
        ),
    ),
    Demo(
        "size-two-hubs",
        "The same image, two CH models",
        "the limit is the CH's: the same PPMID and image fit one CH and not another (rules 3 and 11)",
        (
            Scene((Push(ImageSpec(body=224 * KIB), Outcome.DISTRIBUTED),), about="Skyline i-510"),
            Scene(
                (Push(ImageSpec(body=224 * KIB, for_ch="Elster"), Outcome.TOO_LARGE),),
                hub=ELSTER,
                about="AM110R",
            ),
        ),
    ),
    Demo(
        "size-ppmid",
        "It fits the CH, but not the PPMID",
        "the device refuses at the query, before the first block",
        (
            Scene(
                (Push(UPDATE, Outcome.DEVICE_REFUSED), Version(FACTORY)),
                device={"store": SMALL},
                about=f"a PPMID with room for {SMALL:,} octets",
            ),
        ),
    ),
    Demo(
        "hash-mismatch",
        "11.3 with the hash of another image",
        "the device compares the command's hash with that of the image it holds",
        (
            Scene(
                (
                    Push(UPDATE, Outcome.DISTRIBUTED),
                    Activate(OTHER, Outcome.HASH_MISMATCH),
                    Version(FACTORY),
                ),
            ),
        ),
        tour=True,
    ),
    Demo(
        "no-image",
        "11.3 before 11.1",
        "there is nothing to activate: noImageHeld",
        (Scene((Activate(UPDATE, Outcome.NO_IMAGE_HELD), Version(FACTORY))),),
    ),
    Demo(
        "metadata-lock",
        "The same firmware on another manufacturer's CH",
        "the hash covers the CH manufacturer's metadata, so one image fits one make (rules 28 to 30)",
        (
            Scene((Push(UPDATE, Outcome.DISTRIBUTED),), about="made for Secure, on a Secure CH"),
            Scene((Push(FOR_ELSTER, Outcome.METADATA),), about="made for Elster, on a Secure CH"),
            Scene(
                (Push(UPDATE, Outcome.METADATA),),
                hub=ELSTER,
                about="made for Secure, on an Elster CH",
            ),
            Scene(
                (Push(ImageSpec(for_ch=None), Outcome.METADATA),),
                about="made for no CH in particular",
            ),
        ),
        tour=True,
    ),
    Demo(
        "wrong-hardware",
        "An image for other hardware",
        "the OTA header names the hardware versions it is for; the CH offers it to no other device",
        (
            Scene(
                (
                    Push(ImageSpec(hardware=(0x7000, 0x7FFF)), Outcome.DEVICE_REFUSED),
                    Version(FACTORY),
                ),
            ),
        ),
    ),
    Demo(
        "size-lie",
        "The header tells another size",
        "a header that claims less than there is gets nowhere: the CH compares it with the upload",
        (
            Scene(
                (Push(ImageSpec(claims=60_000), Outcome.NOT_AN_IMAGE), Version(FACTORY)),
                hub={"size_behaviour": "overflow"},
            ),
        ),
    ),
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
        "the CH forgets the transfer, not the image; the next 11.1 goes on where it stopped",
        (
            Scene(
                (
                    Push(
                        UPDATE,
                        Outcome.NO_ANSWER,
                        PowerCut(When("distribute", 60_000), (HUB,)),
                    ),
                    Push(UPDATE, Outcome.DISTRIBUTED),
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
        "A second 11.1, for a device on the busy HAN and one elsewhere",
        "only the device on the busy HAN is left out: OtherRequestInProgressList (rules 35 to 37)",
        (
            _of_the_dsp(
                Push(
                    METER_UPDATE,
                    Outcome.DISTRIBUTED,
                    Meanwhile(When("distribute", 8_000), METER_UPDATE, "W110101"),
                ),
                Push(METER_UPDATE, Outcome.DISTRIBUTED),
                about="the other device is in the inventory only",
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


def find_demo(name: str) -> Demo | None:
    return next((demo for demo in CATALOGUE if demo.name == name), None)
