"""The CH's own update: 11.1, 11.2 and 11.3 for a CHF. Its image stays in its own store, under the same budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from labs import OpenLab

from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Lab
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

FACTORY = "HUB3F0X"
"""What a Skyline i510 runs before any update (rule 126)."""


def hub_image(version: str = "HUB3F10", body: int = 8192, **fields: Any) -> OtaImage:
    return build(
        made_body(body, seed=len(version), **fields),
        device_type="CHF",
        version=version,
        for_ch="Secure",
    )


def version(lab: Lab) -> str:
    return lab.run(lab.read_firmware_version(lab.hub)).firmware


def activate(lab: Lab, image: OtaImage) -> Outcome:
    return lab.run(lab.activate_firmware(image.manufacturer_image_hash, lab.hub))


def held(lab: Lab) -> list[tuple[str, str]]:
    return [(image.version, image.state) for image in lab.run(lab.store()).images]


def test_a_ch_runs_what_its_11_3_names_and_stays_with_it(open_lab: OpenLab) -> None:
    lab = open_lab()
    image = hub_image()
    assert version(lab) == FACTORY
    assert lab.run(lab.update_firmware(image, lab.hub)) is Outcome.STORED
    assert (version(lab), held(lab)) == (FACTORY, [("HUB3F10", "stored")])
    assert activate(lab, image) is Outcome.ACTIVATED
    assert (version(lab), held(lab)) == ("HUB3F10", [("HUB3F10", "running")])
    assert lab.run(lab.store()).used == 0, "what runs is program memory"
    lab.power_cycle(lab.hub)
    lab.run(asyncio.sleep(3))
    assert version(lab) == "HUB3F10"
    assert activate(lab, image) is Outcome.ACTIVATED, "asked again after it had been done"


def test_a_ch_image_that_does_not_boot_gives_way_to_the_one_before(open_lab: OpenLab) -> None:
    lab = open_lab()
    image = hub_image(boots=False)
    lab.run(lab.update_firmware(image, lab.hub))
    with pytest.raises(ServiceRequestFailed) as failed:
        activate(lab, image)
    assert failed.value.outcome is Outcome.ACTIVATION_FAILURE
    assert "never confirmed" in failed.value.what
    assert (version(lab), held(lab)) == (FACTORY, [])
