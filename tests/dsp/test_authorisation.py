"""Which response code refuses a Service Request, and which check comes first."""

from __future__ import annotations

import dataclasses

import pytest
from desk import (
    ACTIVATE,
    ESME,
    GPF,
    NETWORK,
    OTHER_SUPPLIER,
    PPMID,
    READ,
    SUPPLIER,
    Office,
    device,
    furnished,
    run,
    update,
)

from hanlab.dsp.counters import MAX_STEP, CounterError, ReplayError
from hanlab.dsp.service_requests import WebService
from hanlab.dsp.settings import DSP, DspSettings, User
from hanlab.dsp.smi import SMETS2, Status
from hanlab.duis.messages import OtherBody, ReadInventory, TopUpDevice
from hanlab.duis.responses import Inventory
from hanlab.errors import UsageError
from hanlab.eui import Eui

NOBODY = Eui.parse("90-B3-D5-1F-30-09-00-00")


@pytest.fixture
def office() -> Office:
    return furnished()


@pytest.mark.rule(39)
def test_nothing_reaches_the_s1sp_without_the_dsps_checks(office: Office) -> None:
    assert office.send(READ, NOBODY) == ("E19", None)
    assert office.send(update(NOBODY)) == ("E110105", None)
    assert office.door.asked == []


def test_e1_for_somebody_who_is_no_user(office: Office) -> None:
    assert office.receive(READ, ESME, user=NOBODY) == "E1"


def test_e2_for_a_role_that_may_not_send_it(office: Office) -> None:
    assert office.receive(ACTIVATE, ESME, user=NETWORK) == "E2"


def test_e2_for_a_service_request_that_is_not_offered(office: Office) -> None:
    assert office.receive(OtherBody("UpdateTariff"), ESME, service="1.1.1") == "E2"


def test_e3_for_a_user_who_is_not_active() -> None:
    users = (User("supplier", SUPPLIER, frozenset({"IS"}), active=False),)
    office = furnished(DspSettings(users=users))
    assert office.receive(READ, ESME) == "E3"


@pytest.mark.rule(115)
def test_e4_for_a_supplier_who_does_not_answer_for_the_device(office: Office) -> None:
    assert office.receive(READ, ESME, user=OTHER_SUPPLIER) == "E4"
    assert office.receive(READ, ESME, user=NETWORK) == "I99"


@pytest.mark.parametrize("status", [Status.PENDING, Status.DECOMMISSIONED, Status.WITHDRAWN])
def test_e5_for_a_status_that_takes_no_command(status: Status, office: Office) -> None:
    office.dsp.smi.set_status(ESME, status)
    assert office.receive(READ, ESME) == "E5"


@pytest.mark.rule(118)
def test_e11_for_a_device_type_that_cannot_do_it() -> None:
    office = Office()
    office.enrol(device(PPMID, "IHD"), device(GPF, "GPF"))
    assert office.receive(ACTIVATE, PPMID) == "E11"
    assert office.rule() == 118
    assert office.receive(ACTIVATE, GPF) == "E11"


@pytest.mark.parametrize(
    ("generation", "variant", "code"),
    [("SMETS1", 1, "I99"), ("SMETS1", 4, "E12"), (SMETS2, 1, "E12"), (SMETS2, 5, "I99")],
)
def test_e12_for_a_command_variant_of_the_other_generation(
    generation: str, variant: int, code: str
) -> None:
    office = Office()
    office.enrol(device(ESME, "ESME", generation=generation))
    assert office.receive(ACTIVATE, ESME, variant=variant) == code


@pytest.mark.parametrize(("service", "code"), [("S", "I99"), ("D", "E13"), ("T", "E13")])
def test_e13_for_the_wrong_web_service(service: str, code: str, office: Office) -> None:
    request = office.request(READ, ESME)
    assert office.dsp.receive(request, WebService(service)).code == code


def test_e19_for_a_non_device_request_that_is_not_sent_to_the_dsp(office: Office) -> None:
    assert office.receive(update(PPMID), PPMID, variant=8) == "E19"


def test_the_first_check_decides(office: Office) -> None:
    office.dsp.smi.set_status(ESME, Status.PENDING)
    wrong_all_over = {"user": OTHER_SUPPLIER, "variant": 5}
    assert office.receive(TopUpDevice("1"), ESME, service="2.2", **wrong_all_over) == "E4"
    assert office.receive(TopUpDevice("1"), ESME, service="2.2", variant=5) == "E5"


