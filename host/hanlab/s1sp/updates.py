"""11.1 Update Firmware on one CH: the image goes into its store, and on to a two-step device."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from typing import Final

from smpclient.requests.image_management import ImageErase

from hanlab.images import OtaImage
from hanlab.s1sp.annex_c import defaults
from hanlab.s1sp.failures import (
    distribution_failed,
    for_another,
    not_asked_for,
    not_offered,
    not_stored,
)
from hanlab.s1sp.hub import POLL_S, STALLED_S, Hub
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Progress, Report, Room
from hanlab.s1sp.target import Target
from hanlab.s1sp.versions import runs
from hanlab.wan.client import NoAnswer, Refused
from hanlab.wan.messages import Distribute, StoreRead

_NO_IMAGE_AVAILABLE: Final = 0x98
"""ZCL status: the CH has nothing that the device would take."""


async def update(hub: Hub, image: OtaImage, target: Target, report: Report) -> Outcome:
    """11.1 Update Firmware, as far as the device's own steps have it go (rules 96, 97)."""
    if not target.is_hub:
        await hub.known(target)
    if image.header.destination not in (None, target.eui[::-1]):
        raise for_another(image, target)
    await hub.until_free(report)
    octets = image.to_bytes()
    off, note = await _earlier_upload(hub, octets)
    if note:
        report(Progress("upload", off, len(octets), note))
    try:
        async with aclosing(hub.wan.upload(octets)) as upload:
            async for done in upload:
                report(Progress("upload", done, len(octets)))
    except (Refused, NoAnswer) as e:
        held = await hub.store()
        room = Room(held.capacity, held.used, held.reserved, held.free)
        report(Progress("store", min(held.free, len(octets)), len(octets), room=room))
        raise not_stored(e, held, hub.model, len(octets)) from None
    try:
        started = await hub.wan.write(
            Distribute,
            eui=target.eui,
            hash=image.manufacturer_image_hash,
            sha=hashlib.sha256(octets).digest(),
            jitter=defaults(hub.model.population).query_jitter,  # rule 38
        )
    except Refused as e:
        raise not_offered(e, image, target) from None
    if not target.model.two_step:
        return Outcome.STORED  # the CH keeps it for this device, or for itself, until 11.3
    end = await hub.follow(started.job, target.name, "distribute", report)
    if end.state == "failed":
        if end.status == _NO_IMAGE_AVAILABLE and await runs(hub, image.version, target):
            raise not_asked_for(image.version, target)
        raise distribution_failed(end, target, len(octets))
    return Outcome.DISTRIBUTED


async def update_when_free(hub: Hub, image: OtaImage, target: Target, report: Report) -> Outcome:
    """Without 18.63 a CH that others keep busy is waited for, not given up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STALLED_S
    while True:
        try:
            return await update(hub, image, target, report)
        except ServiceRequestFailed as e:
            if e.outcome is not Outcome.BUSY or loop.time() > deadline:
                raise
        await asyncio.sleep(POLL_S)


async def _earlier_upload(hub: Hub, image: bytes) -> tuple[int, str]:
    """Where to go on with an upload that did not come to its end, and why so; (0, "") without one.

    The CH goes on with one of the same file. That it has the right octets is proved by their
    hash before the next one is sent.
    """
    store = await hub.store()
    if store.partial is None:
        return 0, ""
    to_hash = hub.wan.limits.hash_s(store.used + store.partial.off)
    earlier = (await hub.wan.read(StoreRead, work_s=to_hash, verify=True)).partial
    if earlier is None:
        return 0, ""
    has = f"{earlier.off:,} of {earlier.size:,} octets"
    if earlier.sha != hashlib.sha256(image).digest():
        return 0, f"starts again: the CH has {has} of another image"
    if earlier.digest != hashlib.sha256(image[: earlier.off]).digest():
        await hub.wan.write(ImageErase, slot=earlier.id)
        return 0, f"starts again: the CH has {has}, but damaged: their SHA-256 is another"
    return earlier.off, f"goes on at {earlier.off:,}: the octets before have the right SHA-256"
