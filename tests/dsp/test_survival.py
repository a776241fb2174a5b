"""What a `kill -9` leaves behind: everything that was acknowledged."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from desk import ESME, PPMID, furnished, run, update

from hanlab.dsp.database import Database
from hanlab.errors import UsageError

_LOAD = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from desk import ESME, NEW, OLD, READ, Office, furnished, update, PPMID, entry
office = furnished(path=Path(sys.argv[1]))
print("ready", flush=True)
while True:
    request = office.request(READ, ESME)
    office.dsp.receive(request)
    print(request.id, flush=True)
"""


@pytest.mark.parametrize("after", [1, 50, 400])
def test_nothing_acknowledged_is_lost(after: int, tmp_path: Path) -> None:
    path = tmp_path / "dsp.sqlite"
    here = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", _LOAD, str(path), here], stdout=subprocess.PIPE, text=True
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
    assert len(acknowledged) - 1 <= len(kept) <= len(acknowledged) + 1
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
