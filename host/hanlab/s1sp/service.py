"""Service Requests 11.1, 11.2 and 11.3 as the S1SP carries them out on one Communications Hub.

The Device Model of the CH says how many steps an update has (S1SR, rules 96 and 97): on a two-step
model 11.1 distributes the image to the device and 11.3 activates it; on a one-step model 11.1 leaves
it in the CH, and 11.3 does all the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smpclient.requests.image_management import ImageErase

from hanlab.boards.data import DeviceModel
from hanlab.errors import UsageError
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import ACTIVATE_OUTCOME, ActivateCode, Outcome, ServiceRequestFailed
from hanlab.wan.client import NoAnswer, Refused, WanClient
from hanlab.wan.messages import (
    GROUP,
    Activate,
    DevicesRead,
    Distribute,
    HanDevice,
    HanError,
    ProgressRead,
    ProgressReadResponse,
    StoreRead,
    StoreReadResponse,
    VersionRead,
    VersionReadResponse,
)

POLL_S: Final = 0.25
"""How often the progress of a job on the CH is read (s)."""
STALLED_S: Final = 120.0
"""A job that makes no progress for so long has failed (s)."""
BOOT_S: Final = 30.0
"""How long a device may be gone after an activation (s)."""

IMAGE_GROUP: Final = 1
_NO_ROOM: Final = {30: Outcome.TOO_LARGE, 31: Outcome.OVERFLOW}
_BAD_HASH: Final = 24
_BAD_HEADER: Final = 22
_BUSY: Final = 10

_HAN_OUTCOMES: Final = {
    HanError.NO_DEVICE: Outcome.NO_DEVICE,
    HanError.NO_IMAGE: Outcome.NO_IMAGE_HELD,
    HanError.BUSY: Outcome.BUSY,
    HanError.NO_ANSWER: Outcome.NO_ANSWER,
    HanError.REFUSED: Outcome.DEVICE_REFUSED,
}


@dataclass(frozen=True)
class Progress:
    """How far a stage ("upload", "distribute" or "activate") has come, in octets."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Target:
    """The device that a Service Request is for."""

    name: str
    eui: bytes
    model: DeviceModel


Report = Callable[[Progress], None]


