"""An update from the laptop through the CH into a PPMID: that it works, and what it survives."""

from __future__ import annotations

import pytest

from hanlab.hil import CommsHub, Device, Home, Lab, Wire, hub_models, ppmid_models


def test_a_ppmid_is_updated(ppmid: Device, comms_hub: CommsHub) -> None:
    before = ppmid.version
    image = ppmid.new_image(32_768)
    ppmid.update(image)
    ppmid.assert_version(before)
    ppmid.activate(image)
    ppmid.assert_version(image.version)
    comms_hub.assert_store(versions=[])


@hub_models("am110r")
@ppmid_models()
def test_every_ppmid_on_another_makers_ch(ppmid: Device, comms_hub: CommsHub) -> None:
    """Elster's CH serves third-party PPMIDs as well; what is distributed at once depends on the PPMID."""
    image = ppmid.new_image(8_192)
    ended = ppmid.update(image, expect="distributed" if ppmid.model.two_step else "stored")
    assert ended.octets == len(image.to_bytes())
    ppmid.activate(image)
    ppmid.assert_version(image.version)


@pytest.mark.hanlab(devices=2)
def test_two_devices_have_an_image_each(home: Home) -> None:
    first, second = home.ppmids[:2]
    before = second.version
    image = first.new_image(8_192)
    first.update(image)
    first.activate(image)
    second.assert_version(before)
    other = second.new_image(4_096)
    second.update(other)
    second.activate(other)
    first.assert_version(image.version)
    second.assert_version(other.version)


def test_the_chs_own_update(comms_hub: CommsHub, ppmid: Device) -> None:
    image = comms_hub.new_image(16_384)
    comms_hub.update(image)
    comms_hub.activate(image)
    comms_hub.assert_version(image.version)
    assert ppmid.version, "the HAN is there again"


def test_the_hash_decides(ppmid: Device) -> None:
    before = ppmid.version
    ppmid.activate(bytes(32), expect="no-image-held")
    image = ppmid.new_image(4_096)
    ppmid.update(image)
    ppmid.activate(bytes(32), expect="hash-mismatch")
    ppmid.assert_version(before)
    ppmid.activate(image)
    ppmid.assert_version(image.version)


def test_firmware_that_does_not_boot_is_rolled_back(ppmid: Device) -> None:
    before = ppmid.version
    image = ppmid.new_image(4_096, boots=False)
    ppmid.update(image)
    ppmid.activate(image, expect="activation-failure")
    assert ppmid.wait_until_back() == before
    ppmid.assert_event("trial failed", times=1)


@pytest.mark.hanlab(emulated=True)
@pytest.mark.parametrize("board", ["hub", "PPMID"])
def test_power_that_fails_in_mid_transfer(board: str, home: Home, wire: Wire) -> None:
    """For a second. The transfer goes on where it stopped: it takes less than twice its time."""
    ppmid = home.ppmids[0]
    image = ppmid.new_image(32_768)
    undisturbed = ppmid.update(image).seconds
    other = ppmid.new_image(32_768, "OTHER")
    wire.cut_power(home.comms_hub if board == "hub" else ppmid, at=0.6)
    assert undisturbed + 1.0 < ppmid.update(other).seconds < 2 * undisturbed
    ppmid.activate(other)
    ppmid.assert_version("OTHER")


@pytest.mark.hanlab(han={"loss": 0.1})
def test_air_that_loses_a_tenth(ppmid: Device, wire: Wire) -> None:
    image = ppmid.new_image(8_192)
    ppmid.update(image)
    ppmid.activate(image)
    ppmid.assert_version(image.version)
    wire.assert_lost("han", at_least=20)


@pytest.mark.hanlab(emulated=True)
def test_a_cable_that_is_pulled_for_half_a_minute(ppmid: Device, lab: Lab, wire: Wire) -> None:
    image = ppmid.new_image(16_384)
    wire.pull("wan", 30.0, in_s=1.0)
    assert ppmid.update(image).seconds > 30.0
    wire.assert_lost("wan", at_least=1)
    assert lab.seconds < 90.0
    wire.impair("")
    ppmid.activate(image)
    ppmid.assert_version(image.version)
