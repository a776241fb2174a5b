"""Tests of firmware updates, on emulated boards or real ones.

    pytest FILE                     on emulated boards
    pytest FILE --lab lab.toml      on the boards that lab.toml describes (hanlab init writes one)
    pytest FILE --lab rp2040        on emulated RP2040s (needs MicroPython's UF2)

hanlab's host/README.md has all fixtures, marks and asserts.
"""

import pytest

from hanlab.hil import CommsHub, Device, Dsp, Wire, ppmid_models


def test_an_update(ppmid: Device, comms_hub: CommsHub) -> None:
    """The laptop pushes an image through the CH into the PPMID, and starts it."""
    before = ppmid.version
    # made-up firmware; hanlab.images.read_image("my.ota") has your own
    image = ppmid.new_image(16_384)
    ppmid.update(image)  # 11.1 Update Firmware
    ppmid.assert_version(before)
    ppmid.activate(image)  # 11.3 Activate Firmware
    ppmid.assert_version(image.version)  # 11.2 Read Firmware Version
    comms_hub.assert_store(versions=[])


@pytest.mark.hanlab(comms_hub={"store": 8_192})
def test_an_image_that_is_too_large(ppmid: Device, comms_hub: CommsHub) -> None:
    """The CH has room for 8 KiB, and says so before the first octet."""
    ppmid.update(ppmid.new_image(16_384), expect="too-large")
    comms_hub.assert_store(used=0)


@pytest.mark.hanlab(emulated=True)
def test_power_that_fails(ppmid: Device, wire: Wire) -> None:
    """When 40 % of the image are there; the transfer goes on where it stopped."""
    image = ppmid.new_image(16_384)
    wire.cut_power(ppmid, at=0.4)
    ppmid.update(image)
    ppmid.activate(image)
    ppmid.assert_version(image.version)


def test_a_service_request(ppmid: Device, dsp: Dsp) -> None:
    """Through the DSP: an image that its manufacturer has listed on the CPL."""
    image = ppmid.new_image(4_096)
    dsp.put_on_cpl(image, ppmid)
    dsp.assert_code(dsp.update(image, ppmid), "I99")
    dsp.assert_code(dsp.activate(image, ppmid), "I0")
    dsp.assert_version(ppmid, image.version)


@pytest.mark.hanlab(comms_hub="am110r")
@ppmid_models("pipit-500", "sed-v3")
def test_device_models(ppmid: Device) -> None:
    """The same with several Device Models, on an Elster CH."""
    image = ppmid.new_image(4_096)
    ppmid.update(image)
    ppmid.activate(image)
    ppmid.assert_version(image.version)
