"""The DSP's memory: one SQLite file with the CPL, the SMI, requests, deliveries and the audit log.

Write-ahead logging: what a transaction has committed is there after the process is killed, whatever
it was doing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hanlab.errors import UsageError

VERSION: Final = 1
"""Of the schema below; a file of another version is refused, not guessed at."""

_SCHEMA: Final = """
CREATE TABLE cpl (
    id INTEGER PRIMARY KEY,
    device_type TEXT NOT NULL,
    manufacturer TEXT NOT NULL,
    model TEXT NOT NULL,
    hardware TEXT NOT NULL,
    generation TEXT NOT NULL,
    version TEXT NOT NULL,               -- as DUIS writes it, 1 to 8 characters
    manufacturer_version TEXT NOT NULL,  -- as the manufacturer does (rule 145)
    hash BLOB,                           -- of the Manufacturer Image; NULL: not to be sent
    status TEXT NOT NULL,
    expires TEXT,                        -- ISO 8601 day
    UNIQUE (device_type, manufacturer, model, hardware, generation, version)
);
CREATE INDEX cpl_version ON cpl (version);

CREATE TABLE devices (
    eui BLOB PRIMARY KEY,
    device_type TEXT NOT NULL,
    manufacturer TEXT NOT NULL,
    model TEXT NOT NULL,
    hardware TEXT NOT NULL,
    generation TEXT NOT NULL,
    version TEXT,
    status TEXT NOT NULL,
    status_before TEXT,                  -- what it was before suspension (rule 89)
    hub BLOB,                            -- the CHF of its HAN
    gsme BLOB,                           -- of a GPF: the GSME that it mirrors
    supplier BLOB,                       -- responsible import or gas supplier
    network_operator BLOB,               -- responsible network operator
    smets_chts_version TEXT,
    import_mpxn TEXT,
    commissioned TEXT,
    factory_configuration TEXT,          -- rule 142
    smso TEXT,
    wan_provider TEXT
) WITHOUT ROWID;
CREATE INDEX devices_product ON devices (model, version);
CREATE INDEX devices_hub ON devices (hub);

CREATE TABLE counters (originator BLOB PRIMARY KEY, last BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE images (sha BLOB PRIMARY KEY, octets BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE requests (
    id TEXT PRIMARY KEY,                 -- RequestID
    service TEXT NOT NULL,
    body TEXT NOT NULL,                  -- JSON
    due TEXT,                            -- ISO 8601: not before
    state TEXT NOT NULL                  -- accepted, done or cancelled
);
CREATE INDEX requests_state ON requests (state);

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    recipient BLOB NOT NULL,
    at TEXT NOT NULL,
    code TEXT NOT NULL,                  -- response code or DCC Alert code
    device BLOB,
    request TEXT,
    body TEXT,                           -- the XML; NULL: made from code and device
    delivered TEXT
);
CREATE INDEX deliveries_waiting ON deliveries (recipient, id) WHERE delivered IS NULL;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    action TEXT NOT NULL,
    code TEXT NOT NULL,
    rule INTEGER,
    why TEXT NOT NULL
);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_stays_whole BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE clock (last TEXT NOT NULL);
"""


class Database:
    """The file `path`, made if it is not there; None: one in memory. Threads may share it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._one_at_a_time = threading.RLock()
        try:
            self.sql = sqlite3.connect(
                path or ":memory:", isolation_level=None, timeout=10, check_same_thread=False
            )
            self.sql.execute("PRAGMA journal_mode = WAL")
            self.sql.execute("PRAGMA synchronous = NORMAL")
            with self.transaction():
                (version,) = self.sql.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _statements(_SCHEMA):
                        self.sql.execute(statement)
                    self.sql.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.DatabaseError as e:
            raise UsageError(
                f"{path} is no database of hanlab's: {e}",
                next_step="move it away; a new one is made, without what was in it",
            ) from None
        if version not in (0, VERSION):
            raise UsageError(
                f"{path} has schema {version}, this hanlab knows {VERSION}",
                next_step="use the hanlab that made it, or move it away",
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; one within another belongs to the outer one."""
        with self._one_at_a_time:
            if self.sql.in_transaction:
                yield
                return
            self.sql.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.sql.execute("ROLLBACK")
                raise
            self.sql.execute("COMMIT")

    def close(self) -> None:
        self.sql.close()


def _statements(script: str) -> Iterator[str]:
    """One at a time: `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
