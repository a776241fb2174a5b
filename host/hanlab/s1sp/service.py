"""Service Requests 11.1, 11.2 and 11.3 as the S1SP carries them out on one Communications Hub.

The Device Model of the device says how many steps its update has (rules 96 and 97): to a two-step
device 11.1 distributes the image and 11.3 activates it; for a one-step device 11.1 leaves it in the CH,
which remembers for whom, and 11.3 does all the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Final

from smpclient.requests.image_management import ImageErase

from hanlab.boards.clauses import Behaviour
from hanlab.boards.data import DeviceModel
from hanlab.errors import UsageError
from hanlab.images import OtaImage
from hanlab.s1sp.annex_c import defaults
from hanlab.s1sp.authority import Authority
from hanlab.s1sp.outcome import ACTIVATE_OUTCOME, ActivateCode, Outcome, ServiceRequestFailed
from hanlab.s1sp.rules import (
    busy,
    holds,
    refuse_foreign_metadata,
    refuse_third_party,
    wrong_metadata,
)
from hanlab.s1sp.target import Target
from hanlab.wan.client import NoAnswer, Refused, WanClient
from hanlab.wan.messages import (
    GROUP,
    Activate,
    DevicesRead,
    Distribute,
    EventsRead,
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
BOOT_S: Final = 60.0
"""How long a device may be gone after an activation (s)."""

IMAGE_GROUP: Final = 1
_NO_ROOM: Final = {30: Outcome.TOO_LARGE, 31: Outcome.OVERFLOW}
_BAD_HASH: Final = 24
_BAD_HEADER: Final = 22
_BAD_METADATA: Final = 5
_FLASH_FAILED: Final = 12
_BUSY: Final = 10
_DAMAGED: Final = 0x80
"""ZCL MALFORMED_COMMAND as a job's status: flash does not hold what was stored."""

_NO_IMAGE_AVAILABLE: Final = 0x98
"""ZCL status: the CH has nothing that the device would take."""

_AFTER_REFUSAL: Final = {
    HanError.NO_IMAGE: "hanlab push FILE --to the device; hanlab store shows what the CH holds",
    HanError.BUSY: "wait until it has ended",
    HanError.NO_ANSWER: "check that it is switched on, and send the Service Request again",
}
_AFTER_ACTIVATION: Final = {
    ActivateCode.NO_IMAGE_HELD: "hanlab push FILE --to {device}",
    ActivateCode.HASH_MISMATCH: "hanlab activate {device} --image with the FILE that was pushed; "
    "hanlab store shows the hashes of what the CH holds",
    ActivateCode.ACTIVATION_FAILURE: "hanlab push FILE --to {device} once more, then activate it",
}
"""The next step after each answer to 11.3 that is no success."""

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
    note: str = ""
    """How the stage began, if not afresh: where it goes on, or why it starts again."""


Report = Callable[[Progress], None]


