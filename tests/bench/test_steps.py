"""One step or two is the device's affair, and an image is kept for everyone that an 11.1 named (rules 95 to 97)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from labs import ESME, OTHER_PPMID, PPMID, image_for, lab_of, outcome

from hanlab.duis.messages import ActivateFirmware, UpdateFirmware
from hanlab.duis.responses import FirmwareActivated
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Device, Lab, Progress
from hanlab.lab.enrolment import product
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

ONE_STEP: dict[str, Any] = {"activation_steps": 1}


def activate(lab: Lab, image: OtaImage, device: Device) -> Outcome:
    try:
        return lab.run(lab.activate_firmware(image.manufacturer_image_hash, device))
    except ServiceRequestFailed as e:
        return e.outcome


def held(lab: Lab) -> list[str]:
    """The versions in the CH's store."""
    return [image.version for image in lab.run(lab.store()).images]


def runs(lab: Lab, device: Device) -> str:
    return lab.run(lab.wait_until_back(device)).firmware


@pytest.mark.rule(96, 97)
@pytest.mark.parametrize("model", ["skyline-i510", "am110r"])
def test_the_steps_are_the_devices_on_any_ch(model: str, tmp_path: Path) -> None:
    hub = {"model": model, "s1sr_clauses": []}
    with lab_of(tmp_path, {**PPMID, **ONE_STEP}, ESME, hub=hub) as lab:
        one, two = lab.devices
        assert outcome(lab, image_for(one), one) is Outcome.STORED
        lab.run(asyncio.sleep(60))
        assert lab.run(lab.store_of(one)).images == [], "nothing before 11.3"
        assert outcome(lab, image_for(two), two) is Outcome.DISTRIBUTED
        assert [i.version for i in lab.run(lab.store_of(two)).images] == ["NEW1"]
        for device in lab.devices:
            assert activate(lab, image_for(device), device) is Outcome.ACTIVATED
            assert runs(lab, device) == "NEW1"
        assert held(lab) == []


@pytest.mark.rule(96, 97)
@pytest.mark.parametrize("steps", [1, 2])
def test_what_any_smp_client_uploads_is_for_nobody_until_an_11_1(
    steps: int, tmp_path: Path
) -> None:
    """11.1 names the devices; SMP's upload has no word for that."""
    with lab_of(tmp_path, {**PPMID, "activation_steps": steps}) as lab:
        (device,) = lab.devices
        image = image_for(device)

        async def upload() -> None:
            async for _ in lab.home().wan.upload(image.to_bytes()):
                pass

        lab.run(lab.store())
        lab.run(upload())
        assert held(lab) == ["NEW1"]
        with pytest.raises(ServiceRequestFailed, match="comes first") as e:
            lab.run(lab.activate_firmware(image.manufacturer_image_hash, device))
        assert e.value.outcome is Outcome.NO_IMAGE_HELD
        assert e.value.next_step == "hanlab push FILE --to PPMID"
        assert outcome(lab, image, device) in (Outcome.STORED, Outcome.DISTRIBUTED)
        assert activate(lab, image, device) is Outcome.ACTIVATED
        assert runs(lab, device) == "NEW1"


@pytest.mark.rule(95)
@pytest.mark.parametrize("says", [True, False])
def test_whether_the_answer_says_the_version_is_the_devices(says: bool, tmp_path: Path) -> None:
    with lab_of(tmp_path, {**PPMID, "version_in_response": says}) as lab:
        (device,) = lab.devices
        image = image_for(device)
        lab.dsp.load([product(device.model, "NEW1", image.manufacturer_image_hash)])
        lab.run(lab.send(UpdateFirmware(image.to_bytes(), "NEW1", (device.eui,))))
        answer = lab.run(lab.send(ActivateFirmware(image.manufacturer_image_hash), device.eui))
        assert answer.result
        assert isinstance(answer.result.body, FirmwareActivated)
        assert answer.result.body.version == ("NEW1" if says else None)


@pytest.mark.rule(96, 97)
@pytest.mark.parametrize(("steps", "octets"), [(1, 0), (1, 16_000), (2, 0)])
def test_a_ch_that_restarts_in_an_11_3_goes_on_with_it(
    steps: int, octets: int, tmp_path: Path
) -> None:
    """In the transfer that is a part of it, and while the device does its own."""
    with lab_of(tmp_path, {**PPMID, "activation_steps": steps}) as lab:
        (device,) = lab.devices
        image = image_for(device, 32_768)
        outcome(lab, image, device)
        cuts: list[int] = []

        def report(step: Progress) -> None:
            if step.stage == "activate" and step.done >= octets and not cuts:
                cuts.append(step.done)
                lab.power_cycle(lab.hub)

        activation = lab.activate_firmware(image.manufacturer_image_hash, device, report)
        assert lab.run(activation) is Outcome.ACTIVATED
        assert cuts
        assert runs(lab, device) == "NEW1"
        assert held(lab) == []


