"""The CH's own update: 11.1, 11.2 and 11.3 for a CHF. Its image stays in its own store, under the same budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from labs import OpenLab, make_image

from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Lab
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.wan.errors import Refused
from hanlab.wan.messages import Activate, HanError, ProgressRead

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
    assert (version(lab), held(lab)) == (FACTORY, [(image.version, "stored")])
    lab.power_cycle(lab.hub)
    lab.run(asyncio.sleep(3))
    works = hub_image("HUB3F11")
    lab.run(lab.update_firmware(works, lab.hub))
    assert activate(lab, works) is Outcome.ACTIVATED
    assert held(lab) == [("HUB3F11", "running")], "what its newer 11.1 has replaced is gone"


@pytest.mark.rule(4, 147)
def test_an_image_too_large_for_the_store_of_the_ch_is_so_for_the_ch_itself(
    open_lab: OpenLab,
) -> None:
    lab = open_lab(hub={"store": 8192})
    with pytest.raises(ServiceRequestFailed) as failed:
        lab.run(lab.update_firmware(hub_image(body=8192), lab.hub))
    assert failed.value.outcome is Outcome.TOO_LARGE
    assert held(lab) == []
    fits = hub_image(body=8192 - 60 - 32)
    assert lab.run(lab.update_firmware(fits, lab.hub)) is Outcome.STORED
    assert activate(lab, fits) is Outcome.ACTIVATED


def test_only_what_its_own_11_1_brought_runs_on_a_ch(open_lab: OpenLab) -> None:
    """Not an image for another type of device, nor one whose hash is another, nor one that was never asked for."""
    lab = open_lab()
    image, ppmid = hub_image(), lab.device("PPMID")
    for wanted, why in ((make_image(), Outcome.NO_IMAGE_HELD), (image, Outcome.NO_IMAGE_HELD)):
        with pytest.raises(ServiceRequestFailed) as failed:
            activate(lab, wanted)
        assert failed.value.outcome is why
        lab.run(lab.update_firmware(make_image(), ppmid))
    lab.run(lab.update_firmware(image, lab.hub))
    with pytest.raises(ServiceRequestFailed) as failed:
        activate(lab, hub_image("HUB3F11"))
    assert failed.value.outcome is Outcome.HASH_MISMATCH
    assert version(lab) == FACTORY


def test_a_newer_11_1_of_a_ch_takes_the_place_of_the_one_before(open_lab: OpenLab) -> None:
    lab = open_lab()
    lab.run(lab.update_firmware(hub_image("HUB3F10"), lab.hub))
    lab.run(lab.update_firmware(hub_image("HUB3F11"), lab.hub))
    assert held(lab) == [("HUB3F11", "stored")]


def test_dual_control_holds_for_the_ch_itself(open_lab: OpenLab) -> None:
    """A MAC for another device is none for the CH, and an authorisation counts once."""
    lab = open_lab()
    image = hub_image()
    lab.run(lab.update_firmware(image, lab.hub))
    hash_, eui = image.manufacturer_image_hash, lab.hub.eui.octets
    authority = lab.s1sp._authority
    of_another = vars(authority.authorise(lab.device("PPMID").eui.octets, hash_, 0))
    ours = vars(authority.authorise(eui, hash_, 0))
    wan = lab.home().wan
    for fields in (of_another, {**ours, "dco_mac": ours["mac"]}):
        with pytest.raises(Refused) as refused:
            lab.run(wan.write(Activate, eui=eui, hash=hash_, **fields))
        assert refused.value.rc == HanError.REFUSED
    assert version(lab) == FACTORY
    lab.run(wan.write(Activate, eui=eui, hash=hash_, **ours))
    lab.run(asyncio.sleep(5))
    assert version(lab) == image.version
    with pytest.raises(Refused):
        lab.run(wan.write(Activate, eui=eui, hash=hash_, **ours))


@pytest.mark.parametrize(
    ("later_s", "end"),
    [
        (0.0, Outcome.ACTIVATED),
        (0.6, Outcome.ACTIVATED),
        (1.2, Outcome.ACTIVATION_FAILURE),
        (2.4, Outcome.ACTIVATED),
    ],
)
def test_a_ch_that_loses_power_in_its_activation_runs_one_or_the_other(
    open_lab: OpenLab, later_s: float, end: Outcome
) -> None:
    """Before its trial it goes on, in its trial it goes back; and the 11.3 says which it was."""
    lab = open_lab()
    image = hub_image()
    lab.run(lab.update_firmware(image, lab.hub))
    lab.power_cycle(lab.hub, in_s=later_s)
    assert _end_of_activation(lab, image) is end
    if end is Outcome.ACTIVATED:
        assert (version(lab), held(lab)) == (image.version, [(image.version, "running")])
    else:
        assert (version(lab), held(lab)) == (FACTORY, [(image.version, "stored")])
        assert activate(lab, image) is Outcome.ACTIVATED, "once more, and nobody pulls the plug"


def _end_of_activation(lab: Lab, image: OtaImage) -> Outcome:
    try:
        return activate(lab, image)
    except ServiceRequestFailed as failed:
        return failed.outcome


def test_a_job_that_has_ended_does_not_come_again(open_lab: OpenLab) -> None:
    lab = open_lab()
    lab.run(lab.update_firmware(make_image(), lab.device("PPMID")))
    lab.power_cycle(lab.hub)
    lab.run(asyncio.sleep(3))
    assert lab.run(lab.home().wan.read(ProgressRead)).state == "idle"


def test_an_image_that_was_only_uploaded_is_for_nobody(open_lab: OpenLab) -> None:
    lab = open_lab()
    image = hub_image()

    async def upload() -> None:
        async for _ in lab.home().wan.upload(image.to_bytes()):
            pass

    lab.run(upload())
    assert held(lab) == [(image.version, "stored")]
    assert _end_of_activation(lab, image) is Outcome.NO_IMAGE_HELD


def test_devices_keep_their_ch_and_their_images_over_its_update(open_lab: OpenLab) -> None:
    lab = open_lab()
    ppmid, image, own = lab.device("PPMID"), make_image(), hub_image()
    lab.run(lab.update_firmware(image, ppmid))
    lab.run(lab.update_firmware(own, lab.hub))
    activate(lab, own)
    assert lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid)) is Outcome.ACTIVATED
    assert lab.run(lab.wait_until_back(ppmid)).firmware == image.version
