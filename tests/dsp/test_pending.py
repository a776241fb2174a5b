"""What was accepted and has not ended is met first, in its order, and never undoes what is newer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import (
    ACTIVATE,
    ESME,
    GSME,
    HUB,
    NETWORK,
    NEW,
    OTHER_HUB,
    OTHER_PPMID,
    PPMID,
    READ,
    SUPPLIER,
    Office,
    device,
    furnished,
    run,
    update,
)

from hanlab.dsp.parts import Notice
from hanlab.dsp.settings import DEFAULT_SETTINGS, DSP, DspSettings
from hanlab.dsp.smi import Status
from hanlab.duis.messages import (
    CANCELLED,
    ActivateFirmware,
    Body,
    ReadFirmwareVersion,
    Request,
    RequestId,
    UpdateHanDeviceLog,
)
from hanlab.duis.responses import UpdateFirmwareWarning
from hanlab.errors import HanlabError
from hanlab.eui import Eui

OLDER, NEWER = bytes(31) + b"\6", bytes(31) + b"\7"
OTHER = next(u for u in DEFAULT_SETTINGS.users if u.name == "other-supplier")
THIRD = Eui.parse("00-DB-12-34-56-78-91-A5")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY, MARCH = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


class Killed:
    """An office whose process is gone, and the next one on the same database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.office = furnished(path=path)
        self.notices: list[Notice] = []
        self.hashes: list[bytes] = []

    def again(self) -> Office:
        """A `kill -9`, and the next process."""
        self.office.database.close()
        self.office = later = Office(path=self.path)
        self.notices.clear()
        later.dsp.parts.notice = self.notices.append
        true_activate = later.door.activate_firmware

        async def activate(hash_: bytes, device: Eui, report: Any) -> Any:
            self.hashes.append(hash_)
            return await true_activate(hash_, device, report)

        later.door.activate_firmware = activate  # type: ignore[method-assign]  # that door alone
        return later

    def accept(self, body: Body, to: Eui = DSP) -> Request:
        request = self.office.request(body, to)
        assert self.office.dsp.receive(request).code == "I99"
        return request

    def ends(self) -> list[tuple[RequestId, str]]:
        return [(n.request, n.end) for n in self.notices if n.end != "begins"]


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    return Killed(tmp_path / "dsp.sqlite")


def test_a_newer_11_3_supersedes_the_one_that_a_killed_command_left(killed: Killed) -> None:
    """6 was to be activated, and the command killed; 7 was activated: nothing goes back to 6."""
    older = killed.accept(ActivateFirmware(OLDER), PPMID)
    office = killed.again()
    assert office.send(ActivateFirmware(NEWER), PPMID)[0] == "I99"
    assert killed.ends() == [(older.id, "superseded")]
    assert killed.hashes == [NEWER]
    office = killed.again()
    assert office.dsp.unfinished() == []
    run(office.dsp.carry_out_due())
    run(office.dsp.carry_out(older.id, lambda progress: None))
    assert killed.hashes == [NEWER]
    audited = [e for e in office.dsp.audit.read() if e.code == "superseded"]
    assert [(e.actor, e.action) for e in audited] == [("DSP", "11.3")]
    assert str(older.id) in audited[0].why
    assert office.told("N55") == [SUPPLIER]


def test_what_is_pending_is_met_first_in_the_order_in_which_it_falls_due(killed: Killed) -> None:
    first = killed.accept(ReadFirmwareVersion(MARCH), ESME)
    second = killed.accept(update(ESME))
    third = killed.accept(ActivateFirmware(OLDER, FEBRUARY), PPMID)
    office = killed.again()
    office.passed = MARCH - NEW_YEAR + timedelta(seconds=1)
    assert office.dsp.unfinished() == [second.id, third.id, first.id]
    office.send(READ, PPMID)
    assert office.door.asked == [("11.1", ESME), ("11.3", PPMID), ("11.2", ESME), ("11.2", PPMID)]
    assert killed.ends() == [(second.id, "done"), (third.id, "I0"), (first.id, "I0")]


