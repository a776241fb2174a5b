"""Service Requests 11.1, 11.2 and 11.3 as the S1SP carries them out on one Communications Hub.

The Device Model of the device says how many steps its update has (rules 96 and 97): to a two-step
device 11.1 distributes the image and 11.3 activates it; for a one-step device 11.1 leaves it in the CH,
which remembers for whom, and 11.3 does all the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from smpclient.requests.image_management import ImageErase

from hanlab.boards.clauses import Behaviour
from hanlab.boards.data import DeviceModel
from hanlab.errors import UsageError
from hanlab.images import OtaImage
from hanlab.s1sp.annex_c import defaults
from hanlab.s1sp.authority import Authority
from hanlab.s1sp.failures import (
    distribution_failed,
    for_another,
    not_activated,
    not_asked_for,
    not_offered,
    not_stored,
    refused,
    runs_another,
)
from hanlab.s1sp.outcome import ActivateCode, Outcome, ServiceRequestFailed
from hanlab.s1sp.rules import busy, holds, refuse_foreign_metadata, refuse_third_party
from hanlab.s1sp.target import Target
from hanlab.wan.client import NoAnswer, Refused, WanClient
from hanlab.wan.errors import AccessDenied, FalseBoard
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

_NO_IMAGE_AVAILABLE: Final = 0x98
"""ZCL status: the CH has nothing that the device would take."""


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

    `authority` makes the authorisations that 11.3 needs. Whoever asks, and by whatever way,
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
        """An 11.1 or 11.3 is being carried out on this HAN, or waits for its turn (rule 35)."""
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
        async with self._an_update():
            if one_at_a_time:
                return await self._update(image, target, report)
            return await self._update_when_free(image, target, report)

    @asynccontextmanager
    async def _an_update(self) -> AsyncIterator[None]:
        """An update is in progress from here on, and has its turn in this block."""
        self._updates += 1
        try:
            async with self._turn:
                yield
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
            raise for_another(image, target)
        octets = image.to_bytes()
        off, note = await self._earlier_upload(octets)
        if note:
            report(Progress("upload", off, len(octets), note))
        try:
            async with aclosing(self._wan.upload(octets)) as upload:
                async for done in upload:
                    report(Progress("upload", done, len(octets)))
        except (Refused, NoAnswer) as e:
            raise not_stored(e, await self.store(), self._hub, len(octets)) from None
        try:
            started = await self._wan.write(
                Distribute,
                eui=target.eui,
                hash=image.manufacturer_image_hash,
                sha=hashlib.sha256(octets).digest(),
                jitter=defaults(self._hub.population).query_jitter,  # rule 38
            )
        except Refused as e:
            raise not_offered(e, image, target) from None
        if not target.model.two_step:
            return Outcome.STORED  # the CH keeps it for this device until 11.3
        end = await self._follow(started.job, target, "distribute", report)
        if end.state == "failed":
            if end.status == _NO_IMAGE_AVAILABLE and await self._runs(image.version, target):
                raise not_asked_for(image.version, target)
            raise distribution_failed(end, target, len(octets))
        return Outcome.DISTRIBUTED

    async def read_firmware_version(self, target: Target) -> VersionReadResponse:
        """11.2 Read Firmware Version: what the device itself answers over the HAN."""
        try:
            return await self._wan.read(VersionRead, work_s=self._wan.limits.han_s, eui=target.eui)
        except Refused as e:
            raise refused(e, target) from None

    async def activate_firmware(self, hash_: bytes, target: Target, report: Report) -> Outcome:
        """11.3 Activate Firmware with the Manufacturer Image hash `hash_` (32 octets).

        Returns ACTIVATED once the device has answered `success` and runs what its 11.1 has brought.

        Raises:
            ServiceRequestFailed: `noImageHeld`, `hashMismatch`, `activationFailure`, or no answer.
        """
        refuse_third_party(target, self._hub)
        async with self._an_update():
            device = await self._known(target)
            try:
                with may_have_happened():
                    started = await self._wan.write(
                        Activate,
                        eui=target.eui,
                        hash=hash_,
                        **vars(self._authority.authorise(target.eui, hash_, device.counter)),
                    )
            except Refused as e:
                if e.group == GROUP and e.rc == HanError.REFUSED:
                    raise await self._not_authorised() from None
                raise refused(e, target) from None
            with may_have_happened():
                end = await self._follow(started.job, target, "activate", report)
                if end.state == "failed":
                    raise distribution_failed(end, target, end.len, service="11.3")
                code = ActivateCode(end.status)
                no_image = code in (ActivateCode.NO_IMAGE_HELD, ActivateCode.HASH_MISMATCH)
                if no_image and end.wanted and await self._runs(end.wanted, target):
                    raise runs_another(code, end.wanted, target, hash_)
                if code is not ActivateCode.SUCCESS:
                    raise not_activated(code, target, hash_, end.reason)
                if end.wanted:
                    await self._check_that_it_runs(end.wanted, target)
        return Outcome.ACTIVATED

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
            f"the CH refused the authorisation of 11.3 (dual control): {why}",
            next_step="the CH has to be provisioned with this lab's keys, the S1SP's and the DCO's",
        )

    async def _runs(self, version: str, target: Target) -> bool:
        """Whether the device runs that very version: it asks for no image of it."""
        return (await self.read_firmware_version(target)).firmware == version

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
def may_have_happened() -> Iterator[None]:
    """From here on an 11.3 may have come through, whatever happens to its answer."""
    try:
        yield
    except ServiceRequestFailed as e:
        e.begun = True
        raise
    except (NoAnswer, AccessDenied, FalseBoard) as e:  # a refusal says that it did not
        raise ServiceRequestFailed(
            Outcome.NO_CONTACT,
            f"the S1SP lost the CH in the middle of 11.3: {e.what}",
            next_step="hanlab version reads what the device runs now",
            begun=True,
        ) from None
