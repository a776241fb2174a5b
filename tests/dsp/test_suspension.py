"""Suspension by the CPL and the ways back: rules 78 to 111."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from desk import (
    ACTIVATE,
    BOTH_SWITCHES_OFF,
    BOTH_SWITCHES_ON,
    ESME,
    GPF,
    GSME,
    IMAGE,
    NETWORK,
    NEW,
    OLD,
    OTHER_PPMID,
    PPMID,
    READ,
    SUPPLIER,
    Office,
    device,
    entry,
    furnished,
    run,
    suspend,
    update,
)

from hanlab.dsp.alerts import RESTORED
from hanlab.dsp.cpl import CplStatus
from hanlab.dsp.settings import DspSettings
from hanlab.dsp.smi import SMETS2, Status
from hanlab.duis.messages import (
    ActivateFirmware,
    Body,
    OtherBody,
    ReadFirmwareVersion,
    TopUpDevice,
    UpdateSecurityCredentials,
)
from hanlab.duis.responses import DeviceStatusChanged, FirmwareActivated, FirmwareVersionRead
from hanlab.eui import Eui
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed


def future_activation(when: datetime) -> ActivateFirmware:
    return ActivateFirmware(IMAGE.manufacturer_image_hash, when)


TOP_UP = TopUpDevice("73946144332040217315")


@pytest.fixture
def office() -> Office:
    """With MP105 and SECMP0007."""
    return furnished()


@pytest.fixture
def before_mp105() -> Office:
    """Without MP105, with SECMP0007."""
    return furnished(DspSettings(mp105=None))


@pytest.mark.rule(78, 101)
@pytest.mark.parametrize("device_type", ["ESME", "GSME", "PPMID", "HCALCS"])
def test_removal_suspends_exactly_what_the_entry_covers(device_type: str) -> None:
    office = Office()
    one, other, newer = (Eui(bytes([n]) * 8) for n in (1, 2, 3))
    gone = device(one, device_type)
    office.enrol(gone, device(other, device_type, model="another"))
    office.enrol(device(newer, device_type, NEW))
    assert office.dsp.withdraw(entry(gone, OLD)) == 1
    statuses = [office.status(e) for e in (one, other, newer)]
    assert statuses == [Status.SUSPENDED, Status.COMMISSIONED, Status.COMMISSIONED]
    assert office.told("N28") == [SUPPLIER, NETWORK]
    assert office.rule() == 78


@pytest.mark.rule(102)
def test_an_ihd_is_not_on_the_cpl_and_never_suspended() -> None:
    office = Office()
    ihd = device(PPMID, "IHD")
    office.enrol(ihd, device(OTHER_PPMID, "PPMID", model=ihd.model))
    assert office.dsp.withdraw(entry(device(OTHER_PPMID, "PPMID", model=ihd.model), OLD)) == 1
    assert office.status(PPMID) is Status.COMMISSIONED


@pytest.mark.rule(78)
def test_an_entry_that_expires_suspends_as_well(office: Office) -> None:
    found = office.dsp.smi.find(PPMID)
    assert found
    lasting = dataclasses.replace(entry(found, "IHDAE04"), expires=date(2026, 1, 1))
    office.dsp.load([lasting])
    office.dsp.smi.set_version(PPMID, "IHDAE04")
    assert office.dsp.expire() == 0
    office.passed = timedelta(days=1)
    assert office.dsp.expire() == 1
    assert office.status(PPMID) is Status.SUSPENDED


@pytest.mark.rule(79)
def test_a_suspended_device_takes_a_critical_request(office: Office) -> None:
    suspend(office)
    assert office.receive(ACTIVATE, ESME) == "I99"
    assert office.rule() == 79


@pytest.mark.rule(80, 84)
def test_11_2_to_a_suspended_device_is_e5_before_mp105(before_mp105: Office) -> None:
    suspend(before_mp105)
    assert before_mp105.send(READ, ESME) == ("E5", None)
    assert before_mp105.door.asked == []
    assert before_mp105.rule() == 84


@pytest.mark.rule(85)
def test_11_2_to_a_suspended_device_is_accepted_with_mp105(office: Office) -> None:
    suspend(office)
    assert office.receive(READ, ESME) == "I99"
    assert office.rule() == 85


@pytest.mark.rule(81)
def test_11_1_to_a_suspended_device_is_accepted(before_mp105: Office) -> None:
    suspend(before_mp105, PPMID)
    assert before_mp105.receive(update(PPMID)) == "I99"
    assert before_mp105.rule() == 81


@pytest.mark.rule(82)
def test_6_23_to_a_suspended_device_is_accepted(office: Office) -> None:
    suspend(office)
    assert office.receive(UpdateSecurityCredentials(), ESME, service="6.23") == "I99"
    assert office.rule() == 82


@pytest.mark.rule(83, 109)
@pytest.mark.parametrize(
    ("generation", "variant", "code"),
    [("SMETS1", 2, "I99"), ("SMETS1", 1, "E5"), (SMETS2, 2, "E5"), (SMETS2, 1, "E5")],
)
def test_top_up_of_a_suspended_device(generation: str, variant: int, code: str) -> None:
    office = Office()
    office.enrol(device(ESME, "ESME", generation=generation))
    suspend(office)
    assert office.receive(TOP_UP, ESME, service="2.2", variant=variant) == code
    assert office.rule() == (83 if code == "I99" else 109)


@pytest.mark.rule(109)
@pytest.mark.parametrize("service", ["2.1", "2.5"])
@pytest.mark.parametrize(("allowed", "code", "rule"), [(False, "E5", 109), (True, "I99", 79)])
def test_emergency_credit_of_a_suspended_device_is_a_switch(
    service: str, allowed: bool, code: str, rule: int
) -> None:
    office = furnished(DspSettings(suspended_credit=allowed))
    suspend(office)
    assert office.receive(OtherBody("any"), ESME, service=service) == code
    assert office.rule() == rule


@pytest.mark.rule(109)
def test_emergency_credit_of_any_other_device_is_no_question(office: Office) -> None:
    assert office.receive(OtherBody("any"), ESME, service="2.5") == "I99"


# -- an 11.3 whose answer is lost


def lose(office: Office, share: float) -> None:
    """From now on so many answers to 11.3 are lost."""
    settings = dataclasses.replace(office.dsp.parts.settings, lost_responses=share)
    office.dsp.parts.settings = settings


def lost_activation(settings: DspSettings, *, suspended: bool = True) -> Office:
    """The ESME runs the new firmware; the DSP never heard so."""
    office = furnished(settings)
    if suspended:
        suspend(office)
    lose(office, 1.0)
    acknowledgement, result = office.send(ACTIVATE, ESME)
    assert result
    assert (acknowledgement, result.code) == ("I99", "E21")
    lose(office, 0.0)
    return office


@pytest.mark.rule(86)
def test_a_lost_11_3_response_leaves_the_device_suspended() -> None:
    office = lost_activation(BOTH_SWITCHES_ON)
    assert office.door.runs[ESME] == NEW
    assert (office.status(ESME), office.version(ESME)) == (Status.SUSPENDED, OLD)


@pytest.mark.rule(93)
def test_the_dsp_sends_no_11_3_again() -> None:
    office = lost_activation(BOTH_SWITCHES_ON)
    assert office.door.asked == [("11.3", ESME)]


@pytest.mark.rule(87, 93)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("suspended", [True, False])
def test_before_mp105_a_suppliers_second_11_3_leaves_the_smi_as_it_is(
    suspended: bool, times: int
) -> None:
    office = lost_activation(DspSettings(mp105=None), suspended=suspended)
    before = office.status(ESME)
    for _ in range(times):
        _, result = office.send(ACTIVATE, ESME)
        assert result
        assert result.body == FirmwareActivated(True, 0, "success", NEW), "it shows the version"
        assert office.rule() == 93
    assert (office.status(ESME), office.version(ESME)) == (before, OLD)
    assert office.told("N29") == []


@pytest.mark.rule(87)
def test_before_mp105_only_another_update_helps() -> None:
    office = lost_activation(DspSettings(mp105=None))
    assert office.receive(READ, ESME) == "E5"
    office.send(ACTIVATE, ESME)
    assert office.send(update(ESME)) == ("I99", None)
    office.send(ACTIVATE, ESME)
    assert (office.status(ESME), office.version(ESME)) == (Status.COMMISSIONED, NEW)


@pytest.mark.rule(93)
def test_an_11_3_after_one_that_got_nowhere_is_no_retry() -> None:
    office = furnished(DspSettings(mp105=None))
    office.door.fails[ESME] = ServiceRequestFailed(Outcome.NO_CONTACT, "the CH is off")
    office.send(ACTIVATE, ESME)
    office.door.fails.clear()
    office.send(ACTIVATE, ESME)
    assert office.version(ESME) == NEW


@pytest.mark.rule(93)
def test_an_11_3_after_one_that_may_have_come_through_is_a_retry() -> None:
    office = furnished(DspSettings(mp105=None))
    office.door.fails[ESME] = ServiceRequestFailed(Outcome.NO_CONTACT, "in the middle", begun=True)
    office.send(ACTIVATE, ESME)
    office.door.fails.clear()
    office.send(ACTIVATE, ESME)
    assert (office.version(ESME), office.rule()) == (OLD, 93)


@pytest.mark.rule(93)
def test_an_11_3_of_another_image_is_no_retry() -> None:
    """A retry is the same 11.3 once more."""
    office = lost_activation(DspSettings(mp105=None), suspended=False)
    office.send(ActivateFirmware(bytes(32)), ESME)
    assert office.version(ESME) == NEW


@pytest.mark.rule(87, 93)
def test_what_helps_one_device_leaves_the_other_ones_retry_a_retry() -> None:
    office = lost_activation(DspSettings(mp105=None), suspended=False)
    assert office.send(update(GSME)) == ("I99", None)
    office.send(ACTIVATE, ESME)
    assert (office.version(ESME), office.rule()) == (OLD, 93)


@pytest.mark.rule(90, 115)
def test_one_who_is_supplier_and_network_operator_is_told_once() -> None:
    office = furnished()
    device = office.dsp.smi.find(ESME)
    assert device
    both = dataclasses.replace(device, network_operator=device.supplier)
    note = DeviceStatusChanged(ESME, "DeviceRestored")
    office.dsp.parts.alert(RESTORED, note, both)
    assert office.told("N29") == [SUPPLIER]


@pytest.mark.rule(93)
def test_that_an_answer_was_lost_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    settings = DspSettings(mp105=None, lost_responses=1.0)
    furnished(settings, path).send(ACTIVATE, ESME)
    again = Office(DspSettings(mp105=None), path)
    again.send(ACTIVATE, ESME)
    assert (again.version(ESME), again.rule()) == (OLD, 93)


@pytest.mark.rule(88, 90, 111, 115)
def test_with_mp105_11_2_restores_the_device(office: Office) -> None:
    suspend(office)
    office.door.runs[ESME] = NEW
    acknowledgement, result = office.send(READ, ESME)
    assert acknowledgement == "I99"
    assert result is not None
    assert result.body == FirmwareVersionRead(NEW)
    assert (office.status(ESME), office.version(ESME)) == (Status.COMMISSIONED, NEW)
    assert office.told("N29") == [SUPPLIER, NETWORK]
    assert office.rule() == 88


@pytest.mark.rule(88)
def test_11_2_that_reads_the_withdrawn_version_restores_nothing(office: Office) -> None:
    suspend(office)
    office.send(READ, ESME)
    assert office.status(ESME) is Status.SUSPENDED
    assert office.told("N29") == []


@pytest.mark.rule(88, 91)
@pytest.mark.parametrize("body", [READ, ACTIVATE], ids=["11.2", "11.3"])
@pytest.mark.parametrize("status", [CplStatus.CANCELLED, CplStatus.EXPIRED, CplStatus.WITHDRAWN])
def test_what_is_off_the_cpl_restores_nothing(
    status: CplStatus, body: Body, office: Office
) -> None:
    suspend(office)
    found = office.dsp.smi.find(ESME)
    assert found
    office.dsp.withdraw(entry(found, NEW, IMAGE), status)
    office.door.runs[ESME] = NEW
    office.send(body, ESME)
    assert (office.status(ESME), office.version(ESME)) == (Status.SUSPENDED, NEW)
    assert office.told("N29") == []


@pytest.mark.rule(88, 91)
@pytest.mark.parametrize("body_of", [ReadFirmwareVersion, future_activation], ids=["11.2", "11.3"])
@pytest.mark.parametrize(("days", "restored"), [(9, True), (10, False)])
def test_a_version_whose_last_day_has_passed_restores_nothing(
    days: int, restored: bool, body_of: Callable[[datetime], Body], office: Office
) -> None:
    """Nobody has asked the DSP for anything since, so that the entry is not ended yet."""
    found = office.dsp.smi.find(GSME)
    assert found
    office.dsp.load([dataclasses.replace(entry(found, "NEW2"), expires=date(2026, 1, 10))])
    suspend(office, GSME)
    office.door.becomes = office.door.runs[GSME] = "NEW2"
    request = office.request(body_of(datetime(2026, 1, 1 + days, tzinfo=UTC)), GSME)
    assert office.dsp.receive(request).code == "I99"
    office.passed = timedelta(days=days)
    run(office.dsp.carry_out(request.id, lambda progress: None))
    assert office.status(GSME) is (Status.COMMISSIONED if restored else Status.SUSPENDED)
    assert office.told("N29") == ([SUPPLIER, NETWORK] if restored else [])


@pytest.mark.rule(85, 88)
@pytest.mark.parametrize(("seconds", "on"), [(-1, False), (0, True), (1, True)])
def test_mp105_begins_with_its_day(seconds: int, on: bool) -> None:
    office = furnished(DspSettings(mp105=date(2026, 3, 1)))
    suspend(office)
    office.door.runs[ESME] = NEW
    office.passed = timedelta(days=59, seconds=seconds)
    acknowledgement, _ = office.send(READ, ESME)
    assert acknowledgement == ("I99" if on else "E5")
    assert office.status(ESME) is (Status.COMMISSIONED if on else Status.SUSPENDED)


@pytest.mark.rule(89)
@pytest.mark.parametrize("before", [Status.COMMISSIONED, Status.INSTALLED_NOT_COMMISSIONED])
def test_the_status_before_the_suspension_comes_back(before: Status, office: Office) -> None:
    office.dsp.smi.set_status(ESME, before)
    suspend(office)
    office.door.runs[ESME] = NEW
    office.send(READ, ESME)
    assert office.status(ESME) is before


@pytest.mark.rule(91, 92, 94)
@pytest.mark.parametrize("suspended", [True, False])
def test_with_mp105_a_suppliers_second_11_3_aligns_the_smi(suspended: bool) -> None:
    office = lost_activation(BOTH_SWITCHES_ON, suspended=suspended)
    assert office.dsp.parts.lost == 1
    office.send(ACTIVATE, ESME)
    assert (office.status(ESME), office.version(ESME)) == (Status.COMMISSIONED, NEW)
    assert office.told("N29") == ([SUPPLIER, NETWORK] if suspended else [])
    assert office.rule() == (91 if suspended else 92)


@pytest.mark.rule(95, 98)
@pytest.mark.parametrize("lost", [False, True])
def test_an_answer_without_a_version_changes_nothing(lost: bool) -> None:
    office = lost_activation(BOTH_SWITCHES_ON) if lost else furnished()
    office.door.says_version = False
    if not lost:
        suspend(office)
    _, result = office.send(ACTIVATE, ESME)
    assert result is not None
    assert result.body == FirmwareActivated(True, 0, "success", None)
    assert (office.status(ESME), office.version(ESME)) == (Status.SUSPENDED, OLD)
    assert office.told("N29") == []
    assert office.rule() == (98 if lost else 95)
    office.send(READ, ESME)  # so the user sends 11.2
    assert (office.status(ESME), office.version(ESME)) == (Status.COMMISSIONED, NEW)


@pytest.mark.rule(100, 108, 151)
def test_the_version_of_a_ppmid_is_secmp0007s() -> None:
    office = furnished(BOTH_SWITCHES_OFF)
    assert office.receive(READ, PPMID) == "E11"
    assert office.rule() == 108
    assert office.receive(READ, ESME) == "I99"


@pytest.mark.rule(100)
@pytest.mark.parametrize("eui", [ESME, GSME])
def test_mp105_is_for_meters_without_secmp0007_too(eui: Eui) -> None:
    office = furnished(DspSettings(secmp0007=None))
    suspend(office, eui)
    office.door.runs[eui] = NEW
    office.send(READ, eui)
    assert (office.status(eui), office.version(eui)) == (Status.COMMISSIONED, NEW)


@pytest.mark.rule(100, 113)
@pytest.mark.parametrize("device_type", ["PPMID", "HCALCS"])
def test_with_secmp0007_11_2_restores_them_too(device_type: str) -> None:
    office = Office()
    found = device(PPMID, device_type)
    office.enrol(found)
    office.dsp.load([entry(found, NEW)])
    suspend(office, PPMID)
    office.door.runs[PPMID] = NEW
    office.send(READ, PPMID)
    assert office.status(PPMID) is Status.COMMISSIONED


@pytest.mark.rule(103, 104)
def test_11_2_to_the_gpf_does_not_restore_the_gsme_but_11_2_to_the_gsme_does(
    office: Office,
) -> None:
    suspend(office, GSME)
    office.door.runs[GPF] = office.door.runs[GSME] = NEW
    office.send(READ, GPF)
    assert (office.status(GSME), office.version(GSME)) == (Status.SUSPENDED, OLD)
    assert office.told("N29") == []
    assert office.rule() == 104
    office.send(READ, GSME)
    assert (office.status(GSME), office.version(GSME)) == (Status.COMMISSIONED, NEW)


@pytest.mark.rule(105)
@pytest.mark.parametrize(("mirror", "told"), [(OLD, []), (NEW, [SUPPLIER, NETWORK])])
def test_n52_if_the_gpf_says_another_gsme_version(
    mirror: str, told: list[Eui], office: Office
) -> None:
    office.door.runs[GPF] = mirror
    office.send(READ, GPF)
    assert office.told("N52") == told


@pytest.mark.rule(110)
def test_a_device_that_is_stuck_without_mp105_is_not_with_it() -> None:
    ends = []
    for mp105 in (None, DspSettings().mp105):
        office = furnished(DspSettings(mp105=mp105, lost_responses=1.0))
        suspend(office)
        office.send(ACTIVATE, ESME)
        office.send(READ, ESME)
        ends.append(office.status(ESME))
    assert ends == [Status.SUSPENDED, Status.COMMISSIONED]