def test_a_request_with_a_later_date_does_not_overtake_one_that_is_due_before_it(
    killed: Killed,
) -> None:
    earlier = killed.accept(ActivateFirmware(OLDER, FEBRUARY), PPMID)
    office = killed.again()
    office.send(ReadFirmwareVersion(MARCH), ESME)
    assert office.door.asked == [("11.3", PPMID), ("11.2", ESME)]
    assert killed.ends() == [(earlier.id, "I0")]


def test_the_same_in_one_process(killed: Killed) -> None:
    office = killed.again()
    office.receive(ActivateFirmware(OLDER, FEBRUARY), PPMID)
    office.send(ReadFirmwareVersion(MARCH), ESME)
    assert office.door.asked == [("11.3", PPMID), ("11.2", ESME)]


@pytest.mark.parametrize(
    ("older", "newer", "carried_out"),
    [
        (None, None, [NEWER]),
        (FEBRUARY, None, [NEWER]),
        (FEBRUARY, FEBRUARY, [NEWER]),
        (MARCH, FEBRUARY, [NEWER]),
        (FEBRUARY, MARCH, [OLDER, NEWER]),
        (None, MARCH, [OLDER, NEWER]),
    ],
)
def test_which_11_3_supersedes_which(
    older: datetime | None, newer: datetime | None, carried_out: list[bytes], killed: Killed
) -> None:
    killed.office.receive(ActivateFirmware(OLDER, older), PPMID)
    office = killed.again()
    office.passed = timedelta(hours=1)
    office.send(ActivateFirmware(NEWER, newer), PPMID)
    office.passed = timedelta(days=365)
    run(office.dsp.carry_out_due())
    assert killed.hashes == carried_out
    assert office.dsp.unfinished() == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ((ActivateFirmware(OLDER), PPMID), (ActivateFirmware(NEWER), ESME)),
        ((READ, PPMID), (READ, PPMID)),
        ((ActivateFirmware(OLDER), PPMID), (READ, PPMID)),
    ],
)
def test_what_supersedes_nothing(older: Any, newer: Any, killed: Killed) -> None:
    killed.office.receive(*older)
    office = killed.again()
    office.send(*newer)
    assert len(office.door.asked) == 2
    assert [end for _, end in killed.ends()] == ["I0"]


def test_a_newer_11_1_takes_its_devices_off_the_older_ones_list(killed: Killed) -> None:
    older = killed.accept(update(PPMID, ESME))
    office = killed.again()
    office.send(update(PPMID))
    assert killed.ends() == [(older.id, "superseded"), (older.id, "done")]
    assert office.door.asked == [("11.1", ESME), ("11.1", PPMID)]
    assert office.database.sql.execute("SELECT count(*) FROM images").fetchone() == (0,)


def test_a_refused_request_supersedes_nothing(killed: Killed) -> None:
    older = killed.accept(ActivateFirmware(OLDER), PPMID)
    office = killed.again()
    assert office.receive(ACTIVATE, PPMID, variant=4) == "E12"
    assert office.dsp.unfinished() == [older.id]


def test_what_has_begun_is_not_pulled_back(killed: Killed, monkeypatch: pytest.MonkeyPatch) -> None:
    office = killed.again()
    begun = office.request(ActivateFirmware(OLDER), PPMID)
    office.dsp.receive(begun)
    true_activate = office.door.activate_firmware

    async def while_it_runs(hash_: bytes, device: Eui, report: Any) -> Any:
        assert office.receive(ActivateFirmware(NEWER), PPMID) == "I99"
        return await true_activate(hash_, device, report)

    monkeypatch.setattr(office.door, "activate_firmware", while_it_runs)
    response = run(office.dsp.carry_out(begun.id, lambda progress: None))
    assert response.code == "I0"
    assert killed.ends() == []