@pytest.mark.parametrize("step", [0, -1])
def test_a_counter_that_does_not_grow_is_a_replay(step: int, office: Office) -> None:
    request = office.request(READ, ESME, counter=1000)
    assert office.dsp.receive(request).code == "I99"
    again = dataclasses.replace(request, id=dataclasses.replace(request.id, counter=1000 + step))
    with pytest.raises(ReplayError, match="1000"):
        office.dsp.receive(again)
    assert len(office.dsp.unfinished()) == 1


def test_a_step_is_as_long_as_it_may_be_and_no_longer(office: Office) -> None:
    assert office.receive(READ, ESME, counter=MAX_STEP) == "I99"
    with pytest.raises(CounterError, match=str(MAX_STEP)):
        office.receive(READ, ESME, counter=2 * MAX_STEP + 1)
    assert office.receive(READ, ESME, counter=2 * MAX_STEP) == "I99"


@pytest.mark.parametrize("last", [2**64 - 1, 2**64 - 2])
def test_a_user_who_has_no_counter_left_is_told_and_an_operator_helps(
    last: int, office: Office
) -> None:
    office.dsp.counters.put(SUPPLIER, last)
    if last == 2**64 - 2:
        assert office.receive(READ, ESME) == "I99"
    with pytest.raises(CounterError, match="reset-counter"):
        office.dsp.next_counter(SUPPLIER)
    with pytest.raises(ReplayError, match="reset-counter"):
        office.receive(READ, ESME, counter=1)
    assert office.dsp.reset_counter(SUPPLIER, 41) == 2**64 - 1
    (entry,) = office.dsp.audit.read(1)
    assert (entry.actor, entry.action) == ("operator", "counter reset")
    assert str(2**64 - 1) in entry.why
    assert office.dsp.next_counter(SUPPLIER) == 42
    assert office.receive(READ, ESME, counter=42) == "I99"


def test_after_a_reset_a_request_may_have_the_id_of_one_that_has_ended(office: Office) -> None:
    """And not of one that is pending: that would be two with one answer."""
    ended, pending = office.request(READ, ESME, counter=1), office.request(READ, ESME, counter=2)
    assert office.dsp.receive(ended).code == "I99"
    run(office.dsp.carry_out(ended.id, lambda _: None))
    assert office.dsp.receive(pending).code == "I99"
    office.dsp.reset_counter(SUPPLIER)
    assert office.dsp.receive(ended).code == "I99"
    assert office.dsp.unfinished() == [pending.id, ended.id]
    with pytest.raises(ReplayError, match="is pending"):
        office.dsp.receive(pending)
    assert office.dsp.counters.last(SUPPLIER) == 1
    assert office.dsp.next_counter(SUPPLIER) == 3
    assert (answer := run(office.dsp.carry_out(ended.id, lambda _: None)))
    assert answer.code == "I0"
    run(office.dsp.carry_out(pending.id, lambda _: None))
    assert office.dsp.receive(pending).code == "I99"


@pytest.mark.parametrize("last", [-1, 2**64 - 1, 10**30])
def test_a_counter_that_nobody_can_go_on_from_is_not_set(last: int, office: Office) -> None:
    with pytest.raises(UsageError, match="no counter to go on from"):
        office.dsp.reset_counter(SUPPLIER, last)


def test_of_a_strangers_request_nothing_is_kept(office: Office) -> None:
    before = list(office.dsp.parts.database.sql.iterdump())
    assert office.receive(READ, ESME, user=NOBODY) == "E1"
    assert list(office.dsp.parts.database.sql.iterdump()) == before


@pytest.mark.rule(112)
def test_read_inventory_shows_the_han_with_status_and_version(office: Office) -> None:
    office.dsp.smi.set_status(ESME, Status.SUSPENDED)
    response = office.dsp.receive(office.request(ReadInventory(PPMID), service="8.2"))
    assert response.code == "I0"
    assert isinstance(response.body, Inventory)
    seen = {d.device_type: (d.status, d.firmware_version) for d in response.body.devices}
    assert seen["ESME"] == ("Suspended", "IHDAE05")
    assert list(seen) == ["CHF", "ESME", "GSME", "GPF", "PPMID"]


def test_read_inventory_of_nobody(office: Office) -> None:
    request = office.request(ReadInventory(NOBODY), DSP, service="8.2")
    assert office.dsp.receive(request).code == "E19"
