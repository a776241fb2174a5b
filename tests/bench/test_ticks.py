"""A board's ticks wrap after 2**30 ms (12.4 days), as MicroPython's do on a chip; nobody notices."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from labs import OpenLab, make_image

from hanlab.lab import Lab, Outcome

WRAP_S: Final = 2**30 / 1000


def when(lab: Lab, name: str) -> int:
    """The time (ms since its start) that the CH gave an event."""
    events = lab.run(lab.events(lab.hub))
    return next(int(event["t"]) for event in events if event["name"] == name)


@pytest.mark.parametrize(("before_s", "stored_first"), [(7, True), (2, False)])
def test_update_over_the_wrap(open_lab: OpenLab, before_s: int, stored_first: bool) -> None:
    """They wrap while the CH hands the image to the PPMID, or while the S1SP uploads it."""
    image = make_image(48 * 1024)
    with open_lab() as lab:
        ppmid = lab.device("PPMID")
        lab.run(asyncio.sleep(WRAP_S - before_s))
        assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
        assert lab.desk.clock_us / 1e6 > WRAP_S + 1
        stored, distributed = when(lab, "stored"), when(lab, "distribute done")
        assert (stored < 2**30) is stored_first
        assert 2**30 < distributed < 2**30 + 30_000, "events' times go on"
        hash_ = image.manufacturer_image_hash
        assert lab.run(lab.activate_firmware(hash_, ppmid)) is Outcome.ACTIVATED
        assert lab.run(lab.read_firmware_version(ppmid)).firmware == image.version
        assert lab.run(lab.counters()).adds_up


def test_activation_over_the_wrap(open_lab: OpenLab) -> None:
    """They wrap for the second time while the PPMID's new firmware is on trial."""
    image = make_image()
    with open_lab() as lab:
        ppmid = lab.device("PPMID")
        assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
        lab.run(asyncio.sleep(2 * WRAP_S - lab.desk.clock_us / 1e6 - 0.7))
        hash_ = image.manufacturer_image_hash
        assert lab.run(lab.activate_firmware(hash_, ppmid)) is Outcome.ACTIVATED
        assert 2**31 < when(lab, "activate done") < 2**31 + 30_000, (
            "periods in which nothing happened count"
        )
        assert lab.run(lab.read_firmware_version(ppmid)).firmware == image.version
