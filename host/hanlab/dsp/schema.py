"""The tables of the DSP's database, and how those of an earlier hanlab become them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VERSION: Final = 7
"""Of the tables below; a file of a later version is refused, not guessed at."""

UNANSWERED: Final = """
CREATE TABLE unanswered (                -- 11.3 whose answer never came (rules 91 to 93)
    device BLOB NOT NULL,
    hash BLOB NOT NULL,                  -- of the Manufacturer Image
    PRIMARY KEY (device, hash)
) WITHOUT ROWID;
"""

DELETED: Final = """
CREATE TABLE deleted (eui BLOB PRIMARY KEY) WITHOUT ROWID;  -- taken out of the inventory by 8.4
"""

AWAITED: Final = """
CREATE TABLE awaited (                   -- devices that an 8.11 lets join, and that have not yet
    device BLOB PRIMARY KEY,
    request TEXT NOT NULL,               -- the 8.11's RequestID
    until TEXT NOT NULL                  -- ISO 8601: the end of its JoinTimePeriod
) WITHOUT ROWID;
"""

SCHEMA: Final = f"""{UNANSWERED}{DELETED}{AWAITED}
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
    at TEXT,                             -- ISO 8601: when it was accepted
    begun INTEGER NOT NULL DEFAULT 0,    -- whoever has the lab carries it out now, or did when it was killed
    state TEXT NOT NULL                  -- accepted, done, cancelled or superseded
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
    refused TEXT,                        -- what the listener answered: set aside, not sent again
    delivered TEXT
);
CREATE INDEX deliveries_waiting ON deliveries (recipient, id) WHERE delivered IS NULL AND refused IS NULL;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    action TEXT NOT NULL,
    code TEXT NOT NULL,
    rule INTEGER,
    why TEXT NOT NULL,
    request TEXT,                        -- RequestID
    next_step TEXT                       -- where it failed: what whoever runs the lab can do
);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_stays_whole BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE clock (last TEXT NOT NULL);
"""

MIGRATIONS: Final[Mapping[int, str]] = {
    1: """
ALTER TABLE requests ADD COLUMN at TEXT;
ALTER TABLE deliveries ADD COLUMN refused TEXT;
DROP INDEX deliveries_waiting;
CREATE INDEX deliveries_waiting ON deliveries (recipient, id)
    WHERE delivered IS NULL AND refused IS NULL;
""",
    2: UNANSWERED,
    3: "ALTER TABLE requests ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;",
    4: """
ALTER TABLE audit ADD COLUMN request TEXT;
ALTER TABLE audit ADD COLUMN next_step TEXT;
""",
    5: DELETED,
    6: AWAITED,
}
"""From each earlier version to the next one."""
