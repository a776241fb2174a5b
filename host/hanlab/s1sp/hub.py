"""A Communications Hub as its S1SP reaches it: its store, its HAN, the jobs that it does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from smpclient.requests.image_management import ImageErase

from hanlab.boards.data import DeviceModel
from hanlab.errors import UsageError
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Progress, Report
from hanlab.s1sp.target import Target
from hanlab.wan.client import WanClient
from hanlab.wan.messages import (
    DevicesRead,
    HanDevice,
    ProgressRead,
    ProgressReadResponse,
    StoreRead,
    StoreReadResponse,
)

POLL_S: Final = 0.25
"""How often the progress of a job on the CH is read (s)."""
STALLED_S: Final = 120.0
"""A job that makes no progress for so long has failed (s)."""


class Hub:
    """`wan` is the client that reaches it, `model` its Device Model."""

    def __init__(self, wan: WanClient, model: DeviceModel) -> None:
        self.wan = wan
        self.model = model

    async def store(self) -> StoreReadResponse:
        """The CH's report on its image store."""
        return await self.wan.read_all(StoreRead, "images")

    async def evict(self, image_id: int) -> None:
        """Remove an image from the CH's store, as soon as the CH is free."""
        await self.until_free(lambda _: None)
        store = await self.store()
        if all(image.id != image_id for image in store.images):
            held = ", ".join(f"{i.id} ({i.version})" for i in store.images) or "none"
            raise UsageError(f"the CH holds no image {image_id}", next_step=f"it holds {held}")
        await self.wan.write(ImageErase, slot=image_id)

    async def devices(self) -> list[HanDevice]:
        """The devices on the CH's HAN; not those that may join it."""
        table = await self.wan.read_all(DevicesRead, "devices")
        return [device for device in table.devices if device.state == "joined"]

    async def known(self, target: Target) -> HanDevice:
        """What the CH knows of a device on its HAN."""
        for device in await self.devices():
            if device.eui == target.eui:
                return device
        raise ServiceRequestFailed(
            Outcome.NO_DEVICE,
            f"the CH knows no device {target.eui.hex('-').upper()} on its HAN",
            next_step="hanlab devices shows who is on it",
        )

    async def last_counter(self, target: Target) -> int:
        """The originator counter of the last 11.3 that the CH accepted for a device on its HAN, or for itself."""
        if target.is_hub:
            return (await self.wan.read(DevicesRead)).counter
        return (await self.known(target)).counter

    async def until_free(self, report: Report) -> None:
        """Wait for the end of what the CH goes on with since it restarted, or does for another S1SP."""
        now = await self.wan.read(ProgressRead)
        if now.state == "running":
            device = now.eui.hex("-").upper()
            report(Progress(now.op, now.off, now.len, f"the CH has work of earlier, for {device}"))
            with suppress(ServiceRequestFailed):
                await self.follow(now.job, device, now.op, report)

    async def follow(
        self, job: int, device: str, stage: str, report: Report
    ) -> ProgressReadResponse:
        """How that job for the device with that name ended; `report` hears how far `stage` is."""
        loop = asyncio.get_running_loop()
        moved = loop.time()
        off, note = -1, ""
        while True:
            now = await self.wan.read(ProgressRead)
            if now.job != job:
                raise ServiceRequestFailed(
                    Outcome.NO_ANSWER,
                    f"the CH restarted and forgot the {stage} job for {device}",
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
                    f"{stage} to {device} stalled at {now.off:,} of {now.len:,} B "
                    f"for {STALLED_S:.0f} s",
                    next_step="send the Service Request again: it goes on where it stopped",
                )
            await asyncio.sleep(POLL_S)
