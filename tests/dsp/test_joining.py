"""12.2, 8.x: how a device comes into the inventory and onto a HAN, from one to another, and out of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from desk import (
    ACTIVATE,
    ESME,
    GSME,
    HUB,
    NETWORK,
    OLD,
    OTHER_HUB,
    OTHER_SUPPLIER,
    PPMID,
    READ,
    SUPPLIER,
    Office,
    furnished,
    run,
    suspend,
    update,
)

from hanlab.dsp.joining import ELSEWHERE, IN_UPDATE, KNOWN, NOT_LISTED, NOT_THERE
from hanlab.dsp.lifecycle import COMMISSIONED, DECOMMISSIONED, JOINED, REMOVED, Step, set_by_8_4
from hanlab.dsp.settings import DSP
from hanlab.dsp.smi import Status
from hanlab.duis.messages import (
    CANCELLED,
    Body,
    CommissionDevice,
    DecommissionDevice,
    DeleteDevice,
    DevicePreNotification,
    JoinService,
    ReadDeviceLog,
    RequestId,
    SetDetails,
    SetMpxn,
    SetStatus,
    UnjoinService,
    UpdateHanDeviceLog,
    UpdateInventory,
)
from hanlab.duis.responses import (
    DccAlert,
    DeviceCommissioned,
    DeviceLogRead,
    HanDeviceLogResult,
    HanDeviceLogUpdated,
    ServiceJoined,
)
from hanlab.eui import Eui
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

NEWCOMER = Eui.parse("00-DB-12-34-56-78-90-B4")
STRANGER = Eui.parse("00-DB-12-34-56-78-90-B5")
CODE = bytes(range(16))
ADD = UpdateHanDeviceLog(NEWCOMER, True, 90, CODE)
REMOVE = UpdateHanDeviceLog(PPMID, add=False)
LATER = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def office() -> Office:
    return furnished()


def notify(
    office: Office, eui: Eui = NEWCOMER, version: str | None = OLD, kind: str = "PPMID"
) -> str:
    return office.receive(DevicePreNotification(eui, "Secure", f"a {kind}", kind, None, version))


def sent(office: Office, body: Body, to: Eui = HUB, **other: object) -> str:
    """The code of the response, or of the acknowledgement that refuses it."""
    code, response = office.send(body, to, **other)
    return response.code if response else code


def join(office: Office, eui: Eui = NEWCOMER, hub: Eui = HUB) -> None:
    """From Pending to InstalledNotCommissioned."""
    assert sent(office, UpdateHanDeviceLog(eui, True, 90, CODE), hub) == "I0"
    assert office.status(eui) == Status.WHITELISTED
    office.door.hubs[eui] = hub
    assert office.dsp.see_joined() == [eui]
    assert office.status(eui) == Status.INSTALLED_NOT_COMMISSIONED


@pytest.mark.rule(24)
def test_from_pre_notification_to_an_answer(office: Office) -> None:
    assert notify(office) == "I99"
    assert office.status(NEWCOMER) == Status.PENDING
    assert office.receive(READ, NEWCOMER) == "E5"
    join(office)
    assert office.door.whitelist == {NEWCOMER: (CODE, 90)}
    assert office.receive(READ, NEWCOMER) == "I99", "a device that is installed says its version"
    assert office.receive(update(NEWCOMER)) != "I99", "and gets none before it is commissioned"
    office.door.runs[NEWCOMER] = OLD
    code, response = office.send(JoinService(ESME), NEWCOMER, service="8.7.2")
    assert (code, response and response.body) == ("I99", ServiceJoined(True, False))
    assert office.status(NEWCOMER) == Status.COMMISSIONED
    assert office.rule() == 24
    assert office.receive(update(NEWCOMER)) == "I99"


def results(office: Office) -> list[tuple[str, RequestId]]:
    """The DCC Alerts on what has come of an 8.11."""
    alerts = [r.body for r in office.written if isinstance(r.body, DccAlert)]
    return [(a.code, a.body.request) for a in alerts if isinstance(a.body, HanDeviceLogResult)]


def test_who_lets_a_device_join_hears_when_it_has(office: Office) -> None:
    notify(office)
    request = office.request(ADD, HUB)
    office.dsp.receive(request)
    run(office.dsp.carry_out(request.id, lambda _: None))
    assert results(office) == []
    office.door.hubs[NEWCOMER] = HUB
    for _ in range(2):
        office.dsp.see_joined()
    assert results(office) == [("N24", request.id)]
    assert office.told("N24") == [SUPPLIER]
    office.passed = timedelta(days=1)
    office.dsp.see_joined()
    assert len(results(office)) == 1


def test_and_when_its_time_is_over(office: Office) -> None:
    """JoinTimePeriod becomes whole minutes, and who was let in at the last moment has some seconds more."""
    notify(office)
    requests = []
    for _ in range(2):  # a second 8.11 opens the window anew
        office.passed += timedelta(seconds=60)
        requests.append(office.request(ADD, HUB))
        office.dsp.receive(requests[-1])
        run(office.dsp.carry_out(requests[-1].id, lambda _: None))
    office.passed += timedelta(seconds=129)
    office.dsp.see_joined()
    assert results(office) == []
    office.passed += timedelta(seconds=1)
    for _ in range(2):
        assert office.dsp.see_joined() == []
    assert results(office) == [("N25", requests[-1].id)]
    assert office.status(NEWCOMER) == Status.WHITELISTED


@pytest.mark.parametrize(
    "body", [UpdateHanDeviceLog(NEWCOMER, add=False), DecommissionDevice(NEWCOMER)]
)
def test_nobody_waits_for_a_device_that_may_not_come_any_more(body: Body, office: Office) -> None:
    notify(office)
    sent(office, ADD)
    sent(office, body, *([HUB] if isinstance(body, UpdateHanDeviceLog) else [DSP]))
    office.passed = timedelta(days=1)
    office.dsp.see_joined()
    assert results(office) == []


def test_who_is_not_heard_by_its_own_ch_has_not_joined(office: Office) -> None:
    notify(office)
    assert sent(office, ADD) == "I0"
    office.door.hubs[NEWCOMER] = OTHER_HUB
    assert office.dsp.see_joined() == []
    assert office.status(NEWCOMER) == Status.WHITELISTED


def test_the_response_says_what_the_ch_did(office: Office) -> None:
    notify(office)
    _, response = office.send(ADD, HUB)
    assert response
    assert (response.body, response.from_device) == (HanDeviceLogUpdated(), True)


@pytest.mark.parametrize(
    ("outcome", "code", "body"),
    [
        (Outcome.NO_CONTACT, "E20", None),
        (Outcome.NO_DEVICE, "E20", None),
        (Outcome.NO_ANSWER, "E21", None),
        (Outcome.DEVICE_REFUSED, "I0", HanDeviceLogUpdated(success=False)),
    ],
)
def test_what_the_ch_did_not_take_changes_nothing(
    outcome: Outcome, code: str, body: HanDeviceLogUpdated | None, office: Office
) -> None:
    notify(office)
    office.door.fails[NEWCOMER] = ServiceRequestFailed(outcome, "its table is full")
    _, response = office.send(ADD, HUB)
    assert response
    assert (response.code, response.body) == (code, body)
    assert office.status(NEWCOMER) == Status.PENDING
    found = office.dsp.smi.find(NEWCOMER)
    assert found
    assert found.hub is None
    assert office.told("N55") == [SUPPLIER], "the reason is in an alert"


@pytest.mark.rule(11)
def test_a_device_moves_by_8_11_alone(office: Office) -> None:
    assert office.receive(UpdateHanDeviceLog(PPMID), OTHER_HUB) == ELSEWHERE
    assert sent(office, REMOVE) == "I0"
    assert office.status(PPMID) == Status.PENDING
    assert office.receive(READ, PPMID) == "E5", "it has just left"
    join(office, PPMID, OTHER_HUB)
    found = office.dsp.smi.find(PPMID)
    assert found
    assert found.hub == OTHER_HUB
    assert sent(office, JoinService(ESME), PPMID, service="8.7.2") == "I0"
    assert office.status(PPMID) == Status.COMMISSIONED


def test_who_answers_for_the_ch_answers_for_what_comes_onto_its_han(office: Office) -> None:
    office.dsp.smi.set_supplier(OTHER_HUB, OTHER_SUPPLIER)
    sent(office, REMOVE)
    assert sent(office, UpdateHanDeviceLog(PPMID), OTHER_HUB, user=OTHER_SUPPLIER) == "I0"
    found = office.dsp.smi.find(PPMID)
    assert found
    assert (found.supplier, found.network_operator) == (OTHER_SUPPLIER, NETWORK)


@pytest.mark.parametrize("service", ["8.11", "8.3"])
@pytest.mark.parametrize("under_way", [update(PPMID), ACTIVATE])
def test_a_device_in_mid_update_stays(service: str, under_way: Body, office: Office) -> None:
    to = PPMID if under_way is ACTIVATE else None
    request = office.request(under_way, *([to] if to else []))
    assert office.dsp.receive(request).code == "I99"
    body, at = (REMOVE, [HUB]) if service == "8.11" else (DecommissionDevice(PPMID), [])
    assert office.receive(body, *at) == IN_UPDATE[service]
    run(office.dsp.carry_out(request.id, lambda _: None))
    assert office.status(PPMID) == Status.COMMISSIONED, "and the update goes on"
    assert office.receive(body, *at) == "I99"


def test_an_activation_of_a_later_day_keeps_nobody_here(office: Office) -> None:
    request = office.request(
        type(ACTIVATE)(ACTIVATE.hash, office.dsp.parts.clock() + timedelta(days=1)), PPMID
    )
    office.dsp.receive(request)
    assert sent(office, REMOVE) == "I0"
    response = run(office.dsp.carry_out(request.id, lambda _: None))
    assert response.code == "E5", "the device is not there any more when it falls due"


@pytest.mark.parametrize(
    ("body", "to", "code"),
    [
        (UpdateHanDeviceLog(STRANGER), HUB, "E19"),
        (UpdateHanDeviceLog(STRANGER, add=False), HUB, "E19"),
        (UpdateHanDeviceLog(NEWCOMER), PPMID, "E11"),
        (UpdateHanDeviceLog(OTHER_HUB), HUB, "E11"),
        (UpdateHanDeviceLog(NEWCOMER, add=False), HUB, NOT_THERE),
        (UpdateHanDeviceLog(PPMID, add=False), OTHER_HUB, NOT_THERE),
        (JoinService(STRANGER), PPMID, "E19"),
        (CommissionDevice(LATER), PPMID, "E11"),
    ],
)
def test_what_is_refused_before_a_board_hears_of_it(
    body: Body, to: Eui, code: str, office: Office
) -> None:
    notify(office)
    service = {"service": "8.7.2"} if isinstance(body, JoinService) else {}
    assert office.receive(body, to, **service) == code
    assert not office.dsp.unfinished()


def test_8_11_of_a_later_day_waits_and_can_be_cancelled(office: Office) -> None:
    notify(office)
    body = UpdateHanDeviceLog(NEWCOMER, execution=LATER)
    assert office.receive(body, HUB) == "I99"
    assert office.status(NEWCOMER) == Status.PENDING
    cancelling = UpdateHanDeviceLog(NEWCOMER, execution=CANCELLED)
    assert office.receive(cancelling, HUB) == "I99"
    assert not office.dsp.unfinished()
    assert sent(office, body) == "I0"
    assert office.status(NEWCOMER) == Status.WHITELISTED


def test_a_newer_8_11_supersedes_the_older_one_of_that_device_at_that_ch(office: Office) -> None:
    notify(office)
    first = office.request(UpdateHanDeviceLog(NEWCOMER, execution=LATER), HUB)
    of_another = office.request(
        UpdateHanDeviceLog(PPMID, execution=LATER), HUB, counter=first.id.counter + 1
    )
    for request in (first, of_another):
        assert office.dsp.receive(request).code == "I99"
    assert office.receive(ADD, HUB) == "I99"
    assert first.id not in office.dsp.unfinished()
    assert of_another.id in office.dsp.unfinished()


@pytest.mark.parametrize(
    ("body", "service"),
    [
        (ADD, "8.11"),
        (UpdateHanDeviceLog(NEWCOMER, add=False), "8.11"),
        (ReadDeviceLog(security=True), "8.9"),
        (JoinService(ESME), "8.7.2"),
        (JoinService(ESME, critical=True), "8.7.1"),
        (UnjoinService(ESME), "8.8.2"),
        (UnjoinService(ESME, critical=True), "8.8.1"),
    ],
)
def test_what_was_acknowledged_is_there_after_the_process_was_killed(
    body: Body, service: str, office: Office
) -> None:
    notify(office)
    office.door.hubs[NEWCOMER] = HUB
    request = office.request(body, HUB, service=service)
    assert office.dsp.receive(request).code == "I99"
    (kept,) = office.dsp.pending()
    assert (kept.body, kept.reference) == (body, service)


def test_8_9_says_what_is_on_the_han(office: Office) -> None:
    _, response = office.send(ReadDeviceLog(), HUB)
    assert response
    assert isinstance(response.body, DeviceLogRead)
    assert {e.device for e in response.body.entries} == {
        d for d, at in office.door.hubs.items() if at == HUB
    }
    assert office.receive(ReadDeviceLog(), ESME) == "I99"
    assert office.told("N55") == [SUPPLIER], "a meter's log is not simulated, and that is said"


# -- commissioning: what the documents leave open is recalled, see dsp/lifecycle.py


@pytest.mark.parametrize(
    ("kind", "service", "becomes"),
    [
        ("ESME", "8.1.1", Status.COMMISSIONED),
        ("GSME", "8.1.1", Status.COMMISSIONED),
        ("ESME", "8.7.1", Status.INSTALLED_NOT_COMMISSIONED),
        ("PPMID", "8.7.2", Status.COMMISSIONED),
        ("HCALCS", "8.7.1", Status.COMMISSIONED),
        ("IHD", "8.7.2", Status.COMMISSIONED),
        ("PPMID", "8.8.2", Status.INSTALLED_NOT_COMMISSIONED),
    ],
)
def test_what_commissions_a_device(
    kind: str, service: str, becomes: Status, office: Office
) -> None:
    office.enrol_as(NEWCOMER, kind)
    join(office)
    office.door.runs[NEWCOMER] = OLD
    bodies: dict[str, Body] = {
        "8.1.1": CommissionDevice(LATER),
        "8.7.1": JoinService(GSME, critical=True),
        "8.7.2": JoinService(GSME),
        "8.8.2": UnjoinService(GSME),
    }
    code, response = office.send(bodies[service], NEWCOMER, service=service)
    assert (code, response and response.code) == ("I99", "I0")
    assert office.status(NEWCOMER) == becomes


@pytest.mark.rule(118)
def test_an_ihd_is_commissioned_by_a_join_that_its_meter_gets_and_is_not_updated(
    office: Office,
) -> None:
    assert notify(office, kind="IHD", version=None) == "I99"
    join(office)
    assert sent(office, JoinService(NEWCOMER, True), ESME, service="8.7.1") == "I0"
    assert office.status(NEWCOMER) == Status.COMMISSIONED
    assert office.receive(update(NEWCOMER)) != "I99"


def test_a_device_that_does_not_answer_is_not_commissioned(office: Office) -> None:
    notify(office)
    join(office)
    office.door.fails[NEWCOMER] = ServiceRequestFailed(Outcome.NO_ANSWER, "it is off")
    assert sent(office, JoinService(ESME), NEWCOMER, service="8.7.2") == "E21"
    assert office.status(NEWCOMER) == Status.INSTALLED_NOT_COMMISSIONED


def test_a_commissioned_meter_says_the_time(office: Office) -> None:
    _, response = office.send(CommissionDevice(LATER), ESME)
    assert response
    assert response.body == DeviceCommissioned(office.dsp.parts.clock())


@pytest.mark.rule(79)
def test_a_suspended_meter_takes_the_critical_join_and_not_the_other(office: Office) -> None:
    suspend(office)
    assert office.receive(JoinService(PPMID, True), ESME, service="8.7.1") == "I99"
    assert office.rule() == 79
    assert office.receive(CommissionDevice(LATER), ESME) == "I99"
    assert office.receive(JoinService(PPMID), ESME, service="8.7.2") == "E5"


@pytest.mark.rule(101)
def test_a_suspended_device_moves_and_stays_suspended(office: Office) -> None:
    suspend(office, PPMID)
    assert sent(office, REMOVE) == "I0"
    assert office.status(PPMID) == Status.SUSPENDED
    assert sent(office, UpdateHanDeviceLog(PPMID), OTHER_HUB) == "I0"
    found = office.dsp.smi.find(PPMID)
    assert found
    assert (found.status, found.status_before, found.hub) == (
        Status.SUSPENDED,
        Status.WHITELISTED,
        OTHER_HUB,
    )
    office.door.hubs[PPMID] = OTHER_HUB
    assert office.dsp.see_joined() == [PPMID]
    assert office.dsp.smi.restore(PPMID) == Status.INSTALLED_NOT_COMMISSIONED


# -- 12.2


@pytest.mark.rule(13)
def test_12_2_for_a_device_that_is_in_the_inventory(office: Office) -> None:
    before = office.dsp.smi.find(PPMID)
    assert notify(office, PPMID) == KNOWN
    assert office.rule() == 13
    assert office.dsp.smi.find(PPMID) == before


@pytest.mark.parametrize("version", ["IHDAE99", None])
def test_12_2_for_what_is_not_on_the_cpl(version: str | None, office: Office) -> None:
    assert notify(office, version=version) == NOT_LISTED
    assert office.dsp.smi.find(NEWCOMER) is None


@pytest.mark.rule(102)
def test_12_2_for_an_ihd_asks_no_cpl(office: Office) -> None:
    assert notify(office, version="IHDAE99", kind="IHD") == "I99"


# -- 8.3 and 8.4


def test_a_decommissioned_device_gets_nothing_until_8_4_makes_it_pending(office: Office) -> None:
    assert office.receive(DecommissionDevice(PPMID)) == "I99"
    assert office.status(PPMID) == Status.DECOMMISSIONED
    assert office.receive(READ, PPMID) == "E5"
    assert office.receive(UpdateHanDeviceLog(PPMID), OTHER_HUB) == "E5"
    assert office.receive(UpdateInventory(PPMID, SetStatus("Pending"))) == "I99"
    join(office, PPMID, OTHER_HUB)


def test_a_ch_with_devices_is_not_decommissioned(office: Office) -> None:
    assert office.receive(DecommissionDevice(HUB)) == "E5"
    assert office.status(HUB) == Status.COMMISSIONED


@pytest.mark.parametrize(
    ("eui", "change", "code"),
    [
        (STRANGER, DeleteDevice(), "E19"),
        (PPMID, SetStatus("Commissioned", of_ch=True), "E11"),
        (HUB, SetStatus("Pending"), "E11"),
        (PPMID, SetStatus("Pending"), "E5"),
        (PPMID, SetStatus("InstalledNotCommissioned"), "I99"),
        (HUB, SetStatus("Withdrawn", of_ch=True), "I99"),
        (HUB, SetStatus("Commissioned", of_ch=True), "E5"),
        (PPMID, DeleteDevice(), "E5"),
        (PPMID, SetDetails(model="another"), "E5"),
        (PPMID, SetMpxn("ImportMPxN", "1234567890123"), "I99"),
    ],
)
def test_what_8_4_does(
    eui: Eui, change: SetStatus | SetDetails | DeleteDevice | SetMpxn, code: str, office: Office
) -> None:
    before = office.dsp.smi.find(eui)
    assert office.receive(UpdateInventory(eui, change)) == code
    assert (office.dsp.smi.find(eui) == before) == (code != "I99")


def test_8_4_of_a_stranger(office: Office) -> None:
    for body in (DecommissionDevice(PPMID), UpdateInventory(PPMID, DeleteDevice())):
        assert office.receive(body, user=OTHER_SUPPLIER) == "E4"
    assert office.status(PPMID) == Status.COMMISSIONED


def test_8_4_corrects_and_deletes_what_is_pending(office: Office) -> None:
    notify(office)
    assert office.receive(UpdateInventory(NEWCOMER, SetDetails(model="a better one"))) == "I99"
    found = office.dsp.smi.find(NEWCOMER)
    assert found
    assert (found.model, found.manufacturer) == ("a better one", "Secure")
    assert office.receive(UpdateInventory(NEWCOMER, DeleteDevice())) == "I99"
    assert office.dsp.smi.find(NEWCOMER) is None
    assert office.dsp.smi.was_deleted(NEWCOMER)
    assert notify(office) == "I99", "12.2 brings it back"


@pytest.mark.parametrize(
    "step", [JOINED, COMMISSIONED, DECOMMISSIONED, REMOVED, set_by_8_4(Status.PENDING, of_ch=False)]
)
def test_no_step_leads_from_withdrawn(step: Step, office: Office) -> None:
    office.dsp.smi.set_status(PPMID, Status.WITHDRAWN)
    found = office.dsp.smi.find(PPMID)
    assert found
    assert not step.leads_on(found)