@pytest.mark.rule(96)
@pytest.mark.parametrize("restart", [False, True], ids=["", "the CH restarts between"])
def test_an_image_stays_until_the_last_one_that_it_was_for_runs_it(
    restart: bool, tmp_path: Path
) -> None:
    boards = ({**PPMID, **ONE_STEP}, {**OTHER_PPMID, **ONE_STEP})
    with lab_of(tmp_path, *boards) as lab:
        first, second = lab.devices
        image = image_for(first)
        for device in lab.devices:
            assert outcome(lab, image, device) is Outcome.STORED
        assert activate(lab, image, first) is Outcome.ACTIVATED
        assert held(lab) == ["NEW1"]
        if restart:
            lab.power_cycle(lab.hub)
            runs(lab, second)
        assert activate(lab, image, first) is Outcome.ACTIVATED, "asked again"
        assert held(lab) == ["NEW1"]
        assert activate(lab, image, second) is Outcome.ACTIVATED
        assert [runs(lab, d) for d in lab.devices] == ["NEW1", "NEW1"]
        assert held(lab) == [], "it has done its work"


@pytest.mark.rule(96)
def test_one_11_1_for_two_one_step_devices_through_the_dsp(tmp_path: Path) -> None:
    with lab_of(tmp_path, {**PPMID, **ONE_STEP}, {**OTHER_PPMID, **ONE_STEP}) as lab:
        image = image_for(lab.devices[0])
        hash_ = image.manufacturer_image_hash
        lab.dsp.load([product(lab.devices[0].model, "NEW1", hash_)])
        both = tuple(d.eui for d in lab.devices)
        assert lab.run(lab.send(UpdateFirmware(image.to_bytes(), "NEW1", both))).code == "I99"
        for device in lab.devices:
            assert lab.run(lab.send(ActivateFirmware(hash_), device.eui)).code == "I0"
            assert lab.installations.ends[device.eui] is Outcome.ACTIVATED
        assert [runs(lab, d) for d in lab.devices] == ["NEW1", "NEW1"]


def test_a_two_step_device_does_not_keep_the_image_in_the_ch(tmp_path: Path) -> None:
    """It has its own copy."""
    with lab_of(tmp_path, PPMID, OTHER_PPMID) as lab:
        first, second = lab.devices
        image = image_for(first)
        for device in lab.devices:
            assert outcome(lab, image, device) is Outcome.DISTRIBUTED
        assert activate(lab, image, first) is Outcome.ACTIVATED
        assert held(lab) == []
        assert activate(lab, image, second) is Outcome.ACTIVATED


@pytest.mark.rule(96)
def test_an_image_is_for_whom_an_11_1_was_and_for_no_one_else(tmp_path: Path) -> None:
    with lab_of(tmp_path, {**PPMID, **ONE_STEP}, {**OTHER_PPMID, **ONE_STEP}) as lab:
        first, second = lab.devices
        image, later = image_for(first), image_for(first, version="NEW2")
        assert outcome(lab, image, second) is Outcome.STORED
        assert activate(lab, image, first) is Outcome.NO_IMAGE_HELD
        assert runs(lab, first) == "IHDAE05"
        assert outcome(lab, later, first) is Outcome.STORED
        assert activate(lab, image, first) is Outcome.HASH_MISMATCH
        assert activate(lab, image, second) is Outcome.ACTIVATED
        assert held(lab) == ["NEW2"]


@pytest.mark.rule(96, 97)
@pytest.mark.parametrize("steps", [1, 2])
def test_a_newer_11_1_takes_the_place_of_the_one_before(steps: int, tmp_path: Path) -> None:
    """Else images that nobody will ever run fill the CH's store."""
    step = {"activation_steps": steps}
    with lab_of(tmp_path, {**PPMID, **step}, {**OTHER_PPMID, **step}) as lab:
        first, second = lab.devices
        image, later = image_for(first), image_for(first, version="NEW2")
        for device in lab.devices:
            outcome(lab, image, device)
        outcome(lab, later, first)
        # a two-step device has its own copy: its CH keeps none for it once a newer one has come
        assert held(lab) == (["NEW1", "NEW2"] if steps == 1 else ["NEW2"])
        assert activate(lab, later, first) is Outcome.ACTIVATED
        assert activate(lab, image, second) is Outcome.ACTIVATED
        assert [runs(lab, d) for d in lab.devices] == ["NEW2", "NEW1"]
        assert held(lab) == []


