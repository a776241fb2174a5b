"""What has to hold after every cut, read from the boards themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from hanlab.images import OtaImage
from hanlab.lab import Device, Lab
from hanlab.wan.messages import StoreReadResponse

_DAMAGE: Final = ("journal", "lost", "flash error")
"""Words with which a store reports what no power cut may do to it."""


def gist(report: StoreReadResponse) -> tuple[object, ...]:
    """What two stores that hold the same have in common; image ids may differ."""
    images = sorted((image.state, image.sha, image.size) for image in report.images)
    free = None if report.capacity is None else report.free  # else it is flash, in whole blocks
    return (images, report.used, report.reserved, free, report.partial)


async def breaches(
    lab: Lab,
    device: Device,
    old: OtaImage,
    new: OtaImage,
    *,
    may_run: tuple[str, ...],
    pushed: bool = True,
) -> list[str]:
    """What does not hold, a sentence each: the device runs one of the versions `may_run`, both stores
    add up, and flash has the octets of everything that they report. Once `pushed`, the CH keeps the new
    image until the device runs it."""
    runs = (await lab.wait_until_back(device)).firmware
    found = []
    if runs not in may_run:
        found.append(f"{device.name} runs {runs}, not {' or '.join(may_run)}")
    held = await lab.store_of(device, verify=True)
    found += _store(device.name, held, old, new)
    running = [image.version for image in held.images if image.state == "running"]
    if running != [runs]:
        found.append(f"{device.name} runs {runs}, its store says {running}")
    if not device.is_hub:
        held = await lab.store_of(lab.hub, verify=True)
        found += _store(lab.hub.name, held, old, new)
    if pushed and runs != new.version and all(i.version != new.version for i in held.images):
        found.append(f"{lab.hub.name} has lost {new.version}")
    if not device.is_hub and any(image.state != "stored" for image in held.images):
        found.append(f"{lab.hub.name}: an image for a device is said to run on the CH")
    return found


def _store(name: str, report: StoreReadResponse, old: OtaImage, new: OtaImage) -> Iterator[str]:
    known = {hashlib.sha256(image.to_bytes()).digest(): image.to_bytes() for image in (old, new)}
    for image in report.images:
        if image.sha not in known or image.size != len(known[image.sha]):
            yield f"{name}: image {image.id} is none that was sent"
        if not image.ok:
            yield f"{name}: image {image.id} ({image.version}) is half readable, or damaged"
    if len({image.sha for image in report.images}) != len(report.images):
        yield f"{name}: it holds an image twice"
    stored = sum(image.size for image in report.images if image.state == "stored")
    if report.used != stored:
        yield f"{name}: {report.used:,} B used, but its stored images have {stored:,} B"
    if report.capacity is not None:
        total = report.used + report.reserved + report.free
        if total != report.capacity:
            yield f"{name}: used, reserved and free are {total:,} B, not {report.capacity:,} B"
    partial = report.partial
    if partial is None:
        if report.reserved:
            yield f"{name}: {report.reserved:,} B reserved for no upload"
    else:
        octets = known.get(partial.sha, b"")
        if report.reserved != partial.size or partial.size != len(octets):
            yield f"{name}: {report.reserved:,} B reserved for an upload of {partial.size:,} B"
        if partial.digest != hashlib.sha256(octets[: partial.off]).digest():
            yield f"{name}: the first {partial.off:,} B of its upload are not what was sent"
    if any(word in report.recovered for word in _DAMAGE):
        yield f"{name}: its store had to mend more than a power cut may do: {report.recovered}"
