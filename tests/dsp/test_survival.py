"""What a `kill -9` leaves behind: everything that was acknowledged."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import ACTIVATE, ESME, PPMID, READ, SUPPLIER, furnished, run, update
from full_disk import no_room
from power import power, sqlite

from hanlab.dsp.accepted import Accepted
from hanlab.dsp.counters import ReplayError
from hanlab.dsp.database import Database, DatabaseTrouble, trouble
from hanlab.duis.responses import Response
from hanlab.errors import UsageError

_LOAD = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from desk import ESME, READ, SUPPLIER, furnished
office = furnished(path=Path(sys.argv[1]))
print("ready", flush=True)
together = int(sys.argv[3])
while True:
    first = office.dsp.next_counter(SUPPLIER)
    asked = [office.request(READ, ESME, counter=first + n) for n in range(together)]
    office.dsp.receive_all([(request, None) for request in asked])
    for request in asked:
        print(request.id, flush=True)
"""


@pytest.mark.parametrize(("after", "together"), [(1, 1), (50, 1), (400, 1), (1, 4), (200, 4)])
def test_nothing_acknowledged_is_lost(after: int, together: int, tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    here = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", _LOAD, str(path), here, str(together)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        lines = [process.stdout.readline().strip() for _ in range(after + 1)]
        process.kill()
        lines += process.stdout.read().split("\n")
    acknowledged = [
        line for line in lines[1:] if line.count(":") == 2 and line.endswith(tuple("0123456789"))
    ]
    database = Database(path)
    assert database.sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = [id_ for (id_,) in database.sql.execute("SELECT id FROM requests ORDER BY rowid")]
    # the last line of a killed process may be cut short; everything before it is whole
    assert kept[: len(acknowledged) - 1] == acknowledged[:-1]
    assert len(acknowledged) - 1 <= len(kept) <= len(acknowledged) + together
    (audited,) = database.sql.execute("SELECT count(*) FROM audit WHERE action = '11.2'").fetchone()
    assert audited == len(kept)
    (last,) = database.sql.execute("SELECT last FROM counters").fetchone()
    assert int.from_bytes(last, "big") == len(kept)


def test_what_was_not_done_is_done_by_the_next_process(tmp_path: Path) -> None:
    office = furnished(path=tmp_path / "dsp.sqlite")
    body = update(PPMID, ESME)
    acknowledged = office.request(body)
    office.dsp.receive(acknowledged)
    office.database.sql.close()  # as a process that is gone: nothing was said to the S1SP yet

    from desk import Office

    later = Office(path=tmp_path / "dsp.sqlite")
    assert later.dsp.unfinished() == [acknowledged.id]
    run(later.dsp.carry_out(acknowledged.id, lambda progress: None))
    assert later.door.asked == [("11.1", PPMID), ("11.1", ESME)]
    assert later.dsp.unfinished() == []
    (images,) = later.database.sql.execute("SELECT count(*) FROM images").fetchone()
    assert images == 0, "an image stays only as long as a request needs it"


def test_the_audit_log_can_only_grow(tmp_path: Path) -> None:
    office = furnished()
    for statement in ("UPDATE audit SET code = 'I0'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            office.database.sql.execute(statement)
    assert len(office.dsp.audit.read()) == len(office.dsp.cpl.everything())


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    path.write_bytes(b"this is no database, and not empty either " * 10)
    with pytest.raises(UsageError, match="no database"):
        Database(path)
    assert path.read_bytes().startswith(b"this is no database")


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    first = Database(path)
    first.sql.execute("PRAGMA user_version = 99")
    first.close()
    with pytest.raises(UsageError, match="schema 99"):
        Database(path)


@pytest.mark.skipif(sqlite() is None, reason="Python's SQLite is not to be reached with ctypes")
def test_what_was_acknowledged_survives_the_computers_own_power_cut(tmp_path: Path) -> None:
    """I99 is on the disk before it is said: nothing is left to what the system writes later."""
    from desk import Office

    with power() as disk:
        office = furnished(path=tmp_path / "dsp.sqlite")
        for number in range(3):
            request = office.request(ACTIVATE, PPMID)
            assert office.dsp.receive(request).code == "I99"
            left = tmp_path / f"left {number}"
            disk.lose_power(left)
            after = Office(path=left / "dsp.sqlite")
            assert request.id in after.dsp.unfinished()
            assert after.dsp.audit.read(1)[0].code == "I99"
            assert after.dsp.next_counter(SUPPLIER) > request.id.counter
            after.database.close()
        office.database.close()


@pytest.mark.skipif(sqlite() is None, reason="Python's SQLite is not to be reached with ctypes")
@pytest.mark.parametrize("together", [1, 5])
def test_what_is_decided_together_waits_for_the_disk_once(together: int, tmp_path: Path) -> None:
    from desk import Office

    with power() as disk:
        office = furnished(path=tmp_path / "dsp.sqlite")
        first = office.dsp.next_counter(SUPPLIER)
        asked = [office.request(ACTIVATE, PPMID, counter=first + n) for n in range(together)]
        before = disk.syncs
        answers = office.dsp.receive_all([(request, None) for request in asked])
        assert disk.syncs == before + 1
        assert _codes(answers) == ["I99"] * together
        disk.lose_power(tmp_path / "left")
        after = Office(path=tmp_path / "left" / "dsp.sqlite")
        kept = [entry.code for entry in after.dsp.audit.read()]
        assert kept.count("I99") == together
        assert after.dsp.next_counter(SUPPLIER) == first + together
        assert asked[-1].id in after.dsp.unfinished()
        after.database.close()
        office.database.close()


def _codes(answers: list[Response | Exception]) -> list[str]:
    return [a.code if isinstance(a, Response) else type(a).__name__ for a in answers]


def test_what_fails_takes_back_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    office = furnished()
    put = office.dsp.parts.accepted.add

    def add(accepted: Accepted) -> None:
        put(accepted)
        if accepted.service == "11.3":
            raise ZeroDivisionError("a defect, with a half of it written")

    monkeypatch.setattr(office.dsp.parts.accepted, "add", add)
    asked = [
        office.request(READ, ESME, counter=1),
        office.request(READ, ESME, counter=1),
        office.request(ACTIVATE, PPMID, counter=3),
        office.request(READ, ESME, counter=2),
    ]
    answers = office.dsp.receive_all([(request, None) for request in asked])
    assert _codes(answers) == ["I99", "ReplayError", "ZeroDivisionError", "I99"]
    assert office.dsp.unfinished() == [asked[0].id, asked[3].id]
    assert [e.action for e in office.dsp.audit.read(2)] == ["11.2", "11.2"]
    assert office.dsp.next_counter(SUPPLIER) == 3
    assert not office.database.sql.in_transaction


def test_where_all_fail_nothing_is_kept() -> None:
    office = furnished()
    asked = office.request(READ, ESME)
    office.dsp.receive(asked)
    office.passed += timedelta(days=1)
    before = list(office.database.sql.iterdump())
    with pytest.raises(ReplayError):
        office.dsp.receive(asked)
    assert _codes(office.dsp.receive_all([(asked, None)] * 2)) == ["ReplayError"] * 2
    assert list(office.database.sql.iterdump()) == before


def test_an_update_that_is_taken_back_keeps_no_other_one_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office = furnished()
    defects = [ZeroDivisionError("a defect")]
    record = office.dsp.parts.record

    def fail(*arguments: Any) -> None:
        if defects:
            raise defects.pop()
        record(*arguments)

    monkeypatch.setattr(office.dsp.parts, "record", fail)
    request = office.request(update(PPMID))
    again = office.request(update(PPMID), counter=request.id.counter + 1)
    answers = office.dsp.receive_all([(request, None), (again, None)])
    assert _codes(answers) == ["ZeroDivisionError", "I99"]
    assert office.receive(update(PPMID)) == "E110105", "the second one does"


def test_a_full_disk_leaves_nothing_of_what_was_decided_together(tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    office = furnished(path=path)
    office.database.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    asked = [
        (office.request(READ, ESME, counter=1), None),
        (office.request(update(PPMID), counter=2), None),
    ]
    with no_room(4096), pytest.raises(DatabaseTrouble, match=r"SQLITE_(FULL|IOERR)"):
        office.dsp.receive_all(asked)
    assert not office.database.sql.in_transaction
    assert office.dsp.unfinished() == []
    assert _codes(office.dsp.receive_all(asked)) == ["I99", "I99"]


def test_what_ends_the_transaction_fails_all_that_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SQLite itself may roll back in the middle; what came before would be said, and not be there."""
    office = furnished()
    put = office.dsp.parts.accepted.add

    def add(accepted: Accepted) -> None:
        put(accepted)
        if accepted.id.counter == 2:
            office.database.sql.execute("ROLLBACK")
            raise DatabaseTrouble("SQLITE_FULL", "the disk is full", next_step="make room")

    monkeypatch.setattr(office.dsp.parts.accepted, "add", add)
    asked = [(office.request(READ, ESME, counter=n), None) for n in (1, 2, 3)]
    with pytest.raises(DatabaseTrouble, match="the disk is full"):
        office.dsp.receive_all(asked)
    assert office.dsp.unfinished() == []
    assert not office.database.sql.in_transaction


def test_a_new_databases_name_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    synced: list[str] = []
    true_fsync = os.fsync

    def fsync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        true_fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    Database(folder / "dsp.sqlite").close()
    assert synced == [str(folder), str(tmp_path)]


_TROUBLES = [
    # SQLite's own name, what hanlab says, what it must advise, and never
    ("SQLITE_FULL", "the disk is full", "make room"),
    ("SQLITE_IOERR_WRITE", "cannot be read or written", "check its disk"),
    ("SQLITE_BUSY", "in use by another program", "wait for it"),
    ("SQLITE_READONLY_DIRECTORY", "may not be written", "the right to write"),
    ("SQLITE_CANTOPEN_ISDIR", "cannot be opened", "check that it is a file"),
    ("SQLITE_CORRUPT_INDEX", "is damaged", "copy all three before"),
    ("SQLITE_PROTOCOL", "cannot be used", "run it again"),
    ("SQLITE_NOTADB", "no database of hanlab's", "moved aside"),
]


@pytest.mark.parametrize(("name", "what", "next_step"), _TROUBLES)
def test_each_of_sqlites_errors_keeps_its_name(name: str, what: str, next_step: str) -> None:
    error = sqlite3.OperationalError("in SQLite's words")
    error.sqlite_errorname = name
    said = trouble(Path("dsp.sqlite"), error)
    assert said.name == name
    assert name in said.what
    assert "in SQLite's words" in said.what
    assert what in said.what
    assert next_step in said.next_step
    assert ("no database" in said.what) == (name == "SQLITE_NOTADB")
    assert "delete" not in said.next_step


def test_a_full_disk_is_called_so_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    office = furnished(path=path)
    office.database.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with no_room(4096):
        with pytest.raises(DatabaseTrouble, match=r"SQLITE_(FULL|IOERR)") as full:
            office.receive(READ, ESME)
        assert "no database" not in str(full.value)
        with pytest.raises(DatabaseTrouble, match=r"SQLITE_(FULL|IOERR)"):
            Database(tmp_path / "new.sqlite")
    assert not office.database.sql.in_transaction
    # and with room again it goes on, as if nothing had been asked
    assert office.dsp.unfinished() == []
    assert office.receive(READ, ESME) == "I99"
    office.database.close()
    assert len(Database(path).sql.execute("SELECT * FROM requests").fetchall()) == 1


def test_a_commit_that_fails_takes_back_what_it_was_for(tmp_path: Path) -> None:
    """Else all that follows would belong to a transaction that never ends."""
    office = furnished(path=tmp_path / "dsp.sqlite")
    office.database.sql.execute("CREATE TABLE a (b INTEGER PRIMARY KEY)")
    office.database.sql.execute("CREATE TABLE c (b REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
    office.database.sql.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError), office.database.transaction():
        office.database.sql.execute("INSERT INTO c VALUES (1)")
    assert not office.database.sql.in_transaction
    assert office.receive(READ, ESME) == "I99"


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE theirs (a)")
    theirs.close()
    with pytest.raises(UsageError, match="another program"):
        Database(path)
    with sqlite3.connect(path) as theirs:
        assert theirs.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_the_database_of_an_earlier_hanlab_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    office = furnished(path=path)
    office.receive(READ, ESME)
    sql = office.database.sql
    sql.execute("DROP TABLE unanswered")
    sql.execute("DROP TABLE deleted")
    sql.execute("DROP TABLE awaited")
    sql.execute("DROP INDEX deliveries_waiting")
    sql.execute("ALTER TABLE requests DROP COLUMN at")
    sql.execute("ALTER TABLE requests DROP COLUMN begun")
    sql.execute("ALTER TABLE audit DROP COLUMN request")
    sql.execute("ALTER TABLE audit DROP COLUMN next_step")
    sql.execute("ALTER TABLE deliveries DROP COLUMN refused")
    sql.execute(
        "CREATE INDEX deliveries_waiting ON deliveries (recipient, id) WHERE delivered IS NULL"
    )
    sql.execute("PRAGMA user_version = 1")
    office.database.close()
    from desk import Office

    later = Office(path=path)
    assert len(later.dsp.unfinished()) == 1
    assert later.receive(READ, ESME) == "I99"
    assert later.dsp.deliveries.waiting_for(SUPPLIER) == []


def test_after_what_need_not_last_the_next_one_does(tmp_path: Path) -> None:
    database = Database(tmp_path / "dsp.sqlite")
    with database.transaction(lasting=False):
        assert database.sql.execute("PRAGMA synchronous").fetchone() == (1,)
    assert database.sql.execute("PRAGMA synchronous").fetchone() == (2,)
