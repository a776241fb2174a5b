"""Why the CH or a device did not do what an 11.1, 11.2 or 11.3 wanted: the outcome, the numbers, the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hanlab.boards.clauses import Behaviour
from hanlab.boards.data import DeviceModel
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import ACTIVATE_OUTCOME, ActivateCode, Outcome, ServiceRequestFailed
from hanlab.s1sp.rules import busy, wrong_metadata
from hanlab.s1sp.target import Target
from hanlab.wan.client import NoAnswer, Refused
from hanlab.wan.messages import GROUP, HanError, ProgressReadResponse, StoreReadResponse

IMAGE_GROUP: Final = 1
_DAMAGED: Final = 0x80
"""ZCL MALFORMED_COMMAND as a job's status: flash does not hold what was stored."""

_AFTER_REFUSAL: Final = {
    HanError.NO_IMAGE: "hanlab push FILE --to the device; hanlab store shows what the CH holds",
    HanError.BUSY: "wait until it has ended",
    HanError.NO_ANSWER: "check that it is switched on, and send the Service Request again",
    HanError.FULL: "hanlab leave takes another device off it",
}
_AFTER_ACTIVATION: Final = {
    ActivateCode.NO_IMAGE_HELD: "hanlab push FILE --to {device}",
    ActivateCode.HASH_MISMATCH: "hanlab activate {device} --image with the FILE that was pushed; "
    "hanlab store shows the hashes of what the CH holds",
    ActivateCode.ACTIVATION_FAILURE: "hanlab push FILE --to {device} once more, then activate it",
}
"""The next step after each answer to 11.3 that is no success."""

_AGAIN: Final = {
    "11.1": "push again",
    "11.3": "check that it is switched on, then hanlab activate {device} again",
}
"""What starts a transfer anew: an 11.3 transfers to one-step devices (rule 96)."""

_HAN_OUTCOMES: Final = {
    HanError.NO_DEVICE: Outcome.NO_DEVICE,
    HanError.NO_IMAGE: Outcome.NO_IMAGE_HELD,
    HanError.BUSY: Outcome.BUSY,
    HanError.NO_ANSWER: Outcome.NO_ANSWER,
    HanError.REFUSED: Outcome.DEVICE_REFUSED,
}


@dataclass(frozen=True)
class _Words:
    """What a refusal means. `what` may name {numbers} (of the image and the store), the CH's {model}, what it {said}.

    Without a `next_step` the image needs room.
    """

    outcome: Outcome
    what: str
    next_step: str = ""


_SILENCE: Final = (-1, -1)
"""In place of a refusal's group and code: there was no answer."""

_IMAGE_REFUSED: Final = {
    (IMAGE_GROUP, 30): _Words(
        Outcome.TOO_LARGE, "the CH refused it before the first octet: {numbers}"
    ),
    (IMAGE_GROUP, 31): _Words(Outcome.OVERFLOW, "the CH refused it in mid-transfer: {numbers}"),
    (IMAGE_GROUP, 24): _Words(
        Outcome.CORRUPT,
        "what the CH stored has another hash than what was sent",
        next_step="push again",
    ),
    (IMAGE_GROUP, 22): _Words(
        Outcome.NOT_AN_IMAGE,
        "the {model} does not take this for an OTA file: no OTA header, or one that claims another size",
        next_step="hanlab image inspect FILE",
    ),
    (IMAGE_GROUP, 12): _Words(
        Outcome.DEVICE_REFUSED,
        "the CH's flash did not take the image",
        next_step="push again; if it stays so, the board's flash is worn out",
    ),
    _SILENCE: _Words(
        Outcome.SILENT,
        "the CH stopped answering ({said})",
        next_step="push again: it goes on where it stopped",
    ),
}
"""What the CH's answer to an image means, by SMP group and code."""

