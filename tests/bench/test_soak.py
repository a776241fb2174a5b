"""Garbage, and commands of others, on every wire while updates go on: they complete, and nothing else has changed.

HANLAB_SOAK=100000 (`make soak`) sends that many hostile frames instead of 10,000.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter

import pytest
from hostile import KINDS, Hostile
from labs import OpenLab, make_image

from hanlab.images import build, made_body
from hanlab.lab import Device, Lab, Outcome
from hanlab.lab.counters import BoardReport

FRAMES = max(10_000, int(os.environ.get("HANLAB_SOAK", "0")))
IMAGE_OCTETS = 16 * 1024
LEAST_HEAP = 12_000
"""Octets that stay free on each board, whatever arrives."""
DROPPED = ("framing", "length", "fcs", "foreign", "malformed", "forged", "replay", "mic")
"""Reasons for which a board drops a frame of the HAN; the garbage has some for each."""


def version_of(number: int) -> str:
    return f"V{number:06}"


def alien_frames(open_lab: OpenLab) -> list[bytes]:
    """Frames of a lab with the same addresses and another network key."""
    frames: list[bytes] = []
    with open_lab(seed=99, folder="another") as lab:
        lab.desk.air.capture(lambda when, psdu: frames.append(psdu))
        lab.run(lab.update_firmware(make_image(body=1000), lab.device("PPMID")))
    return [psdu for psdu in frames if len(psdu) > 40]


async def reports(lab: Lab) -> dict[str, BoardReport]:
    return {report.name: report for report in (await lab.counters()).boards}


async def update(lab: Lab, ppmid: Device, number: int) -> Counter[str]:
    """11.1, 11.3 and 11.2 of one image, and a look into both stores; what the PPMID has dropped."""
    version = version_of(number)
    body = made_body(IMAGE_OCTETS, seed=number)
    image = build(body, device_type="PPMID", version=version, for_ch="Secure")
    assert await lab.update_firmware(image, ppmid) is Outcome.DISTRIBUTED
    held = await lab.store()
    assert [(i.sha, i.version) for i in held.images] == [(image.file_hash, version)]
    dropped = Counter((await reports(lab))[ppmid.name].han)  # a restart sets them to 0
    assert await lab.activate_firmware(image.manufacturer_image_hash, ppmid) is Outcome.ACTIVATED
    assert (await lab.wait_until_back(ppmid)).firmware == version
    store = await lab.store()
    assert (store.images, store.used, store.reserved) == ([], 0, 0)
    running = [i for i in (await lab.store_of(ppmid, verify=True)).images if i.state == "running"]
    assert [(i.sha, i.version, i.ok) for i in running] == [(image.file_hash, version, True)]
    return dropped


@pytest.mark.timeout(120 + FRAMES // 50)
def test_updates_complete_through_garbage(open_lab: OpenLab) -> None:
    aliens = alien_frames(open_lab)
    lab = open_lab()
    ppmid = lab.device("PPMID")
    lab.run(lab.wait_until_back(ppmid))
    hostile = Hostile(lab, FRAMES, aliens)
    dropped = {lab.hub.name: Counter[str](), ppmid.name: Counter[str]()}

    async def soak() -> int:
        updates = 0
        garbage = asyncio.create_task(hostile.run())
        while not garbage.done():
            updates += 1
            dropped[ppmid.name] += await update(lab, ppmid, updates)
        await garbage
        return updates

    updates = lab.run(soak())
    assert hostile.sent.total() == FRAMES
    assert hostile.sent.keys() == set(KINDS)
    boards = lab.run(reports(lab))
    dropped[lab.hub.name] += Counter(boards[lab.hub.name].han)
    for device in (lab.hub, ppmid):
        counted = dropped[device.name]
        assert [reason for reason in DROPPED if not counted[reason]] == [], "it shows why"
        log = (lab.folder / f"{device.name}.log").read_text(errors="replace")
        assert not re.search("Traceback|failed|exception", log), log
        heap = lab.run(lab.heap(device))
        assert heap.lowest > LEAST_HEAP
        shown = ", ".join(f"{counted[reason]:,} {reason}" for reason in DROPPED)
        print(f"{device.name}: dropped {shown}; least free heap {heap.lowest:,} B")
    hub = boards[lab.hub.name]
    on_air = sum(n for kind, n in hostile.sent.items() if kind.startswith("air"))
    assert sum(dropped[lab.hub.name][reason] for reason in (*DROPPED, "unknown")) >= on_air
    lanes = lab.run(lab.counters()).lanes
    (to_hub,) = [lane for lane in lanes if (lane.source, lane.sink) == (ppmid.name, lab.hub.name)]
    assert 0 < hub.han["rx"] <= to_hub.counters.delivered + hostile.challenges, (
        "it took frames of the PPMID and no others"
    )
    assert hub.wan["failures"] == 0
    assert hub.wan["dropped"] > 0
    on_wan = sum(n for kind, n in hostile.sent.items() if kind.startswith("WAN: a command"))
    refused = {name: board.wan["forged"] + board.wan["denied"] for name, board in boards.items()}
    assert refused[lab.hub.name] > on_wan // 3, "half of them went there, some into noise"
    assert hub.wan["forged"] > 0, "into the client's own session"
    unproved = lab.run(lab.counters()).client.unproved
    assert unproved > 0, "faked answers to what the S1SP asked"
    for kind, n in hostile.sent.items():
        print(f"{n:9,} {kind}")
    print(f"{FRAMES:9,} hostile frames; {updates} updates completed")