class S1sp:
    """One CH's S1SP: `hub` is the CH's Device Model, `wan` the client that reaches it."""

    def __init__(self, wan: WanClient, hub: DeviceModel) -> None:
        self._wan = wan
        self._hub = hub
        self._counter = 0

    @property
    def two_step(self) -> bool:
        return self._hub.update is not None and self._hub.update.activation_steps == 2

    async def store(self) -> StoreReadResponse:
        """The CH's report on its image store."""
        return await self._wan.read(StoreRead)

    async def evict(self, image_id: int) -> None:
        """Remove an image from the CH's store."""
        store = await self.store()
        if all(image.id != image_id for image in store.images):
            held = ", ".join(f"{i.id} ({i.version})" for i in store.images) or "none"
            raise UsageError(f"the CH holds no image {image_id}", next_step=f"it holds {held}")
        await self._wan.write(ImageErase, slot=image_id)

    async def devices(self) -> list[HanDevice]:
        """The devices that the CH knows on its HAN."""
        return (await self._wan.read(DevicesRead)).devices

    async def update_firmware(self, image: OtaImage, target: Target, report: Report) -> Outcome:
        """11.1 Update Firmware.

        DUIS has no size limit for a SMETS1 image; the CH has one (rules 2 and 3), so the request goes
        all the way to the CH and fails there.

        Raises:
            ServiceRequestFailed: with the outcome and the numbers.
        """
        await self._known(target)
        octets = image.to_bytes()
        try:
            async for done in self._wan.upload(octets):
                report(Progress("upload", done, len(octets)))
        except (Refused, NoAnswer) as e:
            raise await self._why_not_stored(e, len(octets)) from None
        if not self.two_step:
            return Outcome.STORED
        try:
            started = await self._wan.write(
                Distribute, eui=target.eui, hash=image.manufacturer_image_hash
            )
        except Refused as e:
            raise _refused(e, target) from None
        end = await self._follow(started.job, target, "distribute", report)
        if end.state == "failed":
            raise _distribution_failed(end, target, len(octets))
        return Outcome.DISTRIBUTED

    async def read_firmware_version(self, target: Target) -> VersionReadResponse:
        """11.2 Read Firmware Version: what the device itself answers over the HAN."""
        try:
            return await self._wan.read(VersionRead, eui=target.eui)
        except Refused as e:
            raise _refused(e, target) from None

    async def activate_firmware(self, hash_: bytes, target: Target, report: Report) -> Outcome:
        """11.3 Activate Firmware with the Manufacturer Image hash `hash_` (32 octets).

        Returns ACTIVATED once the device has answered `success`; it then restarts.

        Raises:
            ServiceRequestFailed: `noImageHeld`, `hashMismatch`, `activationFailure`, or no answer.
        """
        self._counter += 1
        try:
            started = await self._wan.write(
                Activate, eui=target.eui, hash=hash_, counter=self._counter
            )
        except Refused as e:
            raise _refused(e, target) from None
        end = await self._follow(started.job, target, "activate", report)
        if end.state == "failed":
            raise _distribution_failed(end, target, end.len)
        code = ActivateCode(end.status)
        if code is not ActivateCode.SUCCESS:
            raise ServiceRequestFailed(
                ACTIVATE_OUTCOME[code], *_why_not_activated(code, target, hash_, self.two_step)
            )
        return Outcome.ACTIVATED

    async def wait_until_back(self, target: Target) -> VersionReadResponse:
        """Read the version of a device that has just restarted, as soon as it answers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BOOT_S
        while True:
            try:
                return await self.read_firmware_version(target)
            except ServiceRequestFailed as e:
                if e.outcome is not Outcome.NO_ANSWER or loop.time() > deadline:
                    raise
            await asyncio.sleep(POLL_S)

    # -- how it can go wrong

    async def _known(self, target: Target) -> None:
        if not any(device.eui == target.eui for device in await self.devices()):
            raise ServiceRequestFailed(
                Outcome.NO_DEVICE,
                f"the CH knows no device {target.eui.hex('-').upper()} on its HAN",
            )

    async def _why_not_stored(self, error: Refused | NoAnswer, size: int) -> ServiceRequestFailed:
        store = await self.store()
        stored = ", ".join(
            f"{i.version} ({i.size:,} B)" for i in store.images if i.state == "stored"
        )
        capacity = "no published limit" if store.capacity is None else f"{store.capacity:,} B"
        numbers = (
            f"image {size:,} B; store of the {self._hub.model} {capacity}, {store.free:,} B free; "
            f"short by {max(0, size - store.free):,} B"
        )
        make_room = (
            f"it holds {stored}: `hanlab store --evict ID` makes room; or "
            if stored
            else "no device on this HAN can be updated with it (rule 4); "
        ) + "use a smaller image or a CH with a larger store"
        if isinstance(error, NoAnswer):
            if size > store.free:
                return ServiceRequestFailed(
                    Outcome.SILENT, f"the CH stopped answering: {numbers}", next_step=make_room
                )
            return ServiceRequestFailed(
                Outcome.SILENT,
                f"the CH stopped answering ({error.what})",
                next_step="push again: it goes on where it stopped",
            )
        if error.group == IMAGE_GROUP and error.rc in _NO_ROOM:
            outcome = _NO_ROOM[error.rc]
            when = "before the first octet" if outcome is Outcome.TOO_LARGE else "in mid-transfer"
            return ServiceRequestFailed(
                outcome, f"the CH refused it {when}: {numbers}", next_step=make_room
            )
        if error.group == IMAGE_GROUP and error.rc == _BAD_HASH:
            if size > store.free:
                return ServiceRequestFailed(
                    Outcome.TRUNCATED,
                    f"the CH took every octet but kept only what fits, so the hash differs: {numbers}",
                    next_step=make_room,
                )
            return ServiceRequestFailed(
                Outcome.CORRUPT,
                "what the CH stored has another hash than what was sent",
                next_step="push again",
            )
        if error.group == IMAGE_GROUP and error.rc == _BAD_HEADER:
            return self._wrong_header()
        if error.group == 0 and error.rc == _BUSY:
            return ServiceRequestFailed(
                Outcome.BUSY,
                "an update is in progress on this HAN (rule 35)",
                next_step="wait for it",
            )
        return ServiceRequestFailed(
            Outcome.DEVICE_REFUSED, f"the CH refused the image: {error.what}"
        )

    def _wrong_header(self) -> ServiceRequestFailed:
        update = self._hub.update
        if update is None or not update.needs_metadata:
            return ServiceRequestFailed(
                Outcome.NOT_AN_IMAGE,
                f"the {self._hub.model} does not take this for an OTA file",
                next_step="hanlab image inspect FILE",
            )
        wanted = update.metadata_manufacturer
        return ServiceRequestFailed(
            Outcome.METADATA,
            f"the {self._hub.model} needs a metadata block of {wanted} in front of the Manufacturer "
            "Image, and this image has none or another manufacturer's (rules 28 to 30)",
            next_step=f"hanlab image build … --for-ch {wanted}; its hash is another one then",
        )

    async def _follow(
        self, job: int, target: Target, stage: str, report: Report
    ) -> ProgressReadResponse:
        loop = asyncio.get_running_loop()
        moved = loop.time()
        off = -1
        while True:
            now = await self._wan.read(ProgressRead)
            if now.job != job:
                raise ServiceRequestFailed(
                    Outcome.NO_ANSWER,
                    f"the CH restarted and forgot the {stage} job for {target.name}",
                    next_step="send the Service Request again",
                )
            if now.off != off:
                off, moved = now.off, loop.time()
                report(Progress(stage, now.off, now.len))
            if now.state in ("done", "failed"):
                return now
            if loop.time() - moved > STALLED_S:
                raise ServiceRequestFailed(
                    Outcome.NO_ANSWER,
                    f"{stage} to {target.name} stalled at {now.off:,} of {now.len:,} B "
                    f"for {STALLED_S:.0f} s",
                )
            await asyncio.sleep(POLL_S)


def _refused(error: Refused, target: Target) -> ServiceRequestFailed:
    if error.group != GROUP or error.rc not in list(HanError):
        return ServiceRequestFailed(Outcome.DEVICE_REFUSED, error.what)
    code = HanError(error.rc)
    name = f"{target.name} ({target.eui.hex('-').upper()})"
    what = {
        HanError.NO_DEVICE: f"the CH knows no device {name} on its HAN",
        HanError.NO_IMAGE: f"the CH holds no image with that hash for {name}",
        HanError.BUSY: "an update is in progress on this HAN (rule 35)",
        HanError.NO_ANSWER: f"{name} does not answer on the HAN",
    }.get(code, f"{name}: {error.what}")
    return ServiceRequestFailed(_HAN_OUTCOMES.get(code, Outcome.DEVICE_REFUSED), what)


def _distribution_failed(
    end: ProgressReadResponse, target: Target, size: int
) -> ServiceRequestFailed:
    at = f"at {end.off:,} of {end.len:,} B"
    if end.reason == "no answer":
        return ServiceRequestFailed(
            Outcome.NO_ANSWER,
            f"{target.name} stopped answering on the HAN {at}",
            next_step="push again: the device goes on where it stopped",
        )
    capacity = target.model.store.capacity
    hint = ""
    if capacity is not None and size > capacity:
        hint = f"; its store holds {capacity:,} B, short by {size - capacity:,} B"
    return ServiceRequestFailed(
        Outcome.DEVICE_REFUSED,
        f"{target.name} ended the transfer {at}: {end.reason} (0x{end.status:02X}){hint}",
        next_step="hanlab image inspect FILE shows what it is for",
    )


def _why_not_activated(
    code: ActivateCode, target: Target, hash_: bytes, two_step: bool
) -> tuple[str]:
    holder = target.name if two_step else "the CH"
    why = {
        ActivateCode.NO_IMAGE_HELD: f"{holder} holds no image for it: 11.1 Update Firmware comes first",
        ActivateCode.HASH_MISMATCH: f"{holder} holds an image with another hash than {hash_.hex()[:16]}…",
        ActivateCode.ACTIVATION_FAILURE: f"{target.name} could not activate it",
    }
    return (f"11.3 answered {code.duis} ({code.value}): {why[code]}",)
