"""Rows of the rule table at the DSP's own seam: what is asked of the S1SP, what is written, what the SMI then says."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from pathlib import Path

import pytest
from desk import (
    ACTIVATE,
    BOTH_SWITCHES_ON,
    ESME,
    GPF,
    GSME,
    HUB,
    NETWORK,
    NEW,
    OLD,
    OTHER_HUB,
    OTHER_PPMID,
    PPMID,
    READ,
    SUPPLIER,
    Office,
    device,
    entry,
    furnished,
    suspend,
    update,
)

from hanlab.dsp.service_requests import SERVICE_REQUESTS
from hanlab.dsp.settings import DEFAULT_USERS, DspSettings, User
from hanlab.dsp.smi import SMETS1, SMETS2, SmiDevice, Status, read_inventory
from hanlab.duis.messages import Body, OtherBody, ReadInventory
from hanlab.duis.responses import Inventory, Response
from hanlab.errors import UsageError
from hanlab.eui import Eui

NEWCOMER = Eui.parse("00-DB-12-34-56-78-92-A4")


@pytest.mark.rule(13, 14)
@pytest.mark.parametrize("generation", [f"{SMETS1} {SMETS2}", "both", "", "SMETS3"])
@pytest.mark.parametrize("many", [False, True])
def test_no_record_is_of_two_generations_so_none_takes_a_command(
    many: bool, generation: str
) -> None:
    office = furnished()
    dual = device(NEWCOMER, "PPMID", generation=generation)
    with pytest.raises(UsageError, match="generation"):
        office.dsp.smi.add_many([dual]) if many else office.dsp.smi.add(dual)
    for send, service in ((READ, "11.2"), (ACTIVATE, "11.3")):
        assert office.receive(send, NEWCOMER) == "E19", service
    assert office.receive(update(NEWCOMER)) == "E110105"
    assert office.door.asked == []


@pytest.mark.rule(18)
@pytest.mark.parametrize("who", ["supplier", "network operator", "S1SP", "DSP", ""])
def test_whoever_is_no_manufacturer_lists_nothing(who: str) -> None:
    office = furnished()
    before, audited = office.dsp.cpl.everything(), office.dsp.audit.read(1)
    with pytest.raises(UsageError, match="rule 18"):
        office.dsp.load([entry(device(PPMID, "PPMID"), "IHDAE07")], who)
    assert office.dsp.cpl.everything() == before
    assert office.dsp.audit.read(1) == audited


@pytest.mark.rule(18)
def test_a_suppliers_11_1_lists_nothing_either() -> None:
    office = furnished()
    before = office.dsp.cpl.everything()
    assert office.receive(update(PPMID, version="IHDAE07")) == "E110101"
    assert office.dsp.cpl.everything() == before


@pytest.mark.rule(79, 80)
@pytest.mark.parametrize("service", sorted(SERVICE_REQUESTS))
def test_a_suspended_device_takes_what_is_critical_and_the_exceptions(service: str) -> None:
    """MP105's report names the exceptions; emergency credit is a switch of its own (rule 109)."""
    office = furnished(DspSettings(mp105=None, suspended_credit=True))
    suspend(office)
    request = SERVICE_REQUESTS[service]
    if request.non_device:
        return
    (variant,) = sorted(request.smets1)[:1]
    bodies: dict[str, Body] = {"11.2": READ, "11.3": ACTIVATE}
    body = bodies.get(service, OtherBody("any"))
    code = office.receive(body, ESME, service=service, variant=variant)
    if request.critical:
        assert (code, office.rule()) == ("I99", 79)
    elif service == "6.23":
        assert (code, office.rule()) == ("I99", 82)
    else:
        assert code == "E5"
    assert office.door.asked == []


@pytest.mark.rule(79)
def test_critical_are_those_that_duis_marks_so() -> None:
    assert {r for r, s in SERVICE_REQUESTS.items() if s.critical} == {
        "2.1", "2.5", "8.1.1", "8.7.1", "8.8.1", "11.3",
    }  # fmt: skip


@pytest.mark.rule(79)
def test_a_critical_request_goes_on_to_the_suspended_device() -> None:
    office = furnished()
    suspend(office)
    code, result = office.send(ACTIVATE, ESME)
    assert result
    assert (code, result.code) == ("I99", "I0")
    assert office.door.asked == [("11.3", ESME)]


def stuck(settings: DspSettings, generation: str = SMETS1) -> Office:
    """A Suspended ESME that runs the new firmware, which the DSP does not know; then 11.3 once more."""
    office = Office(dataclasses.replace(settings, lost_responses=1.0))
    found = device(ESME, "ESME", generation=generation)
    office.enrol(found)
    office.dsp.load([entry(found, NEW)])
    suspend(office)
    variant = 1 if generation == SMETS1 else 4
    office.send(ACTIVATE, ESME, variant=variant)
    office.dsp.parts.settings = settings
    office.send(ACTIVATE, ESME, variant=variant)
    return office


@pytest.mark.rule(99)
@pytest.mark.parametrize("on", [True, False])
def test_mp105_is_the_same_for_both_generations_by_either_way(on: bool) -> None:
    settings = DspSettings() if on else DspSettings(mp105=None)
    ends = []
    for generation in (SMETS1, SMETS2):
        by_11_3 = stuck(settings, generation)
        by_11_2 = Office(settings)
        found = device(ESME, "ESME", generation=generation)
        by_11_2.enrol(found)
        by_11_2.dsp.load([entry(found, NEW)])
        suspend(by_11_2)
        by_11_2.door.runs[ESME] = NEW
        code, _ = by_11_2.send(READ, ESME)
        ends.append(
            (
                code,
                *(
                    (o.status(ESME), o.version(ESME), o.told("N29"), o.rule())
                    for o in (by_11_3, by_11_2)
                ),
            )
        )
    assert ends[0] == ends[1]
    assert ends[0][0] == ("I99" if on else "E5")
    restored = Status.COMMISSIONED if on else Status.SUSPENDED
    assert [end[0] for end in ends[0][1:]] == [restored, restored]


