"""Garbage on every wire while an update goes on: it completes, and nothing else has changed.

HANLAB_SOAK=100000 sends that many hostile frames instead of a few thousand.
"""

from __future__ import annotations

import asyncio
import os
import re

import pytest
from hostile import Hostile
from labs import OpenLab, make_image

from hanlab.lab import Device, Lab, Outcome
from hanlab.wan.messages import CountersRead

FRAMES = int(os.environ.get("HANLAB_SOAK", "3000"))
LEAST_HEAP = 16_000
"""Octets that stay free on each board, whatever arrives."""
DROPPED = ("framing", "length", "fcs", "malformed", "unknown", "forged", "replay", "mic")
"""Reasons for which a board drops a frame of the HAN; the garbage has some for each."""


def alien_frames(open_lab: OpenLab) -> list[bytes]:
    """Frames of a lab with the same addresses and another network key."""
    frames: list[bytes] = []
    with open_lab(seed=99, folder="another") as lab:
        lab.desk.air.capture(lambda when, psdu: frames.append(psdu))
        lab.run(lab.update_firmware(make_image(body=1000), lab.device("PPMID")))
    return [psdu for psdu in frames if len(psdu) > 40]


async def update(lab: Lab, ppmid: Device, version: str, body: int) -> None:
    """11.1, 11.3 and 11.2 of one image, and a look into both stores."""
    image = make_image(body=body, version=version)
    assert await lab.update_firmware(image, ppmid) is Outcome.DISTRIBUTED
    held = await lab.store()
    assert [(i.sha, i.version) for i in held.images] == [(image.file_hash, version)]
    assert await lab.activate_firmware(image.manufacturer_image_hash, ppmid) is Outcome.ACTIVATED
    assert (await lab.wait_until_back(ppmid)).firmware == version
    store = await lab.store()
    assert (store.images, store.used, store.reserved) == ([], 0, 0)
    running = [i for i in (await lab.store_of(ppmid, verify=True)).images if i.state == "running"]
    assert [(i.sha, i.version, i.ok) for i in running] == [(image.file_hash, version, True)]


@pytest.mark.timeout(120 + FRAMES // 50)
def test_updates_complete_through_garbage(open_lab: OpenLab) -> None:
    aliens = alien_frames(open_lab)
    lab = open_lab()
    ppmid = lab.device("PPMID")
    lab.run(lab.wait_until_back(ppmid))
    hostile = Hostile(lab, FRAMES, aliens)

    async def soak() -> int:
        updates = 0
        garbage = asyncio.create_task(hostile.run())
        while not hostile.done:
            updates += 1
            await update(lab, ppmid, f"V{updates:06}", 16 * 1024)
        await garbage
        return updates

    updates = lab.run(soak())
    assert (lab.run(lab.read_firmware_version(ppmid))).firmware == f"V{updates:06}"
    assert hostile.sent.total() == FRAMES
    assert len(hostile.sent) == 17, "every kind was sent"
    for device in (lab.hub, ppmid):
        heap = lab.run(lab.heap(device))
        assert heap.lowest > LEAST_HEAP
        log = (lab.folder / f"{device.name}.log").read_text(errors="replace")
        assert not re.search("Traceback|failed|exception", log), log
    print(f"{hostile.sent.total():,} hostile frames, {updates} updates")
