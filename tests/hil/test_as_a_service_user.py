"""The same through the DSP, as Service Users see it: codes, the SMI, DCC Alerts."""

from __future__ import annotations

from hanlab.hil import Device, Dsp, shared_lab

lab = shared_lab("module")


def test_an_image_that_is_not_on_the_cpl_is_not_sent(ppmid: Device, dsp: Dsp) -> None:
    before = ppmid.version
    dsp.assert_code(dsp.update(ppmid.new_image(4_096, "UNLISTED"), ppmid), "E110101")
    ppmid.assert_version(before)
    dsp.assert_no_alert()


def test_from_the_cpl_to_the_smi(ppmid: Device, dsp: Dsp) -> None:
    image = ppmid.new_image(4_096)
    dsp.put_on_cpl(image, ppmid)
    dsp.assert_code(dsp.update(image, ppmid), "I99")
    dsp.assert_alert("N60", to="supplier", times=1)
    dsp.assert_code(dsp.activate(image, ppmid), "I0")
    ppmid.wait_until_back()
    dsp.assert_code(dsp.read_version(ppmid), "I0")
    dsp.assert_version(ppmid, image.version)
    dsp.assert_status(ppmid, "Commissioned")


def test_who_does_not_answer_for_a_device_is_refused(ppmid: Device, dsp: Dsp) -> None:
    dsp.assert_code(dsp.read_version(ppmid, user="other-supplier"), "E4")


def test_a_version_that_leaves_the_cpl_suspends_its_devices(ppmid: Device, dsp: Dsp) -> None:
    """And the next version on it brings them back."""
    runs = dsp.smi(ppmid).version
    assert runs is not None
    assert dsp.withdraw(runs) == 1
    dsp.assert_alert("N28", ppmid, to="supplier", times=1)
    dsp.assert_status(ppmid, "Suspended")
    image = ppmid.new_image(4_096)
    dsp.put_on_cpl(image, ppmid)
    dsp.assert_code(dsp.update(image, ppmid), "I99")
    dsp.assert_code(dsp.activate(image, ppmid), "I0")
    dsp.assert_alert("N29", ppmid, to="supplier", times=1)
    dsp.assert_status(ppmid, "Commissioned")