_IMAGE_REFUSED_FOR_ROOM: Final = {
    (IMAGE_GROUP, 24): _Words(
        Outcome.TRUNCATED,
        "the CH took every octet but kept only what fits, so the hash differs: {numbers}",
    ),
    _SILENCE: _Words(Outcome.SILENT, "the CH stopped answering: {numbers}"),
}
"""What it means in place of that, of an image that is larger than what is free."""

_OTHERWISE_REFUSED: Final = _Words(
    Outcome.DEVICE_REFUSED,
    "the CH refused the image: {said}",
    next_step="hanlab image inspect FILE shows what is in it",
)
_METADATA_REFUSED: Final = (IMAGE_GROUP, 5)
_BUSY: Final = (0, 10)


def not_stored(
    error: Refused | NoAnswer, store: StoreReadResponse, hub: DeviceModel, size: int
) -> ServiceRequestFailed:
    """Why the CH did not take an image of `size` octets; `store` is what it said after that."""
    why = (error.group, error.rc) if isinstance(error, Refused) else _SILENCE
    if why == _METADATA_REFUSED:
        return wrong_metadata(hub, hub.update.metadata_manufacturer if hub.update else "")
    if why == _BUSY:
        return busy()
    words = _IMAGE_REFUSED.get(why, _OTHERWISE_REFUSED)
    if size > store.free:
        words = _IMAGE_REFUSED_FOR_ROOM.get(why, words)
    capacity = "no published limit" if store.capacity is None else f"{store.capacity:,} B"
    short = size - store.free
    numbers = f"image {size:,} B; store of the {hub.model} {capacity}, {store.free:,} B free; " + (
        f"short by {short:,} B" if short > 0 else "but its flash has no room for it"
    )
    return ServiceRequestFailed(
        words.outcome,
        words.what.format(numbers=numbers, model=hub.model, said=error.what),
        next_step=words.next_step or _make_room(store, size),
    )


def refused(error: Refused, target: Target) -> ServiceRequestFailed:
    """The CH refused a command of group 0x5331 for this device."""
    if error.group != GROUP or error.rc not in list(HanError):
        return ServiceRequestFailed(
            Outcome.DEVICE_REFUSED, error.what, next_step="send the Service Request again"
        )
    code = HanError(error.rc)
    name = f"{target.name} ({target.eui.hex('-').upper()})"
    what = {
        HanError.NO_DEVICE: f"the CH knows no device {name} on its HAN",
        HanError.NO_IMAGE: f"the CH holds no image with that hash for {name}",
        HanError.BUSY: "an update is in progress on this HAN (rule 35)",
        HanError.NO_ANSWER: f"{name} does not answer on the HAN",
        HanError.FULL: f"the CH's device table is full: there is no place for {name}",
    }.get(code, f"{name}: {error.what}")
    return ServiceRequestFailed(
        _HAN_OUTCOMES.get(code, Outcome.DEVICE_REFUSED),
        what,
        next_step=_AFTER_REFUSAL.get(code, "hanlab devices shows who is on the HAN"),
    )


def for_another(image: OtaImage, target: Target) -> ServiceRequestFailed:
    """The image names another device as its upgrade file destination."""
    only = (image.header.destination or b"")[::-1].hex("-").upper()
    return ServiceRequestFailed(
        Outcome.DEVICE_REFUSED,
        f"the image is for {only} alone (its upgrade file destination), not for {target.name}",
        next_step="push it to that device, or build one without a destination",
    )


def not_offered(error: Refused, image: OtaImage, target: Target) -> ServiceRequestFailed:
    """Why the CH did not begin to distribute an image that it has just stored."""
    kind = target.model.device_type
    if error.group == GROUP and error.rc == HanError.NO_IMAGE and image.device_type != kind:
        return ServiceRequestFailed(
            Outcome.NO_IMAGE_HELD,
            f"the image is for device type {image.device_type or 'unknown'}, {target.name} is a "
            f"{kind}: the CH does not offer it",
            next_step=f"hanlab image build … --type {kind}; `hanlab store --evict ID` takes this one "
            "out of the CH",
        )
    return refused(error, target)


