"""What a demo is made of: scenes, their steps, and what goes wrong in them.

The images are made to size; their contents do not matter to a CH or a PPMID of this lab. Capacities
are illustrative: no public document gives a real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """Somebody sends another 11.1 to the same HAN, in a scene of two homes also to the other one's device."""

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
class PreNotify:
    """12.2 for the device; `expect` is what the SMI says then: "status, version"."""

    expect: str


@dataclass(frozen=True)
class Add:
    """8.11 Add at the CH of a home (the first, or `home`), and then the time until the device has joined or may not.

    `expect` is what the SMI says then: "status, version".
    """

    expect: str
    home: str = ""
    join_s: int = 600
    code: bytes | None = None
    """The install code that the supplier gives; None: that of the device's label."""
    on_after_s: float = 0.0
    """The device is switched off, and on so long after the request."""


@dataclass(frozen=True)
class Remove:
    """8.11 Remove at the CH of a home (the first, or `home`); `expect` is what the SMI says then."""

    expect: str
    home: str = ""


@dataclass(frozen=True)
class Commission:
    """8.7.2, of a meter 8.1.1, on the HAN of a home (the first, or `home`); `expect` is what the SMI says then."""

    expect: str
    home: str = ""


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
    | PreNotify
    | Add
    | Remove
    | Commission
    | ListAs
    | Notify
    | Withdraw
    | Known
    | Told
    | ReadMirror
    | Activations
)


HOME: Final = "oak"
OTHER_HOME: Final = "elm"


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
    to: str = ""
    """The board that the requests are for; without it the first device."""
    homes: int = 1
    """So many homes like that; the requests are for the first one's device."""
    other_hub: Mapping[str, Any] | None = None
    """Another home (`OTHER_HOME`) beside it (`HOME`), without devices: changes to the default lab's [comms_hub]."""

    def lab(self) -> dict[str, Any]:
        """The lab.toml of this scene."""
        home = {
            "comms_hub": {**DEFAULT["comms_hub"], **self.hub},
            "device": [{**DEFAULT["device"][0], **self.device}],
        }
        several: dict[str, Any] = {"home": [{"name": "home", "count": self.homes, **home}]}
        if self.other_hub is not None:
            other = {"comms_hub": {**DEFAULT["comms_hub"], **self.other_hub}}
            several = {"home": [{"name": HOME, **home}, {"name": OTHER_HOME, **other}]}
        return {
            "seed": DEFAULT["seed"],
            **self.wires,
            **(home if self.homes == 1 and self.other_hub is None else several),
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
