"""11.1 at the DSP: the image, the device list, and the S1SP's word on busy HANs."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from desk import (
    ACTIVATE,
    ESME,
    IMAGE,
    NETWORK,
    NEW,
    OTHER_PPMID,
    OTHER_SUPPLIER,
    PPMID,
    READ,
    SUPPLIER,
    Office,
    device,
    entry,
    furnished,
    image_for,
    run,
    update,
)

from hanlab.dsp.settings import DspSettings
from hanlab.dsp.smi import SMETS2, Status
from hanlab.duis.messages import ActivateFirmware, ReadFirmwareVersion, UpdateFirmware
from hanlab.duis.responses import (
    DccAlert,
    FirmwareDelivered,
    FirmwareDistributionFailure,
    S1spAlert,
    UpdateFirmwareWarning,
)
from hanlab.eui import Eui
from hanlab.images import build, made_body
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

NOBODY = Eui.parse("00-DB-12-34-56-78-99-99")


@pytest.fixture
def office() -> Office:
    return furnished()


@pytest.mark.rule(2)
def test_the_dsp_has_no_limit_on_the_size_of_a_smets1_image(office: Office) -> None:
    large = build(made_body(4_000_000, seed=1), device_type="PPMID", version="IHDAE07")
    found = office.dsp.smi.find(PPMID)
    assert found
    office.dsp.load([entry(found, "IHDAE07", large)])
    assert office.receive(update(PPMID, image=large, version="IHDAE07")) == "I99"


def test_a_clean_update_is_i99_and_an_alert_a_device(office: Office) -> None:
    assert office.send(update(PPMID, OTHER_PPMID)) == ("I99", None)
    assert office.door.asked == [("11.1", PPMID), ("11.1", OTHER_PPMID)]
    delivered = [r.body.body for r in office.written if isinstance(r.body, DccAlert)]
    assert [d.device for d in delivered if isinstance(d, FirmwareDelivered)] == [
        PPMID,
        OTHER_PPMID,
    ]
    assert office.told("N60") == [SUPPLIER, SUPPLIER]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (UpdateFirmware(b"no image", NEW, (PPMID,)), "E110103"),
        (update(PPMID, version="IHDAE99"), "E110101"),
        (update(PPMID, image=image_for("PPMID", NEW)), "E110102"),
        (update(NOBODY), "E110105"),
    ],
)
def test_an_update_that_is_refused_whole(body: UpdateFirmware, code: str, office: Office) -> None:
    assert office.send(body) == (code, None)
    assert office.door.asked == []


@pytest.mark.rule(29, 31)
def test_an_image_with_other_metadata_has_another_hash_than_the_cpls(office: Office) -> None:
    for_elster = build(made_body(512, seed=1), device_type="PPMID", version=NEW, for_ch="Elster")
    assert for_elster.body == IMAGE.body
    assert office.receive(update(PPMID, image=for_elster)) == "E110102"
    assert office.rule() == 29
    assert office.receive(update(PPMID)) == "I99"


@pytest.mark.rule(118)
def test_devices_are_left_out_each_for_its_reason() -> None:
    office = furnished()
    ihd, pending, other_model = (Eui(bytes([n]) * 8) for n in (1, 2, 3))
    office.enrol(
        device(ihd, "IHD"),
        device(pending, "PPMID", status=Status.PENDING),
        device(other_model, "PPMID", model="another"),
    )
    acknowledgement, result = office.send(update(PPMID, ihd, NOBODY, pending, other_model, PPMID))
    assert acknowledgement == "I99"
    assert result is not None
    assert result.code == "W110101"
    assert result.body == UpdateFirmwareWarning(
        invalid=(ihd, NOBODY), not_commissioned=(pending,), not_applicable=(other_model,)
    )
    assert office.door.asked == [("11.1", PPMID)]


def test_another_suppliers_device_is_invalid(office: Office) -> None:
    assert office.receive(update(PPMID), user=OTHER_SUPPLIER) == "E110105"


def test_an_image_with_a_destination_is_for_that_device_alone(office: Office) -> None:
    header = dataclasses.replace(
        IMAGE.header,
        destination=OTHER_PPMID.octets[::-1],
        total_size=IMAGE.header.total_size + 8,
    )
    only = dataclasses.replace(IMAGE, header=header)
    _, result = office.send(update(PPMID, OTHER_PPMID, image=only))
    assert result is not None
    assert result.body == UpdateFirmwareWarning(not_applicable=(PPMID,))
    assert office.door.asked == [("11.1", OTHER_PPMID)]


@pytest.mark.rule(108, 113)
@pytest.mark.parametrize(("on", "code"), [(True, "I99"), (False, "E110105")])
def test_the_firmware_of_an_hcalcs_is_secmp0007s(on: bool, code: str) -> None:
    office = Office(DspSettings() if on else DspSettings(secmp0007=None))
    found = device(ESME, "HCALCS")
    office.enrol(found)
    office.dsp.load([entry(found, NEW, IMAGE)])
    assert office.receive(update(ESME)) == code


@pytest.mark.parametrize(("service", "code"), [("11.1", "E110105"), ("11.4", "I99")])
def test_a_smets2_ppmid_takes_11_4(service: str, code: str) -> None:
    office = Office()
    found = device(PPMID, "PPMID", generation=SMETS2)
    office.enrol(found)
    office.dsp.load([entry(found, NEW, IMAGE)])
    assert office.receive(update(PPMID), service=service) == code


def test_11_4_has_response_codes_of_its_own() -> None:
    office = furnished()
    assert office.receive(update(PPMID), service="11.4") == "E110405"
    assert office.receive(update(PPMID, version="IHDAE99"), service="11.4") == "E110401"


@pytest.mark.rule(35)
def test_a_second_update_on_a_busy_han_is_refused(office: Office) -> None:
    assert office.receive(update(PPMID)) == "I99"
    assert office.receive(update(PPMID)) == "E110105"
    assert office.rule() == 35
    assert len(office.dsp.unfinished()) == 1


@pytest.mark.rule(36)
def test_only_the_devices_on_the_busy_han_are_refused(office: Office) -> None:
    assert office.receive(update(PPMID)) == "I99"
    acknowledgement, result = office.send(update(PPMID, OTHER_PPMID))
    assert acknowledgement == "I99"
    assert result is not None
    assert result.body == UpdateFirmwareWarning(other_in_progress=(PPMID,))
    assert office.door.asked == [("11.1", OTHER_PPMID)]


@pytest.mark.rule(37)
@pytest.mark.parametrize("fails", [False, True])
def test_after_the_first_update_the_next_one_is_welcome(fails: bool, office: Office) -> None:
    if fails:
        office.door.fails[PPMID] = ServiceRequestFailed(Outcome.TOO_LARGE, "too large")
    office.send(update(PPMID))
    assert office.receive(update(PPMID)) == "I99"


@pytest.mark.rule(36)
def test_two_hans_are_updated_at_the_same_time(office: Office) -> None:
    office.door.takes_s = 10.0

    async def watch() -> None:
        request = office.request(update(PPMID, OTHER_PPMID))
        office.dsp.receive(request)
        work = asyncio.ensure_future(office.dsp.carry_out(request.id, lambda progress: None))
        await asyncio.sleep(1)
        assert [office.receive(update(d)) for d in (PPMID, OTHER_PPMID)] == ["E110105"] * 2
        assert [e for _, e in office.door.asked] == [PPMID, OTHER_PPMID]
        await work

    run(watch())


@pytest.mark.rule(4, 25)
@pytest.mark.parametrize(
    ("outcome", "rule"), [(Outcome.TOO_LARGE, 4), (Outcome.THIRD_PARTY, 25), (Outcome.METADATA, 30)]
)
def test_what_fails_beyond_the_dsp_comes_back_as_alerts(
    outcome: Outcome, rule: int, office: Office
) -> None:
    office.door.fails[PPMID] = ServiceRequestFailed(outcome, "why it failed")
    assert office.send(update(PPMID, OTHER_PPMID)) == ("I99", None)
    bodies = [r.body.body for r in office.written if isinstance(r.body, DccAlert)]
    failure = next(b for b in bodies if isinstance(b, FirmwareDistributionFailure))
    assert failure.devices == (PPMID,)
    said = next(b for b in bodies if isinstance(b, S1spAlert))
    assert (said.code, said.text) == (outcome, "why it failed")
    assert (office.told("N22"), office.told("N61")) == ([SUPPLIER], [SUPPLIER])
    assert rule in [e.rule for e in office.dsp.audit.read()]


def test_no_contact_and_no_response_have_codes_of_their_own(office: Office) -> None:
    codes = []
    for outcome in (Outcome.NO_DEVICE, Outcome.NO_CONTACT, Outcome.NO_ANSWER):
        office.door.fails[ESME] = ServiceRequestFailed(outcome, "no")
        for body in (READ, ACTIVATE):
            _, result = office.send(body, ESME)
            assert result
            codes.append(result.code)
    assert codes == ["E20", "E20", "E20", "E20", "E21", "E21"]


@pytest.mark.parametrize("body", [ACTIVATE, READ])
def test_a_future_dated_request_waits_for_its_date(
    body: ActivateFirmware | ReadFirmwareVersion, office: Office
) -> None:
    from datetime import UTC, datetime, timedelta

    due = datetime(2026, 1, 2, tzinfo=UTC)
    request = office.request(dataclasses.replace(body, execution=due), ESME)
    assert office.dsp.receive(request).code == "I99"
    asked_at = []

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        work = asyncio.ensure_future(office.dsp.carry_out(request.id, lambda progress: None))
        await asyncio.sleep(86_000)
        assert office.door.asked == []
        await work
        asked_at.append(round(loop.time() - began))

    run(wait())
    assert asked_at == [timedelta(days=1).total_seconds()]
    assert [e for _, e in office.door.asked] == [ESME]


def test_a_future_dated_request_can_be_cancelled(office: Office) -> None:
    from datetime import UTC, datetime

    later = dataclasses.replace(ACTIVATE, execution=datetime(2026, 1, 2, tzinfo=UTC))
    never = dataclasses.replace(ACTIVATE, execution=datetime(3000, 12, 31, tzinfo=UTC))
    request = office.request(later, ESME)
    office.dsp.receive(request)
    assert office.send(never, ESME) == ("I99", None)
    assert run(office.dsp.carry_out(request.id, lambda progress: None)) is None
    assert (office.door.asked, office.dsp.unfinished()) == ([], [])


@pytest.mark.rule(115)
def test_restored_goes_to_supplier_and_network_operator_once_each(office: Office) -> None:
    found = office.dsp.smi.find(ESME)
    assert found
    office.dsp.withdraw(entry(found, str(found.version)))
    office.send(ACTIVATE, ESME)
    assert office.told("N29") == [SUPPLIER, NETWORK]
    office.send(READ, ESME)
    assert office.told("N29") == [SUPPLIER, NETWORK]
