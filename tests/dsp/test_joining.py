"""12.2 and 8.11: how a device that was not migrated comes into the inventory and onto its HAN."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from desk import HUB, OLD, PPMID, READ, SUPPLIER, Office, furnished

from hanlab.dsp.joining import KNOWN, NOT_LISTED
from hanlab.dsp.smi import Status
from hanlab.duis.messages import DevicePreNotification, UpdateHanDeviceLog
from hanlab.eui import Eui

NEWCOMER = Eui.parse("00-DB-12-34-56-78-90-B4")
JOIN = UpdateHanDeviceLog(NEWCOMER)


@pytest.fixture
def office() -> Office:
    return furnished()


def notify(office: Office, eui: Eui = NEWCOMER, version: str | None = OLD) -> str:
    body = DevicePreNotification(eui, "Secure", "a PPMID", "PPMID", None, version)
    return office.receive(body, service="12.2")


def join(office: Office, body: UpdateHanDeviceLog = JOIN) -> str:
    return office.receive(body, HUB, service="8.11")


@pytest.mark.rule(24)
def test_a_device_that_is_there_goes_from_12_2_by_8_11_to_an_answer(office: Office) -> None:
    office.door.hubs[NEWCOMER] = HUB
    office.door.runs[NEWCOMER] = OLD
    assert notify(office) == "I99"
    assert office.status(NEWCOMER) == Status.PENDING
    assert office.receive(READ, NEWCOMER) == "E5"
    assert join(office) == "I99"
    assert office.status(NEWCOMER) == Status.COMMISSIONED
    assert office.rule() == 24
    code, result = office.send(READ, NEWCOMER)
    assert (code, result and result.code) == ("I99", "I0")


def test_a_device_that_is_not_there_yet_is_whitelisted_and_joins_later(office: Office) -> None:
    notify(office)
    assert join(office) == "I99"
    assert office.status(NEWCOMER) == Status.WHITELISTED
    office.door.hubs[NEWCOMER] = HUB
    assert join(office) == "I99"
    assert office.status(NEWCOMER) == Status.COMMISSIONED


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


def test_8_11_for_a_device_that_nobody_pre_notified(office: Office) -> None:
    assert join(office) == "E19"
    assert "12.2" in office.dsp.audit.read(1)[0].why


def test_8_11_does_not_bring_a_suspended_device_back(office: Office) -> None:
    office.dsp.smi.set_status(PPMID, Status.SUSPENDED)
    assert join(office, UpdateHanDeviceLog(PPMID)) == "I99"
    assert office.status(PPMID) == Status.SUSPENDED


def test_8_11_is_sent_to_the_ch(office: Office) -> None:
    notify(office)
    assert office.receive(JOIN, PPMID, service="8.11") == "E11"


@pytest.mark.parametrize(
    "body",
    [
        UpdateHanDeviceLog(NEWCOMER, add=False),
        UpdateHanDeviceLog(NEWCOMER, execution=datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_else_8_11_has_is_authorised_and_said_not_to_be_simulated(
    body: UpdateHanDeviceLog, office: Office
) -> None:
    office.door.hubs[NEWCOMER] = HUB
    notify(office)
    assert join(office, body) == "I99"
    assert office.status(NEWCOMER) == Status.PENDING
    assert office.told("N55") == [SUPPLIER]