def told_outside(office: Office) -> tuple[list[tuple[str, Eui]], list[Response]]:
    """What the S1SP was asked, and the responses (without DCC Alerts, which follow from the SMI)."""
    return office.door.asked, [r for r in office.written if r.service]


@pytest.mark.rule(106, 107)
def test_only_the_smi_is_another_with_mp105() -> None:
    """The same lost answer, the same second 11.3: S1SP and XML cannot tell, the inventory can."""
    on, off = stuck(DspSettings()), stuck(DspSettings(mp105=None))
    assert (on.status(ESME), off.status(ESME)) == (Status.COMMISSIONED, Status.SUSPENDED)
    assert (on.version(ESME), off.version(ESME)) == (NEW, OLD)
    assert told_outside(on) == told_outside(off)
    asked, written = told_outside(on)
    assert asked == [("11.3", ESME)] * 2
    assert [r.code for r in written] == ["E21", "I0"]


@pytest.mark.rule(116)
def test_an_installation_is_the_ch_with_all_its_devices_whoever_is_asked_for() -> None:
    office = furnished()
    for asked in (HUB, ESME, GSME, GPF, PPMID):
        answer = office.dsp.receive(office.request(ReadInventory(asked), service="8.2"))
        assert isinstance(answer.body, Inventory)
        found = [d.device for d in answer.body.devices]
        assert found[0] == HUB, "the CH first"
        assert set(found) == {HUB, ESME, GSME, GPF, PPMID}
    answer = office.dsp.receive(office.request(ReadInventory(OTHER_PPMID), service="8.2"))
    assert isinstance(answer.body, Inventory)
    assert [d.device for d in answer.body.devices] == [OTHER_HUB, OTHER_PPMID]


@pytest.mark.rule(117, 118)
@pytest.mark.parametrize(("upgradable", "code"), [("true", "I99"), ("false", "E110105")])
def test_a_consumer_device_takes_firmware_if_it_can_be_upgraded(
    upgradable: str, code: str, tmp_path: Path
) -> None:
    path = tmp_path / "inventory.csv"
    path.write_text(
        "eui,upgradable,manufacturer,model,version,supplier,hub\n"
        f"{NEWCOMER},{upgradable},Secure,a PPMID,{OLD},{SUPPLIER},{HUB}\n"
    )
    office = furnished()
    office.dsp.smi.add(*read_inventory(path))
    assert office.receive(update(NEWCOMER)) == code


@pytest.mark.rule(146)
def test_a_withdrawal_among_hundreds_of_models_finds_its_own() -> None:
    office = Office(BOTH_SWITCHES_ON)
    models = 400
    one_each: list[SmiDevice] = [
        device(Eui(n.to_bytes(8, "big")), "ESME", model=f"model {n}") for n in range(1, models + 1)
    ]
    assert office.dsp.smi.add_many(one_each) == models
    office.dsp.load([entry(d, version) for d in one_each for version in (OLD, NEW)])
    assert office.dsp.withdraw(entry(one_each[123], OLD)) == 1
    assert office.dsp.smi.count(Status.SUSPENDED) == 1
    assert office.status(one_each[123].eui) is Status.SUSPENDED
    office.door.runs[one_each[123].eui] = NEW
    office.send(READ, one_each[123].eui)
    assert office.dsp.smi.count(Status.COMMISSIONED) == models


def test_a_switch_holds_from_its_day_on() -> None:
    later = DspSettings(mp105=date(2026, 1, 2))
    office = furnished(later)
    suspend(office)
    assert office.receive(READ, ESME) == "E5"
    office.passed = timedelta(days=1)
    assert office.receive(READ, ESME) == "I99"


@pytest.mark.rule(115)
def test_a_role_answers_for_the_requests_that_it_may_send_only() -> None:
    """Who is network operator of a device, and a supplier of others, sends it no supplier's request."""
    both = User("both", NETWORK, frozenset({"IS", "ED"}))
    office = furnished(DspSettings(users=(*DEFAULT_USERS[:2], both)))
    assert office.receive(ACTIVATE, ESME, user=NETWORK) == "E4"
    assert office.receive(READ, ESME, user=NETWORK) == "I99", "11.2 is a network operator's as well"


@pytest.mark.rule(87)
def test_before_mp105_an_11_2_corrects_no_version() -> None:
    office = furnished(DspSettings(mp105=None))
    office.door.runs[ESME] = NEW
    code, result = office.send(READ, ESME)
    assert result
    assert (code, result.code, office.version(ESME), office.rule()) == ("I99", "I0", OLD, 87)


@pytest.mark.rule(100)
def test_mp105_alone_is_for_meters() -> None:
    office = furnished(DspSettings(secmp0007=None))
    office.door.runs[HUB] = office.door.runs[ESME] = NEW
    office.send(READ, HUB)
    assert (office.version(HUB), office.rule()) == ("HUB3F0X", 100)
    office.send(READ, ESME)
    assert office.version(ESME) == NEW


@pytest.mark.rule(88)
def test_what_is_listed_again_does_not_restore_by_itself() -> None:
    """Only new firmware ends a suspension, though the old one is good again."""
    office = furnished()
    suspend(office)
    found = office.dsp.smi.find(ESME)
    assert found
    office.dsp.relist(entry(found, OLD))
    office.send(READ, ESME)
    assert (office.status(ESME), office.told("N29")) == (Status.SUSPENDED, [])