@pytest.mark.rule(96)
def test_an_image_stays_for_a_device_that_is_off_until_a_newer_one_comes(tmp_path: Path) -> None:
    with lab_of(tmp_path, {**PPMID, **ONE_STEP}, {**OTHER_PPMID, **ONE_STEP}) as lab:
        first, second = lab.devices
        image, later = image_for(first), image_for(first, version="NEW2")
        for device in lab.devices:
            outcome(lab, image, device)
        lab.power_cycle(second, off_s=3600)
        assert activate(lab, image, first) is Outcome.ACTIVATED
        with pytest.raises(ServiceRequestFailed, match="OTHER stopped answering") as e:
            lab.run(lab.activate_firmware(image.manufacturer_image_hash, second))
        assert "hanlab activate OTHER again" in e.value.next_step
        assert held(lab) == ["NEW1"]
        for device in lab.devices:
            assert outcome(lab, later, device) is Outcome.STORED, "it is switched off"
        assert held(lab) == ["NEW2"]
        lab.run(asyncio.sleep(3600))
        assert activate(lab, later, second) is Outcome.ACTIVATED
        assert activate(lab, later, first) is Outcome.ACTIVATED
        assert held(lab) == []


@pytest.mark.rule(96)
def test_nothing_is_kept_for_a_device_that_has_left_the_han(tmp_path: Path) -> None:
    both = ({**PPMID, **ONE_STEP}, {**OTHER_PPMID, **ONE_STEP})
    with lab_of(tmp_path, *both) as lab:
        image = image_for(lab.devices[0])
        for device in lab.devices:
            outcome(lab, image, device)
    with lab_of(tmp_path, both[0]) as lab:
        assert held(lab) == ["NEW1"]
        assert activate(lab, image, lab.devices[0]) is Outcome.ACTIVATED
        assert held(lab) == []


@pytest.mark.rule(35)
@pytest.mark.parametrize("steps", [1, 2])
def test_an_11_3_is_an_update_in_progress_as_well(steps: int, tmp_path: Path) -> None:
    """For a one-step device it is all of it."""
    step = {"activation_steps": steps}
    with lab_of(tmp_path, {**PPMID, **step}, {**OTHER_PPMID, **step}) as lab:
        first, second = lab.devices
        image = image_for(first)
        outcome(lab, image, first)

        async def both() -> list[Outcome]:
            begun = asyncio.Event()
            hash_ = image.manufacturer_image_hash
            one = asyncio.ensure_future(
                lab.activate_firmware(hash_, first, lambda step: begun.set())
            )
            await begun.wait()
            assert lab.installations.in_progress([second.eui], [])
            try:
                other = await lab.update_firmware(image, second)
            except ServiceRequestFailed as e:
                other = e.outcome
            return [other, await one]

        assert lab.run(both()) == [Outcome.BUSY, Outcome.ACTIVATED]
        assert not lab.installations.in_progress([second.eui], [])


@pytest.mark.parametrize("steps", [1, 2])
def test_other_firmware_of_the_version_that_runs_is_said_to_be_that(
    steps: int, tmp_path: Path
) -> None:
    """The next step must not be to push it once more."""
    with lab_of(tmp_path, {**PPMID, "activation_steps": steps}) as lab:
        (device,) = lab.devices
        outcome(lab, image_for(device), device)
        activate(lab, image_for(device), device)
        if steps == 2:
            with pytest.raises(ServiceRequestFailed, match="PPMID runs NEW1 already") as e:
                lab.run(lab.update_firmware(image_for(device), device))
            assert "if that is this image, nothing is left to do" in e.value.next_step
        activate(lab, image_for(device), device)  # 11.3 goes by the hash, and says so
        other = image_for(device, 5000)
        outcome(lab, other, device)
        with pytest.raises(ServiceRequestFailed, match="PPMID runs NEW1 already, but other") as e:
            lab.run(lab.activate_firmware(other.manufacturer_image_hash, device))
        assert e.value.outcome is Outcome.NO_IMAGE_HELD
        assert "give the image another version" in e.value.next_step