def test_what_another_process_carries_out_is_not_pulled_back(killed: Killed) -> None:
    """As `hanlab requests cancel` and `hanlab inventory --hand-over` beside `hanlab serve`."""
    office = killed.again()
    begun = killed.accept(ActivateFirmware(OLDER, FEBRUARY), PPMID)
    waits = killed.accept(ActivateFirmware(NEWER, MARCH), ESME)
    beside = Office(path=killed.path, elsewhere=lambda: True)
    true_activate = office.door.activate_firmware

    async def while_it_runs(hash_: bytes, device: Eui, report: Any) -> Any:
        assert beside.dsp.under_way() == {begun.id}
        assert not beside.dsp.cancel(begun.id)
        beside.dsp.hand_over(PPMID, OTHER)
        assert beside.dsp.cancel(waits.id)
        return await true_activate(hash_, device, report)

    office.door.activate_firmware = while_it_runs  # type: ignore[method-assign]
    office.passed = FEBRUARY - NEW_YEAR
    response = run(office.dsp.carry_out(begun.id, lambda progress: None))
    assert response.code == "I0"
    answers = [d.code for d in office.dsp.deliveries.last() if d.request == str(begun.id)]
    assert answers == ["I0"]
    assert office.dsp.unfinished() == []
    beside.database.close()


def test_what_was_being_carried_out_when_its_process_was_killed_can_be_cancelled(
    killed: Killed,
) -> None:
    """Beside nobody, and beside the next process, which has not begun it."""
    requests = [killed.accept(ActivateFirmware(OLDER), device) for device in (PPMID, ESME)]
    for request in requests:
        killed.office.dsp.parts.accepted.begin(request.id)
    alone = Office(path=killed.path, elsewhere=lambda: False)
    assert alone.dsp.cancel(requests[0].id)
    alone.database.close()
    killed.again()
    beside = Office(path=killed.path, elsewhere=lambda: True)
    assert beside.dsp.cancel(requests[1].id)
    beside.database.close()


def test_what_failed_without_an_answer_is_not_under_way_any_more(killed: Killed) -> None:
    office = killed.again()
    request = killed.accept(ActivateFirmware(OLDER), PPMID)

    async def fails(hash_: bytes, device: Eui, report: Any) -> Any:
        raise HanlabError("the disk is full", next_step="")

    office.door.activate_firmware = fails  # type: ignore[method-assign]
    with pytest.raises(HanlabError, match="disk is full"):
        run(office.dsp.carry_out(request.id, lambda progress: None))
    beside = Office(path=killed.path, elsewhere=lambda: True)
    assert beside.dsp.cancel(request.id)
    beside.database.close()


def test_an_11_3_that_has_begun_is_not_cancelled_by_duis(killed: Killed) -> None:
    office = killed.again()
    begun = killed.accept(ActivateFirmware(OLDER, FEBRUARY), PPMID)
    true_activate = office.door.activate_firmware

    async def while_it_runs(hash_: bytes, device: Eui, report: Any) -> Any:
        assert office.receive(ActivateFirmware(OLDER, CANCELLED), PPMID) == "I99"
        assert office.dsp.audit.read(1)[0].why == "0 future-dated 11.3 cancelled"
        assert office.dsp.unfinished() == [begun.id]
        return await true_activate(hash_, device, report)

    office.door.activate_firmware = while_it_runs  # type: ignore[method-assign]
    office.passed = FEBRUARY - NEW_YEAR
    assert run(office.dsp.carry_out(begun.id, lambda progress: None)).code == "I0"


def test_an_11_1_that_is_cancelled_keeps_nobody_off_the_han(killed: Killed) -> None:
    """An update that never begins is none in progress (rule 37)."""
    office = killed.office
    request = killed.accept(update(PPMID))
    assert office.receive(update(PPMID)) == "E110105"
    assert office.dsp.cancel(request.id)
    assert office.receive(update(PPMID)) == "I99"