class S1sp:
    """One CH's S1SP: `hub` is the CH's Device Model, `wan` the client that reaches it.

    `authority` makes the authorisations that 11.3 needs (rule 121). Whoever asks, and by whatever way,
    meets the rules of s1sp/rules.py here.
    """

    def __init__(self, wan: WanClient, hub: DeviceModel, authority: Authority) -> None:
        self._wan = wan
        self._hub = hub
        self._authority = authority
        self._turn = asyncio.Lock()  # a CH distributes or activates one thing at a time
        self._updates = 0

    @property
    def updating(self) -> bool:
        """An 11.1 is being carried out on this HAN, or waits for its turn (rule 35)."""
        return self._updates > 0

    async def store(self) -> StoreReadResponse:
        """The CH's report on its image store."""
        return await self._wan.read_all(StoreRead, "images")

    async def evict(self, image_id: int) -> None:
        """Remove an image from the CH's store."""
        store = await self.store()
        if all(image.id != image_id for image in store.images):
            held = ", ".join(f"{i.id} ({i.version})" for i in store.images) or "none"
            raise UsageError(f"the CH holds no image {image_id}", next_step=f"it holds {held}")
        await self._wan.write(ImageErase, slot=image_id)

    async def devices(self) -> list[HanDevice]:
        """The devices that the CH knows on its HAN."""
        return (await self._wan.read_all(DevicesRead, "devices")).devices

    async def update_firmware(self, image: OtaImage, target: Target, report: Report) -> Outcome:
        """11.1 Update Firmware.

        DUIS has no size limit for a SMETS1 image; the CH has one (rules 2 and 3), so the request goes
        all the way to the CH and fails there.

        Raises:
            ServiceRequestFailed: with the outcome and the numbers.
        """
        refuse_third_party(target, self._hub)
        refuse_foreign_metadata(image, target, self._hub)
        one_at_a_time = holds(Behaviour.ONE_UPDATE, self._hub, target.model)
        if self._updates and one_at_a_time:
            raise busy()
        self._updates += 1
        try:
            async with self._turn:
                if one_at_a_time:
                    return await self._update(image, target, report)
                return await self._update_when_free(image, target, report)
        finally:
            self._updates -= 1

    async def _update_when_free(self, image: OtaImage, target: Target, report: Report) -> Outcome:
        """Without 18.63 a CH that others keep busy is waited for, not given up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STALLED_S
        while True:
            try:
                return await self._update(image, target, report)
            except ServiceRequestFailed as e:
                if e.outcome is not Outcome.BUSY or loop.time() > deadline:
                    raise
            await asyncio.sleep(POLL_S)

    async def _update(self, image: OtaImage, target: Target, report: Report) -> Outcome:
        await self._known(target)
        if image.header.destination not in (None, target.eui[::-1]):
            raise _for_another(image, target)
        octets = image.to_bytes()
        off, note = await self._earlier_upload(octets)
        if note:
            report(Progress("upload", off, len(octets), note))
        try:
            async with aclosing(self._wan.upload(octets)) as upload:
                async for done in upload:
                    report(Progress("upload", done, len(octets)))
        except (Refused, NoAnswer) as e:
            raise await self._why_not_stored(e, len(octets)) from None
        try:
            started = await self._wan.write(
                Distribute,
                eui=target.eui,
                hash=image.manufacturer_image_hash,
                jitter=defaults(self._hub.population).query_jitter,  # rule 38
            )
        except Refused as e:
            raise _not_offered(e, image, target) from None
        if not target.model.two_step:
            return Outcome.STORED  # the CH keeps it for this device until 11.3
        end = await self._follow(started.job, target, "distribute", report)
        if end.state == "failed":
            if end.status == _NO_IMAGE_AVAILABLE:
                await self._runs_already(image, target)
            raise _distribution_failed(end, target, len(octets))
        return Outcome.DISTRIBUTED

    async def read_firmware_version(self, target: Target) -> VersionReadResponse:
        """11.2 Read Firmware Version: what the device itself answers over the HAN."""
        try:
            return await self._wan.read(VersionRead, work_s=self._wan.limits.han_s, eui=target.eui)
        except Refused as e:
            raise _refused(e, target) from None

    async def activate_firmware(self, hash_: bytes, target: Target, report: Report) -> Outcome:
        """11.3 Activate Firmware with the Manufacturer Image hash `hash_` (32 octets).

        Returns ACTIVATED once the device has answered `success` and runs what the CH holds under that
        hash.

        Raises:
            ServiceRequestFailed: `noImageHeld`, `hashMismatch`, `activationFailure`, or no answer.
        """
        refuse_third_party(target, self._hub)
        async with self._turn:
            device = await self._known(target)
            wanted = await self._version_of(hash_, target)
            try:
                with _may_have_happened():
                    started = await self._wan.write(
                        Activate,
                        eui=target.eui,
                        hash=hash_,
                        **vars(self._authority.authorise(target.eui, hash_, device.counter)),
                    )
            except Refused as e:
                if e.group == GROUP and e.rc == HanError.REFUSED:
                    raise await self._not_authorised() from None
                raise _refused(e, target) from None
            with _may_have_happened():
                end = await self._follow(started.job, target, "activate", report)
                if end.state == "failed":
                    raise _distribution_failed(end, target, end.len)
                code = ActivateCode(end.status)
                if code is not ActivateCode.SUCCESS:
                    raise ServiceRequestFailed(
                        ACTIVATE_OUTCOME[code],
                        _why_not_activated(code, target, hash_, end.reason),
                        next_step=_AFTER_ACTIVATION[code].format(device=target.name),
                    )
                if wanted:
                    await self._check_that_it_runs(wanted, target)
        return Outcome.ACTIVATED

    async def _version_of(self, hash_: bytes, target: Target) -> str:
        """The version that 11.3 with this hash is to make run; "" if the CH holds no such image."""
        store = await self.store()
        return next(
            (
                image.version
                for image in reversed(store.images)
                if image.hash == hash_ and image.type == target.model.device_type
            ),
            "",
        )

    async def _check_that_it_runs(self, wanted: str, target: Target) -> None:
        """A device goes by the hash, so it may say `success` and run another version with the same one."""
        runs = (await self.wait_until_back(target)).firmware
        if runs != wanted:
            raise ServiceRequestFailed(
                Outcome.ACTIVATION_FAILURE,
                f"{target.name} runs {runs}, not {wanted}: it answered success to 11.3, which goes by the "
                "Manufacturer Image hash, and both versions have the same one",
                next_step="build the new version with firmware of its own, so that it has a hash of its own",
            )

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

    async def _earlier_upload(self, image: bytes) -> tuple[int, str]:
        """Where to go on with an upload that did not come to its end, and why so; (0, "") without one.

        The CH goes on with one of the same file. That it has the right octets is proved by their
        hash before the next one is sent.
        """
        store = await self.store()
        if store.partial is None:
            return 0, ""
        to_hash = self._wan.limits.hash_s(store.used + store.partial.off)
        earlier = (await self._wan.read(StoreRead, work_s=to_hash, verify=True)).partial
        if earlier is None:
            return 0, ""
        has = f"{earlier.off:,} of {earlier.size:,} octets"
        if earlier.sha != hashlib.sha256(image).digest():
            return 0, f"starts again: the CH has {has} of another image"
        if earlier.digest != hashlib.sha256(image[: earlier.off]).digest():
            await self._wan.write(ImageErase, slot=earlier.id)
            return 0, f"starts again: the CH has {has}, but damaged: their SHA-256 is another"
        return earlier.off, f"goes on at {earlier.off:,}: the octets before have the right SHA-256"

    # -- how it can go wrong

    async def _known(self, target: Target) -> HanDevice:
        for device in await self.devices():
            if device.eui == target.eui:
                return device
        raise ServiceRequestFailed(
            Outcome.NO_DEVICE,
            f"the CH knows no device {target.eui.hex('-').upper()} on its HAN",
            next_step="hanlab devices shows who is on it",
        )

    async def _not_authorised(self) -> ServiceRequestFailed:
        """Which check of the authorisation failed: the CH says that in its event log only."""
        why = "its event log does not say why"
        since, more = 0, True
        while more:
            answer = await self._wan.read(EventsRead, since=since)
            for event in answer.events:
                since = int(event["n"])
                if event["name"] == "11.3 refused":
                    why = str(event["text"])
            more = answer.more and bool(answer.events)
        return ServiceRequestFailed(
            Outcome.NOT_AUTHORISED,
            f"the CH refused the authorisation of 11.3 (dual control, rule 121): {why}",
            next_step="the CH has to be provisioned with this lab's keys, the S1SP's and the DCO's",
        )

    async def _why_not_stored(self, error: Refused | NoAnswer, size: int) -> ServiceRequestFailed:
        store = await self.store()
        capacity = "no published limit" if store.capacity is None else f"{store.capacity:,} B"
        short = size - store.free
        numbers = (
            f"image {size:,} B; store of the {self._hub.model} {capacity}, {store.free:,} B free; "
            + (f"short by {short:,} B" if short > 0 else "but its flash has no room for it")
        )
        make_room = _make_room(store, size)
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
            return ServiceRequestFailed(
                Outcome.NOT_AN_IMAGE,
                f"the {self._hub.model} does not take this for an OTA file: no OTA header, or one "
                "that claims another size",
                next_step="hanlab image inspect FILE",
            )
        if error.group == IMAGE_GROUP and error.rc == _BAD_METADATA:
            wanted = self._hub.update.metadata_manufacturer if self._hub.update else ""
            return wrong_metadata(self._hub, wanted)
        if error.group == 0 and error.rc == _BUSY:
            return busy()
        if error.group == IMAGE_GROUP and error.rc == _FLASH_FAILED:
            return ServiceRequestFailed(
                Outcome.DEVICE_REFUSED,
                "the CH's flash did not take the image",
                next_step="push again; if it stays so, the board's flash is worn out",
            )
        return ServiceRequestFailed(
            Outcome.DEVICE_REFUSED,
            f"the CH refused the image: {error.what}",
            next_step="hanlab image inspect FILE shows what is in it",
        )

    async def _runs_already(self, image: OtaImage, target: Target) -> None:
        """Raises if the device runs that very version: it asks for no image of it."""
        running = await self.read_firmware_version(target)
        if running.file_version == image.header.file_version:
            raise ServiceRequestFailed(
                Outcome.DEVICE_REFUSED,
                f"{target.name} runs {running.firmware} already, and takes no other image of that version",
                next_step="give the image another version; `hanlab store --evict ID` takes this one "
                "out of the CH",
            )

    async def _follow(
        self, job: int, target: Target, stage: str, report: Report
    ) -> ProgressReadResponse:
        loop = asyncio.get_running_loop()
        moved = loop.time()
        off, note = -1, ""
        while True:
            now = await self._wan.read(ProgressRead)
            if now.job != job:
                raise ServiceRequestFailed(
                    Outcome.NO_ANSWER,
                    f"the CH restarted and forgot the {stage} job for {target.name}",
                    next_step="send the Service Request again",
                )
            if (now.off, now.note) != (off, note):
                report(Progress(stage, now.off, now.len, now.note if now.note != note else ""))
                off, note, moved = now.off, now.note, loop.time()
            if now.state in ("done", "failed"):
                return now
            if loop.time() - moved > STALLED_S:
                raise ServiceRequestFailed(
                    Outcome.NO_ANSWER,
                    f"{stage} to {target.name} stalled at {now.off:,} of {now.len:,} B "
                    f"for {STALLED_S:.0f} s",
                    next_step="send the Service Request again: it goes on where it stopped",
                )
            await asyncio.sleep(POLL_S)


@contextmanager
def _may_have_happened() -> Iterator[None]:
    """From here on an 11.3 may have come through, whatever happens to its answer."""
    try:
        yield
    except ServiceRequestFailed as e:
        e.begun = True
        raise
    except NoAnswer as e:
        raise ServiceRequestFailed(
            Outcome.NO_CONTACT,
            f"the CH stopped answering in the middle of 11.3: {e.what}",
            next_step="hanlab version reads what the device runs now",
            begun=True,
        ) from None


def _refused(error: Refused, target: Target) -> ServiceRequestFailed:
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
    }.get(code, f"{name}: {error.what}")
    return ServiceRequestFailed(
        _HAN_OUTCOMES.get(code, Outcome.DEVICE_REFUSED),
        what,
        next_step=_AFTER_REFUSAL.get(code, "hanlab devices shows who is on the HAN"),
    )


def _for_another(image: OtaImage, target: Target) -> ServiceRequestFailed:
    only = (image.header.destination or b"")[::-1].hex("-").upper()
    return ServiceRequestFailed(
        Outcome.DEVICE_REFUSED,
        f"the image is for {only} alone (its upgrade file destination), not for {target.name}",
        next_step="push it to that device, or build one without a destination",
    )


def _not_offered(error: Refused, image: OtaImage, target: Target) -> ServiceRequestFailed:
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
    return _refused(error, target)


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
    if end.status == _DAMAGED:
        return ServiceRequestFailed(
            Outcome.CORRUPT,
            f"the image is {end.reason}; it is gone from the store",
            next_step="push again",
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


def _why_not_activated(code: ActivateCode, target: Target, hash_: bytes, reason: str) -> str:
    holder = target.name if target.model.two_step else "the CH"
    why = {
        ActivateCode.NO_IMAGE_HELD: f"{holder} holds no image for it, 11.1 comes first",
        ActivateCode.HASH_MISMATCH: f"{holder} holds an image, but not with hash {hash_.hex()[:16]}…",
        ActivateCode.ACTIVATION_FAILURE: reason or f"{target.name} could not activate it",
    }
    return f"11.3 answered {code.duis} ({code.value}): {why[code]}"