def not_asked_for(version: str, target: Target) -> ServiceRequestFailed:
    """The device runs the version of this 11.1's image: by that alone nobody knows whether it is the same."""
    return ServiceRequestFailed(
        Outcome.DEVICE_REFUSED,
        f"{target.name} runs {version} already, so it does not ask for an image of that version",
        next_step=f"if that is this image, nothing is left to do: hanlab activate {target.name} --image with "
        "the same FILE tells, by its hash. Other firmware needs another version",
    )


def runs_another(
    code: ActivateCode, version: str, target: Target, hash_: bytes
) -> ServiceRequestFailed:
    """The device runs the version that 11.3 means, with another hash than 11.3's."""
    return ServiceRequestFailed(
        ACTIVATE_OUTCOME[code],
        f"{target.name} runs {version} already, but other firmware than that with hash {hash_.hex()[:16]}…: "
        "it asks for no image of the version that it runs",
        next_step="give the image another version; `hanlab store --evict ID` takes this one out of the CH",
    )


def _make_room(store: StoreReadResponse, size: int) -> str:
    held = ", ".join(
        f"{i.id} is {i.version} ({i.size:,} B)" for i in store.images if i.state == "stored"
    )
    if held and (store.capacity is None or size <= store.capacity):
        return f"`hanlab store --evict ID` makes room: image {held}"
    return (
        "no device on this HAN can be updated with it (rule 4); "
        "use a smaller image or a CH with a larger store"
    )


def distribution_failed(
    end: ProgressReadResponse, target: Target, size: int, *, service: str = "11.1"
) -> ServiceRequestFailed:
    """A job that brings an image of `size` octets to the device, of 11.1 or of 11.3, ended badly."""
    again = _AGAIN[service]
    at = f"at {end.off:,} of {end.len:,} B"
    if end.reason == "no answer":
        return ServiceRequestFailed(
            Outcome.NO_ANSWER,
            f"{target.name} stopped answering on the HAN" + (f" {at}" if end.len else ""),
            next_step=f"{again.format(device=target.name)}: the device goes on where it stopped",
        )
    if end.status == _DAMAGED:
        return ServiceRequestFailed(
            Outcome.CORRUPT,
            f"the image is {end.reason}; it is gone from the store",
            next_step="push again",
        )
    what = f"{target.name} ended the transfer {at}: {end.reason} (0x{end.status:02X})"
    capacity = target.model.store.capacity if target.model.has(Behaviour.SIZE) else None
    if capacity is not None and size > capacity:
        return ServiceRequestFailed(
            Outcome.DEVICE_REFUSED,
            f"{what}; its store holds {capacity:,} B, short by {size - capacity:,} B (rule 147)",
            next_step="use a smaller image, or a device with a larger store",
        )
    return ServiceRequestFailed(
        Outcome.DEVICE_REFUSED, what, next_step="hanlab image inspect FILE shows what it is for"
    )


def not_activated(
    code: ActivateCode, target: Target, hash_: bytes, reason: str
) -> ServiceRequestFailed:
    """An answer to 11.3 that is no success; `reason` is what the CH says of it."""
    holder = target.name if target.model.two_step else "the CH"
    why = {
        ActivateCode.NO_IMAGE_HELD: f"{holder} holds no image for it, 11.1 comes first",
        ActivateCode.HASH_MISMATCH: f"{holder} holds an image, but not with hash {hash_.hex()[:16]}…",
        ActivateCode.ACTIVATION_FAILURE: reason or f"{target.name} could not activate it",
    }
    return ServiceRequestFailed(
        ACTIVATE_OUTCOME[code],
        f"11.3 answered {code.duis} ({code.value}): {why[code]}",
        next_step=_AFTER_ACTIVATION[code].format(device=target.name),
    )
