"""11.1 Update Firmware at the DSP: which devices of the list may have this image.

What the 11.1 codes mean is in no public document; their use here is recalled and marked so below.
There is no check of the image's size: DUIS has none for SMETS1 but its own ceiling (rule 2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hanlab.dsp.authorisation import ACCEPTED, Decision, answers_for
from hanlab.dsp.cpl import Cpl, CplStatus
from hanlab.dsp.parts import Parts
from hanlab.dsp.service_requests import FIRMWARE_TARGETS, SERVICE_REQUESTS
from hanlab.dsp.settings import User
from hanlab.dsp.smi import SMETS1, SMETS2, SmiDevice, Status
from hanlab.duis.messages import UpdateFirmware
from hanlab.duis.responses import UpdateFirmwareWarning
from hanlab.eui import Eui
from hanlab.images import ImageError, OtaImage

NOT_ON_CPL: Final = "E110101"
HASH_DIFFERS: Final = "E110102"
NO_IMAGE: Final = "E110103"
NO_DEVICE_LEFT: Final = "E110105"
SOME_LEFT_OUT: Final = "W110101"
RECALLED: Final = {
    NOT_ON_CPL: "the firmware version is not on the CPL, or not active",
    HASH_DIFFERS: "the image's hash is not the CPL entry's",
    NO_IMAGE: "the image has no OTA header, or a wrong one",
    NO_DEVICE_LEFT: "no device of the list can have it",
    SOME_LEFT_OUT: "some devices are left out, see DSPUpdateFirmwareWarning",
}
"""Meanings that are recalled: the codes exist in the schema, their text is not public."""

PPMID_CODES: Final = {
    NOT_ON_CPL: "E110401",
    HASH_DIFFERS: "E110402",
    NO_IMAGE: "E110403",
    NO_DEVICE_LEFT: "E110405",
    SOME_LEFT_OUT: "W110401",
}
"""The same of 11.4, which has codes of its own."""

_UPDATABLE: Final = (Status.COMMISSIONED, Status.SUSPENDED)
"""11.1 is accepted for a Suspended device, though it is not critical (rule 81)."""


@dataclass
class Sorted:
    """An 11.1's device list, sorted: who gets the image, and who is left out for what."""

    accepted: list[SmiDevice] = field(default_factory=list)
    invalid: list[Eui] = field(default_factory=list)
    not_commissioned: list[Eui] = field(default_factory=list)
    not_applicable: list[Eui] = field(default_factory=list)
    other_in_progress: list[Eui] = field(default_factory=list)
    why: dict[Eui, str] = field(default_factory=dict)
    """Of those that are left out."""

    def leave_out(self, devices: list[Eui], eui: Eui, why: str) -> None:
        """`devices` is the list that it goes to."""
        devices.append(eui)
        self.why[eui] = why

    @property
    def warning(self) -> UpdateFirmwareWarning | None:
        lists = (
            tuple(self.invalid),
            tuple(self.not_commissioned),
            tuple(self.not_applicable),
            tuple(self.other_in_progress),
        )
        return UpdateFirmwareWarning(*lists) if any(lists) else None


def check_image(body: UpdateFirmware, cpl: Cpl) -> Decision | OtaImage:
    """The image, if the CPL has its version with its hash; else the refusal of the whole request."""
    try:
        image = OtaImage.from_bytes(body.image)
    except ImageError as e:
        return Decision(NO_IMAGE, None, e.what)
    active = [e for e in cpl.of_version(body.version) if e.status is CplStatus.ACTIVE]
    if not active:
        return Decision(NOT_ON_CPL, 19, f"version {body.version} is not active on the CPL")
    if all(e.hash != image.manufacturer_image_hash for e in active):
        return Decision(
            HASH_DIFFERS,
            29,
            f"the image has hash {image.manufacturer_image_hash.hex()[:16]}…, the CPL's entry for "
            f"{body.version} has another one",
        )
    return image