@pytest.mark.parametrize("steps", [1, 2])
def test_a_device_that_comes_back_with_its_old_firmware_is_said_to_have_done_so(
    steps: int, tmp_path: Path
) -> None:
    """The image's hash is its own, so the words of two versions with one hash would lead astray."""
    broken = build(
        made_body(4096, seed=1, boots=False), device_type="PPMID", version="NEW1", for_ch="Secure"
    )
    with lab_of(tmp_path, {**PPMID, "activation_steps": steps}) as lab:
        (device,) = lab.devices
        outcome(lab, broken, device)
        with pytest.raises(ServiceRequestFailed, match="the firmware that it had before") as e:
            lab.run(lab.activate_firmware(broken.manufacturer_image_hash, device))
        assert e.value.outcome is Outcome.ACTIVATION_FAILURE
        assert runs(lab, device) == "IHDAE05"


# -- two versions, one hash


def same_firmware(version: str) -> OtaImage:
    return build(b"the same" * 200, device_type="PPMID", version=version, for_ch="Secure")


@pytest.mark.parametrize("steps", [1, 2])
def test_success_means_that_the_wanted_version_runs_or_it_is_said_which_does(
    steps: int, tmp_path: Path
) -> None:
    six, seven = same_firmware("IHDAE06"), same_firmware("IHDAE07")
    assert six.manufacturer_image_hash == seven.manufacturer_image_hash
    with lab_of(tmp_path, {**PPMID, "activation_steps": steps}) as lab:
        (device,) = lab.devices
        outcome(lab, six, device)
        assert activate(lab, six, device) is Outcome.ACTIVATED
        outcome(lab, seven, device)
        with pytest.raises(ServiceRequestFailed, match="PPMID runs IHDAE06, not IHDAE07") as e:
            lab.run(lab.activate_firmware(seven.manufacturer_image_hash, device))
        assert e.value.outcome is Outcome.ACTIVATION_FAILURE
        assert runs(lab, device) == "IHDAE06"
        outcome(lab, seven, device)
        hash_ = seven.manufacturer_image_hash
        answer = lab.run(lab.send(ActivateFirmware(hash_), device.eui))
        assert answer.result
        body = answer.result.body
        assert isinstance(body, FirmwareActivated)
        assert (body.success, body.status) == (False, "activationFailure")
        assert "PPMID runs IHDAE06" in (body.debug or "")


def test_of_two_images_with_one_hash_the_newest_is_distributed(tmp_path: Path) -> None:
    six, seven = same_firmware("IHDAE06"), same_firmware("IHDAE07")
    with lab_of(tmp_path, PPMID) as lab:
        (device,) = lab.devices
        for image in (six, seven):
            assert outcome(lab, image, device) is Outcome.DISTRIBUTED
        assert activate(lab, seven, device) is Outcome.ACTIVATED
        assert runs(lab, device) == "IHDAE07"


@pytest.mark.parametrize("steps", [1, 2])
def test_of_two_images_with_one_hash_each_device_gets_the_one_of_its_11_1(
    steps: int, tmp_path: Path
) -> None:
    six, seven = same_firmware("IHDAE06"), same_firmware("IHDAE07")
    step = {"activation_steps": steps}
    with lab_of(tmp_path, {**PPMID, **step}, {**OTHER_PPMID, **step}) as lab:
        first, second = lab.devices
        outcome(lab, six, first)
        outcome(lab, seven, second)
        for device in lab.devices:
            assert activate(lab, six, device) is Outcome.ACTIVATED
        assert [runs(lab, d) for d in lab.devices] == ["IHDAE06", "IHDAE07"]


@pytest.mark.parametrize("steps", [1, 2])
def test_of_two_images_with_one_hash_the_last_11_1_counts(steps: int, tmp_path: Path) -> None:
    six, seven = same_firmware("IHDAE06"), same_firmware("IHDAE07")
    step = {"activation_steps": steps}
    with lab_of(tmp_path, {**PPMID, **step}, {**OTHER_PPMID, **step}) as lab:
        device, other = lab.devices
        outcome(lab, six, other)  # so that it stays in the CH, the older of the two
        for image in (six, seven, six):
            outcome(lab, image, device)
        assert activate(lab, six, device) is Outcome.ACTIVATED
        assert runs(lab, device) == "IHDAE06"
        assert activate(lab, six, other) is Outcome.ACTIVATED