def test_cancelled_by_whoever_runs_the_lab(killed: Killed) -> None:
    request = killed.accept(ActivateFirmware(OLDER, FEBRUARY), PPMID)
    office = killed.again()
    assert office.dsp.cancel(request.id)
    assert not office.dsp.cancel(request.id)
    assert office.dsp.pending() == []
    assert office.dsp.audit.read(1)[0].code == "cancelled"
    assert office.told("N55") == [SUPPLIER]


def test_a_defect_in_a_pending_request_does_not_stop_the_next_one(
    killed: Killed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = killed.accept(ActivateFirmware(OLDER), PPMID)
    office = killed.again()

    async def defect(hash_: bytes, device: Eui, report: Any) -> Any:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(office.door, "activate_firmware", defect)
    _, response = office.send(READ, ESME)
    assert response
    assert response.code == "I0"
    assert "waits for the next start" in caplog.text
    assert office.dsp.unfinished() == [older.id]


def test_a_request_of_an_earlier_hanlab_without_its_time_comes_first(killed: Killed) -> None:
    dated = killed.accept(ReadFirmwareVersion(FEBRUARY), ESME)
    undated = killed.accept(READ, PPMID)
    killed.office.database.sql.execute("UPDATE requests SET at = NULL")
    assert killed.again().dsp.unfinished() == [undated.id, dated.id]


def test_response_times_never_go_back(killed: Killed) -> None:
    """Also after a `kill -9`: each decision leaves its time behind."""
    killed.office.passed = timedelta(hours=1)
    killed.office.receive(READ, ESME)
    said = killed.office.dsp.parts.clock()
    office = killed.again()
    assert office.dsp.smi.last_time() == said
    office.dsp.remember_time()  # this one's clock is an hour behind
    assert office.dsp.smi.last_time() == said


def test_pending_says_what_it_is(killed: Killed) -> None:
    killed.office.passed = timedelta(minutes=1)
    killed.office.receive(ActivateFirmware(OLDER, FEBRUARY), PPMID)
    (pending,) = killed.again().dsp.pending()
    assert (pending.service, pending.devices, pending.due) == ("11.3", (PPMID,), FEBRUARY)
    assert pending.at == NEW_YEAR + timedelta(minutes=1)


# -- a change of supplier meanwhile


@pytest.mark.rule(150)
@pytest.mark.parametrize("killed_before", [False, True])
def test_a_pending_11_3_of_the_old_supplier_gets_e4(killed_before: bool, killed: Killed) -> None:
    pending = killed.accept(ActivateFirmware(OLDER, FEBRUARY), PPMID)
    if killed_before:
        killed.again()
    office = killed.office
    office.dsp.parts.notice = killed.notices.append
    office.dsp.hand_over(PPMID, OTHER)
    assert killed.ends() == [(pending.id, "E4")]
    assert office.told("E4") == [SUPPLIER]
    assert office.rule() == 150
    assert office.dsp.unfinished() == []
    office.passed = timedelta(days=90)
    run(office.dsp.carry_out(pending.id, lambda progress: None))
    assert office.door.asked == []


@pytest.mark.rule(150)
def test_a_pending_11_1_of_the_old_supplier_goes_on_for_what_is_still_his(killed: Killed) -> None:
    pending = killed.accept(update(ESME, PPMID))
    office = killed.again()
    office.dsp.hand_over(PPMID, OTHER)
    assert killed.ends() == [(pending.id, "E4")]
    assert office.told("N55") == [SUPPLIER]
    run(office.dsp.carry_out_due())
    assert office.door.asked == [("11.1", ESME)]


@pytest.mark.rule(150)
def test_a_change_of_supplier_leaves_what_others_have_pending(killed: Killed) -> None:
    other_device = killed.accept(ActivateFirmware(OLDER, FEBRUARY), ESME)
    operators = killed.office.request(ReadFirmwareVersion(FEBRUARY), PPMID, user=NETWORK)
    assert killed.office.dsp.receive(operators).code == "I99"
    left = killed.office.dsp.unfinished()
    assert set(left) == {other_device.id, operators.id}
    killed.office.dsp.hand_over(PPMID, OTHER)
    assert killed.office.dsp.unfinished() == left
    assert killed.office.told("E4") == []


@pytest.mark.rule(150)
def test_what_is_under_way_at_a_change_of_supplier_ends_as_it_would(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = killed.office
    true_activate = office.door.activate_firmware

    async def handed_over_meanwhile(hash_: bytes, device: Eui, report: Any) -> Any:
        office.dsp.hand_over(PPMID, OTHER)
        return await true_activate(hash_, device, report)

    monkeypatch.setattr(office.door, "activate_firmware", handed_over_meanwhile)
    _, result = office.send(ACTIVATE, PPMID)
    assert result
    assert result.code == "I0"
    assert office.told("E4") == []


# -- authorised again when it falls due


@pytest.mark.rule(80, 84)
@pytest.mark.parametrize(("mp105", "code"), [(True, "I0"), (False, "E5")])
def test_a_future_dated_11_2_to_a_device_that_is_suspended_meanwhile(
    mp105: bool, code: str
) -> None:
    office = furnished(replace(DspSettings(), mp105=NEW_YEAR.date() if mp105 else None))
    request = office.request(ReadFirmwareVersion(FEBRUARY), ESME)
    assert office.dsp.receive(request).code == "I99"
    found = office.dsp.smi.find(ESME)
    assert found
    entry = office.dsp.cpl.entry_of(found)
    assert entry
    office.dsp.withdraw(entry)
    office.passed = timedelta(days=31)
    result = run(office.dsp.carry_out(request.id, lambda progress: None))
    assert result.code == code
    assert office.told(code) == [SUPPLIER]
    assert office.door.asked == ([("11.2", ESME)] if mp105 else [])
    assert office.rule() == (88 if mp105 else 84)
    assert office.dsp.unfinished() == []


@pytest.mark.rule(79)
def test_a_future_dated_11_3_to_a_device_that_is_suspended_meanwhile_is_critical() -> None:
    office = furnished()
    request = office.request(ActivateFirmware(OLDER, FEBRUARY), ESME)
    office.dsp.receive(request)
    office.dsp.smi.set_status(ESME, Status.SUSPENDED)
    office.passed = timedelta(days=31)
    assert run(office.dsp.carry_out(request.id, lambda progress: None)).code == "I0"


# -- what an earlier command has left is authorised again by whoever carries it out


def withdraw(office: Office, *devices: Eui) -> None:
    """Take the new version off the CPL, for the products that these devices are."""
    found = [office.dsp.smi.find(device) for device in devices]
    models = {d.model for d in found if d}
    for entry in office.dsp.cpl.of_version(NEW):
        if entry.model in models:
            office.dsp.withdraw(entry)


@pytest.mark.rule(19)
def test_an_11_1_whose_version_was_withdrawn_meanwhile_is_refused(killed: Killed) -> None:
    left = killed.accept(update(PPMID))
    office = killed.again()
    withdraw(office, PPMID, ESME, GSME)
    office.send(READ, ESME)
    assert office.door.asked == [("11.2", ESME)]
    assert killed.ends() == [(left.id, "E110101")]
    assert office.told("E110101") == [SUPPLIER]
    refused = [e for e in office.dsp.audit.read() if e.code == "E110101"]
    assert [(e.actor, e.action, e.rule) for e in refused] == [("DSP", "11.1", 19)]
    assert office.dsp.unfinished() == []


def test_an_11_1_goes_on_for_those_who_may_still_have_it(killed: Killed) -> None:
    """Those who may not are in the lists of its answer, also after another kill."""
    unknown = Eui.parse("00-DB-12-34-56-78-90-FF")
    killed.accept(update(PPMID, unknown, ESME, GSME))
    office = killed.again()
    withdraw(office, PPMID)
    office.dsp.smi.set_status(GSME, Status.PENDING)

    async def dies(image: Any, device: Eui, report: Any) -> Any:
        raise KeyboardInterrupt

    office.door.update_firmware = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(office.dsp.carry_out_due())
    office = killed.again()
    office.dsp.smi.set_status(GSME, Status.COMMISSIONED)  # too late: the audit log has it already
    run(office.dsp.carry_out_due())
    assert office.door.asked == [("11.1", ESME)]
    assert office.told("W110101") == [SUPPLIER]
    assert office.written[-1].body == UpdateFirmwareWarning(
        invalid=(unknown,), not_commissioned=(GSME,), not_applicable=(PPMID,)
    )
    audited = {e.subject: e.why for e in office.dsp.audit.read() if e.code == "W110101"}
    assert set(audited) == {str(PPMID), str(GSME)}
    assert "no active IHDAE06" in audited[str(PPMID)]


@pytest.mark.parametrize(
    ("left", "to"),
    [
        (READ, ESME),
        (ActivateFirmware(OLDER), ESME),
        (UpdateHanDeviceLog(ESME, True, 300, bytes(16)), HUB),
    ],
)
def test_what_was_left_for_a_device_that_is_decommissioned_meanwhile_is_refused(
    left: Body, to: Eui, killed: Killed
) -> None:
    request = killed.accept(left, to)
    office = killed.again()
    office.dsp.smi.move(ESME, Status.DECOMMISSIONED, None)
    run(office.dsp.carry_out_due())
    assert office.door.asked == []
    assert killed.ends() == [(request.id, "E5")]
    assert office.told("E5") == [SUPPLIER]


def test_what_a_user_left_who_has_lost_its_role_is_refused(killed: Killed) -> None:
    request = killed.accept(ActivateFirmware(OLDER), ESME)
    office = killed.again()
    settings = office.dsp.settings
    no_supplier = tuple(replace(u, roles=frozenset({"OU"})) for u in settings.users)
    office.dsp.parts.settings = replace(settings, users=no_supplier)
    run(office.dsp.carry_out_due())
    assert office.door.asked == []
    assert killed.ends() == [(request.id, "E2")]


# -- what is no more pending keeps nobody off a HAN


def test_an_11_1_that_another_process_cancels_keeps_nobody_off_the_han(killed: Killed) -> None:
    """As `hanlab requests cancel` beside `hanlab serve`."""
    office = killed.again()
    request = killed.accept(update(PPMID))
    assert office.receive(update(ESME)) == "E110105"
    beside = Office(path=killed.path, elsewhere=lambda: True)
    assert beside.dsp.cancel(request.id)
    beside.database.close()
    assert run(office.dsp.carry_out(request.id, lambda progress: None)) is None
    assert office.receive(update(ESME)) == "I99"


@pytest.mark.rule(150)
def test_a_device_that_another_process_hands_over_keeps_nobody_off_its_han(
    killed: Killed,
) -> None:
    office = killed.again()
    office.enrol(device(THIRD, "PPMID", hub=OTHER_HUB))
    office.door.hubs[THIRD] = OTHER_HUB
    request = killed.accept(update(PPMID, OTHER_PPMID))
    beside = Office(path=killed.path, elsewhere=lambda: True)
    beside.dsp.hand_over(OTHER_PPMID, OTHER)
    beside.database.close()
    assert office.receive(update(THIRD)) == "I99"
    run(office.dsp.carry_out(request.id, lambda progress: None))
    assert office.door.asked[0] == ("11.1", PPMID)


def test_an_11_1_that_ended_without_an_end_keeps_nobody_off_its_han(killed: Killed) -> None:
    """What is left of it is pending, and a newer one takes its place."""
    office = killed.again()
    request = killed.accept(update(PPMID))

    async def fails(image: Any, device: Eui, report: Any) -> Any:
        raise HanlabError("the disk is full", next_step="")

    office.door.update_firmware = fails  # type: ignore[method-assign]
    with pytest.raises(HanlabError):
        run(office.dsp.carry_out(request.id, lambda progress: None))
    assert office.dsp.unfinished() == [request.id]
    assert office.receive(update(PPMID)) == "I99"
    assert killed.ends() == [(request.id, "superseded")]