def sort(parts: Parts, service: str, body: UpdateFirmware, user: User) -> Sorted | Decision:
    """Who of an 11.1's or 11.4's list may have its image by now; or what refuses it as a whole.

    Each device once, in the order of the request.
    """
    image = check_image(body, parts.cpl)
    if isinstance(image, Decision):
        return image
    cpl, devices = parts.cpl, parts.smi.find_all(body.devices)
    secmp0007 = parts.settings.has_secmp0007(parts.clock())
    fits = {
        (*entry.product, entry.generation)
        for entry in cpl.of_version(body.version)
        if entry.status is CplStatus.ACTIVE and entry.hash == image.manufacturer_image_hash
    }
    destination = image.header.destination
    only = Eui(destination[::-1]) if destination else None
    result = Sorted()
    for eui in dict.fromkeys(body.devices):
        device = devices.get(eui)
        if device is None:
            result.leave_out(result.invalid, eui, "is not in the inventory")
        elif not answers_for(user, device, SERVICE_REQUESTS[service]):
            result.leave_out(result.invalid, eui, f"is none that {user.name} answers for")
        elif not _takes(device, service, secmp0007=secmp0007):
            kind = f"is a {device.generation} {device.device_type}, which takes no {service} here"
            result.leave_out(result.invalid, eui, kind)
        elif device.status not in _UPDATABLE:
            result.leave_out(result.not_commissioned, eui, f"is {device.status}")
        elif only not in (None, eui):
            why = f"is not {only}, which is the upgrade file destination of the image"
            result.leave_out(result.not_applicable, eui, why)
        elif (
            device.device_type,
            device.manufacturer,
            device.model,
            device.hardware,
            device.generation,
        ) not in fits:
            model = f"{device.manufacturer} {device.model}"
            why = f"is a {model}, for which the CPL has no active {body.version} with this hash"
            result.leave_out(result.not_applicable, eui, why)
        else:
            result.accepted.append(device)
    return result


def _takes(device: SmiDevice, service: str, *, secmp0007: bool) -> bool:
    """Whether 11.1 or 11.4 is the Service Request for such a device at all."""
    if device.device_type not in FIRMWARE_TARGETS:
        return False  # an IHD cannot be upgraded (rule 118), a GPF is part of its CH
    if service == "11.4":
        return device.device_type == "PPMID" and device.generation == SMETS2 and secmp0007
    if device.device_type == "HCALCS":
        return secmp0007  # rules 108, 113
    return device.device_type != "PPMID" or device.generation == SMETS1


def together(
    one: UpdateFirmwareWarning | None, other: UpdateFirmwareWarning
) -> UpdateFirmwareWarning:
    """Both their lists in one."""
    if one is None:
        return other
    return UpdateFirmwareWarning(
        **{name: some + getattr(other, name) for name, some in vars(one).items()}
    )


def counted(devices: int) -> str:
    return "1 device" if devices == 1 else f"{devices:,} devices"


def all_left_out(result: Sorted) -> Decision:
    """The refusal of a list of which nobody is left."""
    number = sum(
        map(
            len,
            (
                result.invalid,
                result.not_commissioned,
                result.not_applicable,
                result.other_in_progress,
            ),
        )
    )
    rule = 35 if len(result.other_in_progress) == number else None
    if number == 1:
        busy = dict.fromkeys(result.other_in_progress, "is on a HAN with an update in progress")
        ((eui, why),) = (result.why | busy).items()
        return Decision(NO_DEVICE_LEFT, rule, f"no device is left that can have it: {eui} {why}")
    return Decision(
        NO_DEVICE_LEFT,
        rule,
        f"none of {counted(number)} can have it: {len(result.invalid):,} invalid, "
        f"{len(result.not_commissioned):,} not commissioned, {len(result.not_applicable):,} of "
        f"another model, {len(result.other_in_progress):,} on a HAN with an update in progress",
    )


def code_for(service: str, code: str) -> str:
    """The response code as that Service Request, 11.1 or 11.4, has it."""
    return PPMID_CODES.get(code, code) if service == "11.4" else code


def accepted(result: Sorted) -> Decision:
    left_out = result.warning
    suspended = any(d.status is Status.SUSPENDED for d in result.accepted)
    return Decision(
        ACCEPTED,
        36 if result.other_in_progress else 81 if suspended else None,
        counted(len(result.accepted)) + (", the others are left out" if left_out else ""),
    )
