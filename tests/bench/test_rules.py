"""Rules that take whole boards to show: sizes, third parties, meters, the GPF."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from labs import ESME, GSME, image_for, lab_of, outcome

from hanlab.duis.messages import ActivateFirmware, ReadFirmwareVersion, UpdateFirmware
from hanlab.duis.responses import FirmwareActivated, FirmwareVersionRead
from hanlab.keys import LabKeys
from hanlab.lab import Device, Lab
from hanlab.lab.boards import DualControl, s1sp_on, wan_client
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.enrolment import product
from hanlab.lab.office import named_user
from hanlab.s1sp.installations import Installation, Installations
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Progress
from hanlab.wan.client import WanClient
from hanlab.wan.errors import AccessDenied, FalseBoard, Refused, WanError
from hanlab.wan.messages import GROUP, HanError, ProgressRead, VersionRead


@pytest.mark.rule(3, 5)
@pytest.mark.parametrize(("more", "expect"), [(0, Outcome.DISTRIBUTED), (1, Outcome.TOO_LARGE)])
def test_an_image_of_the_stores_size_fits_and_one_octet_more_does_not(
    more: int, expect: Outcome, tmp_path: Path
) -> None:
    with lab_of(tmp_path, DEFAULT["device"][0], hub={"store": 65_536}) as lab:
        over = len(image_for(lab.devices[0], 1024).to_bytes()) - 1024
        image = image_for(lab.devices[0], 65_536 - over + more)
        assert len(image.to_bytes()) == 65_536 + more
        assert outcome(lab, image, lab.devices[0]) is expect


@pytest.mark.rule(6)
def test_without_the_clause_size_is_no_reason_to_fail(tmp_path: Path) -> None:
    for clauses, expect in ((["18.63(d)"], Outcome.TOO_LARGE), ([], Outcome.DISTRIBUTED)):
        hub = {"store": 32_768, "s1sr_clauses": clauses}
        with lab_of(tmp_path / str(expect), DEFAULT["device"][0], hub=hub) as lab:
            assert outcome(lab, image_for(lab.devices[0], 40_000), lab.devices[0]) is expect


@pytest.mark.rule(9)
def test_a_ch_without_a_published_limit_reports_none(tmp_path: Path) -> None:
    with lab_of(tmp_path, DEFAULT["device"][0], hub={"s1sr_clauses": []}) as lab:
        assert lab.run(lab.store()).capacity is None


@pytest.mark.rule(4, 34)
def test_what_is_too_large_for_the_ppmid_is_too_large_for_the_meter(tmp_path: Path) -> None:
    with lab_of(tmp_path, DEFAULT["device"][0], ESME, hub={"store": 32_768}) as lab:
        for device in lab.devices:
            assert outcome(lab, image_for(device, 40_000), device) is Outcome.TOO_LARGE
        assert lab.run(lab.store()).used == 0


def test_meters_are_updated_as_a_ppmid_is(tmp_path: Path) -> None:
    with lab_of(tmp_path, ESME, GSME) as lab:
        for device in lab.devices:
            image = image_for(device)
            assert outcome(lab, image, device) is Outcome.DISTRIBUTED
            hash_ = image.manufacturer_image_hash
            assert lab.run(lab.activate_firmware(hash_, device)) is Outcome.ACTIVATED
            assert lab.run(lab.wait_until_back(device)).firmware == "NEW1"


@pytest.mark.rule(136)
def test_elsters_meters_without_a_ppmid(tmp_path: Path) -> None:
    meters = ({**ESME, "model": "as-300p"}, {**GSME, "model": "bk-g4e"})
    with lab_of(tmp_path, *meters, hub={"model": "am110r"}) as lab:
        versions = [lab.run(lab.wait_until_back(d)).firmware for d in lab.devices]
        assert versions == ["ASP04041", "10.94"]
        image = image_for(lab.devices[0], for_ch="Elster")
        assert outcome(lab, image, lab.devices[0]) is Outcome.STORED


@pytest.mark.rule(20)
def test_before_october_2021_none_of_the_ppmid_and_ch_rules_holds(tmp_path: Path) -> None:
    ppmid = {**DEFAULT["device"][0], "model": "sed-v3"}
    hub = {"store": 32_768}
    with lab_of(tmp_path, ppmid, hub=hub, october_2021=False) as lab:
        (device,) = lab.devices
        assert lab.dsp.smi.find(device.eui)
        image = image_for(device, 40_000, for_ch=None)
        lab.dsp.load([product(device.model, "NEW1", image.manufacturer_image_hash)])
        body = UpdateFirmware(image.to_bytes(), "NEW1", (device.eui,))
        assert lab.run(lab.send(body)).code == "I99"
        assert lab.installations.ends[device.eui] is Outcome.STORED
        hash_ = image.manufacturer_image_hash
        assert lab.run(lab.send(ActivateFirmware(hash_), device.eui)).code == "I0"
        assert lab.installations.ends[device.eui] is Outcome.ACTIVATED


@pytest.mark.rule(103, 104)
def test_the_gpf_lags_and_catches_up(tmp_path: Path) -> None:
    import asyncio

    with lab_of(tmp_path, GSME) as lab:
        (gsme,) = lab.devices
        gpf = lab.config.home().gpf
        assert gpf

        def mirror() -> str:
            read = lab.run(lab.installations.read_firmware_version(gpf))
            return str(read.version)

        assert mirror() == "Q4X2G0E"
        image = image_for(gsme)
        outcome(lab, image, gsme)
        lab.run(lab.activate_firmware(image.manufacturer_image_hash, gsme))
        assert lab.run(lab.wait_until_back(gsme)).firmware == "NEW1"
        assert mirror() == "Q4X2G0E"
        lab.run(asyncio.sleep(1900))
        assert mirror() == "NEW1"


def test_the_gpf_is_in_the_inventory_of_its_gsme(tmp_path: Path) -> None:
    with lab_of(tmp_path, GSME) as lab:
        gpf = lab.config.home().gpf
        assert gpf
        found = lab.dsp.smi.find(gpf)
        assert found
        assert (found.device_type, found.gsme) == ("GPF", lab.devices[0].eui)
        assert lab.run(lab.send(ReadFirmwareVersion(), gpf)).code == "I0"


@pytest.mark.rule(149)
def test_what_was_never_tested_together_is_flagged_and_works_as_it_can(tmp_path: Path) -> None:
    with lab_of(tmp_path, DEFAULT["device"][0], ESME, hub={"model": "am110r"}) as lab:
        assert lab.untested == list(lab.devices)
        device = lab.devices[0]
        assert outcome(lab, image_for(device, for_ch="Elster"), device) is Outcome.DISTRIBUTED
    with lab_of(tmp_path / "own", DEFAULT["device"][0], ESME) as lab:
        assert lab.untested == []


@pytest.mark.rule(150)
def test_a_change_of_supplier_leaves_device_store_and_rules_as_they_are(tmp_path: Path) -> None:
    with lab_of(tmp_path, DEFAULT["device"][0]) as lab:
        (device,) = lab.devices
        image = image_for(device)
        hash_ = image.manufacturer_image_hash
        lab.dsp.load([product(device.model, "NEW1", hash_)])
        update = UpdateFirmware(image.to_bytes(), "NEW1", (device.eui,))
        old, new = (named_user(lab.dsp, name) for name in ("supplier", "other-supplier"))
        assert lab.run(lab.send(update, user=old)).code == "I99"
        known, store = lab.dsp.smi.find(device.eui), lab.run(lab.store())
        assert known

        lab.dsp.hand_over(device.eui, new)
        after = lab.dsp.smi.find(device.eui)
        assert after
        assert dataclasses.replace(after, supplier=old.eui) == known
        assert lab.run(lab.store()).images == store.images
        activation = ActivateFirmware(hash_)
        assert lab.run(lab.send(activation, device.eui, user=old)).code == "E4"
        assert lab.run(lab.send(update, user=old)).code == "E110105"
        assert lab.run(lab.send(activation, device.eui, user=new)).code == "I0"
        assert lab.run(lab.read_firmware_version(device)).firmware == "NEW1"


# -- an 11.3 whose answer is lost


def metered(folder: Path, **dsp: Any) -> Lab:
    """A lab whose ESME holds NEW1; its own version is off the CPL."""
    lab = lab_of(folder, ESME, dsp={"mp105": False, **dsp})
    (device,) = lab.devices
    image = image_for(device)
    lab.dsp.load([product(device.model, "NEW1", image.manufacturer_image_hash)])
    lab.run(lab.send(UpdateFirmware(image.to_bytes(), "NEW1", (device.eui,))))
    lab.dsp.withdraw(product(device.model))
    return lab


def activation(lab: Lab) -> ActivateFirmware:
    return ActivateFirmware(image_for(lab.devices[0]).manufacturer_image_hash)


@pytest.mark.rule(86, 87, 93)
def test_a_suppliers_second_11_3_before_mp105(tmp_path: Path) -> None:
    """In two processes, so to say: the lab is opened again between them."""
    with metered(tmp_path, lost_responses=1.0) as lab:
        eui = lab.devices[0].eui
        assert lab.run(lab.send(activation(lab), eui)).code == "E21"
    with lab_of(tmp_path, ESME, dsp={"mp105": False, "lost_responses": 0.0, "retries": 0}) as lab:
        answer = lab.run(lab.send(activation(lab), eui))
        assert answer.result
        assert answer.result.body == FirmwareActivated(True, 0, "success", "NEW1")
        assert lab.dsp.audit.read(1)[0].rule == 93
        assert "N29" not in answer.alerts
        known = lab.dsp.smi.find(eui)
        assert known
        assert (known.status, known.version) == ("Suspended", "P4X9G01")

        another = image_for(lab.devices[0], version="NEW2")
        hash_ = another.manufacturer_image_hash
        lab.dsp.load([product(lab.devices[0].model, "NEW2", hash_)])
        assert lab.run(lab.send(UpdateFirmware(another.to_bytes(), "NEW2", (eui,)))).code == "I99"
        answer = lab.run(lab.send(ActivateFirmware(hash_), eui))
        assert "N29" in answer.alerts
        known = lab.dsp.smi.find(eui)
        assert known
        assert (known.status, known.version) == ("Commissioned", "NEW2")


@pytest.mark.rule(93)
def test_an_11_3_during_which_the_ch_falls_silent_may_have_happened(tmp_path: Path) -> None:
    with metered(tmp_path) as lab:
        eui = lab.devices[0].eui

        def pull(progress: Progress) -> None:
            lab.power_cycle(lab.hub, off_s=600)

        assert lab.run(lab.send(activation(lab), eui, report=pull)).code == "E20"
        lab.run(asyncio.sleep(600))
        assert lab.run(lab.send(activation(lab), eui)).code == "I0"
        assert lab.dsp.audit.read(1)[0].rule == 93


@pytest.mark.rule(93)
@pytest.mark.parametrize(
    ("request_", "nth", "failure", "code"),
    [
        (VersionRead, 2, Refused(GROUP, HanError.NO_ANSWER), "E21"),
        (ProgressRead, 2, FalseBoard("another board"), "E20"),
        (ProgressRead, 2, AccessDenied("another key"), "E20"),
    ],
    ids=["the device is off", "the CH is another", "the CH has another key"],
)
def test_an_11_3_of_which_only_the_answer_is_missing_may_have_happened(
    request_: type,
    nth: int,
    failure: WanError,
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with metered(tmp_path) as lab:
        eui = lab.devices[0].eui
        true_read, asked = WanClient.read, 0

        async def read(client: WanClient, what: Any, **fields: Any) -> Any:
            nonlocal asked
            asked += what is request_
            if what is request_ and asked >= nth:
                raise failure
            return await true_read(client, what, **fields)

        with monkeypatch.context() as patched:
            patched.setattr(WanClient, "read", read)
            assert lab.run(lab.send(activation(lab), eui)).code == code
        lab.run(asyncio.sleep(120))
        assert lab.run(lab.send(activation(lab), eui)).code == "I0"
        assert lab.dsp.audit.read(1)[0].rule == 93


@pytest.mark.rule(93)
@pytest.mark.parametrize(("retries", "sent"), [(0, 1), (2, 3)])
def test_a_users_own_system_sends_11_3_again_as_often_as_it_is_told(
    retries: int, sent: int, tmp_path: Path
) -> None:
    user = {"name": "supplier", "eui": "90-B3-D5-1F-30-01-00-00", "roles": ["IS"]}
    users = [{**user, "retries": retries}]
    with lab_of(tmp_path, ESME, dsp={"lost_responses": 1.0}, user=users) as lab:
        eui = lab.devices[0].eui
        answer = lab.run(lab.send(activation(lab), eui))
        requests = [e for e in lab.dsp.audit.read(100) if e.action == "11.3" and e.code == "I99"]
        assert len(requests) == sent, "each is a Service Request of its own, in its name"
        assert {e.actor for e in requests} == {user["eui"]}
        assert [d.code for d in answer.deliveries if d.request] == ["E21"] * sent


# -- a CH that is out of reach


@pytest.mark.parametrize("body", [ReadFirmwareVersion(), ActivateFirmware(bytes(32))])
def test_a_ch_that_does_not_answer_is_no_contact(
    body: ReadFirmwareVersion | ActivateFirmware, tmp_path: Path
) -> None:
    with lab_of(tmp_path, DEFAULT["device"][0]) as lab:
        ppmid = lab.devices[0]
        lab.power_cycle(lab.hub, off_s=3600)
        answer = lab.run(lab.send(body, ppmid.eui))
        assert (answer.acknowledgement.code, answer.code) == ("I99", "E20")
        assert lab.dsp.unfinished() == []
        end = lab.dsp.audit.read()[-1]
        assert (end.code, "no contact with the CH hub" in end.why) == ("no-contact", True)


def test_an_update_through_a_ch_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with lab_of(tmp_path, DEFAULT["device"][0]) as lab:
        ppmid = lab.devices[0]
        image = image_for(ppmid)
        lab.dsp.load([product(ppmid.model, image.version, image.manufacturer_image_hash)])
        lab.power_cycle(lab.hub, off_s=3600)
        update = UpdateFirmware(image.to_bytes(), image.version, (ppmid.eui,))
        answer = lab.run(lab.send(update))
        assert {"N22", "N61"} <= set(answer.alerts)
        assert lab.dsp.unfinished() == []
        failed = lab.installations.ends[ppmid.eui]
        assert isinstance(failed, ServiceRequestFailed)
        assert failed.outcome is Outcome.NO_CONTACT
        assert failed.next_step


def test_a_ch_with_other_keys_is_no_contact(tmp_path: Path) -> None:
    config = make_lab("rules", DEFAULT)
    with lab_of(tmp_path, DEFAULT["device"][0]) as lab:
        lab.desk.keys = LabKeys(config.seed + 1)
        wan = wan_client(lab.desk, "hub")
        installation = Installation(
            lab.hub.target,
            s1sp_on(wan, config.hub, DualControl(lab.desk.keys, tmp_path)),
            {lab.devices[0].eui: lab.devices[0].target},
        )
        with pytest.raises(ServiceRequestFailed, match="another key") as failed:
            lab.run(Installations([installation]).read_firmware_version(lab.devices[0].eui))
        assert failed.value.outcome is Outcome.NO_CONTACT


# -- many requests at once


def test_many_requests_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    with lab_of(tmp_path, DEFAULT["device"][0], ESME) as lab:

        async def read(device: Device) -> tuple[str, str, str | None]:
            answer = await lab.send(ReadFirmwareVersion(), device.eui)
            body = answer.result and answer.result.body
            assert isinstance(body, FirmwareVersionRead)
            return device.name, answer.code, body.version

        async def everybody() -> list[tuple[str, str, str | None]]:
            return await asyncio.gather(*(read(lab.devices[i % 2]) for i in range(300)))

        answers = lab.run(everybody())
        assert set(answers) == {(d.name, "I0", d.model.duis_version) for d in lab.devices}
        assert lab.run(lab.counters()).client.retries == 0


@pytest.mark.rule(96, 97)
@pytest.mark.parametrize("steps", [(2, 2), (1, 1), (1, 2)])
def test_two_activations_on_one_han_follow_each_other(
    steps: tuple[int, int], tmp_path: Path
) -> None:
    boards = [
        {**each, "activation_steps": n}
        for each, n in zip((DEFAULT["device"][0], ESME), steps, strict=True)
    ]
    with lab_of(tmp_path, *boards) as lab:
        images = {d: image_for(d, for_ch=lab.hub.model.manufacturer) for d in lab.devices}
        for d, image in images.items():
            lab.dsp.load([product(d.model, image.version, image.manufacturer_image_hash)])
            update = UpdateFirmware(image.to_bytes(), image.version, (d.eui,))
            assert lab.run(lab.send(update)).code == "I99"

        async def activate(device: Device) -> str:
            hash_ = images[device].manufacturer_image_hash
            return (await lab.send(ActivateFirmware(hash_), device.eui)).code

        async def both() -> list[str]:
            return await asyncio.gather(*map(activate, lab.devices))

        assert lab.run(both()) == ["I0", "I0"]
        for device in lab.devices:
            assert lab.run(lab.read_firmware_version(device)).firmware == "NEW1"
            assert lab.installations.ends[device.eui] is Outcome.ACTIVATED
