"""The SMI, the Smart Metering Inventory: every device with its status, versions and who answers for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from hanlab.dsp.database import Database
from hanlab.dsp.files import no_row_twice, read_rows
from hanlab.duis.messages import SetDetails
from hanlab.duis.names import DEVICE_TYPES
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.texts import refuse_misleading

SMETS1: Final = "SMETS1"
SMETS2: Final = "SMETS2+"
GENERATIONS: Final = (SMETS1, SMETS2)
SUSPENDABLE: Final = ("ESME", "GSME", "PPMID", "HCALCS")
"""What the CPL can suspend (rule 101); an IHD is not on it (rule 102)."""


class Status(StrEnum):
    """DUIS DeviceStatus."""

    PENDING = "Pending"
    WHITELISTED = "Whitelisted"
    INSTALLED_NOT_COMMISSIONED = "InstalledNotCommissioned"
    COMMISSIONED = "Commissioned"
    DECOMMISSIONED = "Decommissioned"
    WITHDRAWN = "Withdrawn"
    SUSPENDED = "Suspended"
    RECOVERY = "Recovery"
    RECOVERED = "Recovered"


@dataclass(frozen=True)
class SmiDevice:
    """A device record (rule 142). `version` is the firmware's as DUIS writes it, as far as is known.

    `hub` is the CHF of its HAN; `gsme`, of a GPF, the GSME that it mirrors.
    """

    eui: Eui
    device_type: str
    manufacturer: str
    model: str
    hardware: str = ""
    generation: str = SMETS1
    version: str | None = None
    status: Status = Status.COMMISSIONED
    status_before: Status | None = None
    hub: Eui | None = None
    gsme: Eui | None = None
    supplier: Eui | None = None
    network_operator: Eui | None = None
    smets_chts_version: str | None = None
    import_mpxn: str | None = None
    commissioned: str | None = None
    factory_configuration: str | None = None
    smso: str | None = None
    wan_provider: str | None = None


_COLUMNS: Final = tuple(f.name for f in fields(SmiDevice))
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM devices"
_INSERT: Final = (
    f"INSERT INTO devices ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_AT_ONCE: Final = 500
"""Parameters of one SQL statement; SQLite takes 32,766."""


class Smi:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.sql

    def add(self, *devices: SmiDevice) -> None:
        """Add devices that are not in it yet, all or none.

        Raises:
            UsageError: one is there already; as the other generation too (rule 13): a record is
                either SMETS1 or SMETS2+.
        """
        with self._database.transaction():
            for device in devices:
                check_generation(device)
                if earlier := self.find(device.eui):
                    raise UsageError(
                        f"{device.eui} is in the inventory already, as a {earlier.generation} "
                        f"{earlier.device_type}",
                        next_step="a Device ID is recorded once, as SMETS1 or as SMETS2+ (rule 13)",
                    )
                self._sql.execute(_INSERT, _row(device))

    def add_many(self, devices: Iterable[SmiDevice]) -> int:
        """Add many new devices quickly, all or none; how many."""

        def rows() -> Iterator[tuple[Any, ...]]:
            for device in devices:
                check_generation(device)
                yield _row(device)

        with self._database.transaction():
            return self._sql.executemany(_INSERT, rows()).rowcount

    def find(self, eui: Eui) -> SmiDevice | None:
        row = self._sql.execute(f"{_SELECT} WHERE eui = ?", (eui.octets,)).fetchone()
        return _device(row) if row else None

    def find_all(self, euis: Sequence[Eui]) -> dict[Eui, SmiDevice]:
        """Those of `euis` that are in it."""
        found: dict[Eui, SmiDevice] = {}
        for begin in range(0, len(euis), _AT_ONCE):
            some = euis[begin : begin + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            rows = self._sql.execute(
                f"{_SELECT} WHERE eui IN ({marks})", [e.octets for e in some]
            ).fetchall()
            found.update((device.eui, device) for device in map(_device, rows))
        return found

    def on_han(self, hub: Eui) -> list[SmiDevice]:
        """The CHF and everything on its HAN, the CHF first."""
        rows = self._sql.execute(
            f"{_SELECT} WHERE eui = ?1 OR hub = ?1 ORDER BY eui <> ?1, eui", (hub.octets,)
        )
        return [_device(row) for row in rows]

    def everything(self) -> Iterator[SmiDevice]:
        return map(_device, self._sql.execute(f"{_SELECT} ORDER BY hub, eui"))

    def of_status(self, status: Status) -> list[SmiDevice]:
        """Those of that status, or of it but for their suspension."""
        where = "status = ?1 OR status = ?2 AND status_before = ?1"
        rows = self._sql.execute(f"{_SELECT} WHERE {where}", (status, Status.SUSPENDED))
        return [_device(row) for row in rows]

    def count(self, status: Status | None = None) -> int:
        """How many devices there are, or how many of that status."""
        where, values = (" WHERE status = ?", (status,)) if status else ("", ())
        (number,) = self._sql.execute(f"SELECT count(*) FROM devices{where}", values).fetchone()
        return int(number)

    def set_version(self, eui: Eui, version: str) -> None:
        self._sql.execute("UPDATE devices SET version = ? WHERE eui = ?", (version, eui.octets))

    def set_supplier(self, eui: Eui, supplier: Eui) -> None:
        self._sql.execute(
            "UPDATE devices SET supplier = ? WHERE eui = ?", (supplier.octets, eui.octets)
        )

    def restore(self, eui: Eui) -> Status:
        """End the suspension: the device has the status again that it had before (rule 89)."""
        (before,) = self._sql.execute(
            "SELECT coalesce(status_before, ?) FROM devices WHERE eui = ?",
            (Status.COMMISSIONED, eui.octets),
        ).fetchone()
        self.set_status(eui, Status(before))
        return Status(before)

    def set_status(self, eui: Eui, status: Status) -> None:
        self._sql.execute(
            "UPDATE devices SET status = ?, status_before = NULL WHERE eui = ?",
            (status, eui.octets),
        )

    def move(self, eui: Eui, status: Status, hub: Eui | None) -> None:
        """It has another status, and is on that CH's HAN or on none; a Suspended one has it afterwards."""
        self._sql.execute(
            "UPDATE devices SET hub = ?1, status_before = iif(status = ?2, ?3, NULL),"
            " status = iif(status = ?2, status, ?3) WHERE eui = ?4",
            (hub and hub.octets, Status.SUSPENDED, status, eui.octets),
        )

    def set_parties(self, eui: Eui, supplier: Eui | None, network_operator: Eui | None) -> None:
        """Who answers for it."""
        self._sql.execute(
            "UPDATE devices SET supplier = ?, network_operator = ? WHERE eui = ?",
            (
                supplier and supplier.octets,
                network_operator and network_operator.octets,
                eui.octets,
            ),
        )

    def set_import_mpxn(self, eui: Eui, mpxn: str) -> None:
        self._sql.execute("UPDATE devices SET import_mpxn = ? WHERE eui = ?", (mpxn, eui.octets))

    def set_details(self, eui: Eui, details: SetDetails) -> None:
        """Of what `details` says; the inventory has no ESMEVariant."""
        self._sql.execute(
            "UPDATE devices SET manufacturer = coalesce(?, manufacturer), model = coalesce(?, model),"
            " smets_chts_version = coalesce(?, smets_chts_version), version = coalesce(?, version)"
            " WHERE eui = ?",
            (
                details.manufacturer,
                details.model,
                details.smets_chts_version,
                details.firmware_version,
                eui.octets,
            ),
        )

    def delete(self, eui: Eui) -> None:
        """It is not in it any more, and is not put into it again just because a lab has it."""
        with self._database.transaction():
            self._sql.execute("DELETE FROM devices WHERE eui = ?", (eui.octets,))
            self._sql.execute("INSERT OR IGNORE INTO deleted VALUES (?)", (eui.octets,))

    def was_deleted(self, eui: Eui) -> bool:
        row = self._sql.execute("SELECT 1 FROM deleted WHERE eui = ?", (eui.octets,)).fetchone()
        return row is not None

    def remember_time(self, now: datetime) -> None:
        """So that a lab's civil time does not run back from one command to the next.

        Nor behind what another command has remembered meanwhile.
        """
        self._sql.execute(
            "INSERT INTO clock (rowid, last) VALUES (1, ?)"
            " ON CONFLICT (rowid) DO UPDATE SET last = max(last, excluded.last)",
            (now.astimezone(UTC).isoformat(),),
        )

    def last_time(self) -> datetime | None:
        row = self._sql.execute("SELECT last FROM clock").fetchone()
        return datetime.fromisoformat(row[0]) if row else None


def check_generation(device: SmiDevice) -> None:
    """UsageError for a record of no generation, or of both: nothing could be sent to it (rules 13, 14)."""
    if device.generation not in GENERATIONS:
        raise UsageError(
            f"{device.eui}: {device.generation!r} is no generation",
            next_step=f"one of {', '.join(GENERATIONS)}; a record has one of them (rule 13)",
        )


def _row(device: SmiDevice) -> tuple[Any, ...]:
    values = (getattr(device, name) for name in _COLUMNS)
    return tuple(v.octets if isinstance(v, Eui) else v for v in values)


_EUIS: Final = frozenset({"eui", "hub", "gsme", "supplier", "network_operator"})


def _device(row: Sequence[Any]) -> SmiDevice:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in _EUIS:
        values[name] = None if values[name] is None else Eui(values[name])
    return _typed(values)


def consumer_device_type(*, upgradable: bool) -> str:
    """A SMETS1 PPMID is an IHD whose firmware can be upgraded; any other one is an IHD (rule 117)."""
    return "PPMID" if upgradable else "IHD"


def read_inventory(path: Path) -> list[SmiDevice]:
    """The devices of a TOML file (`[[device]]`) or a CSV file (a header line, then a line each).

    Their keys are SmiDevice's; `upgradable` ("true", "false") may stand in place of `device_type`
    for a consumer device (rule 117).

    Raises:
        UsageError: the file cannot be read, is cut off, or a record is wrong; says where.
    """
    columns = (*_COLUMNS, "upgradable")
    optional = set(columns) - {"eui", "manufacturer", "model"}
    rows = read_rows(path, "device", _read_device, columns, optional)
    return no_row_twice(rows, lambda d: d.eui, lambda d: d.eui)


def _read_device(row: Mapping[str, str]) -> SmiDevice:
    row = dict(row)
    upgradable = row.pop("upgradable", None)
    if upgradable is not None:
        if upgradable.lower() not in ("true", "false"):
            raise UsageError(f"upgradable = {upgradable!r} is wrong", next_step="true or false")
        row["device_type"] = consumer_device_type(upgradable=upgradable.lower() == "true")
    unknown = [name for name in row if name not in _COLUMNS]
    missing = [n for n in ("eui", "device_type", "manufacturer", "model") if not row.get(n)]
    if unknown or missing:
        wrong = f"{unknown[0]!r} is unknown" if unknown else f"{missing[0]} is missing"
        raise UsageError(wrong, next_step=f"there are {', '.join(_COLUMNS)}")
    for name in ("manufacturer", "model", "hardware", "version"):
        refuse_misleading(name, row.get(name, ""))
    for name, allowed in (
        ("device_type", DEVICE_TYPES),
        ("generation", GENERATIONS),
        ("status", tuple(Status)),
        ("status_before", tuple(Status)),
    ):
        if name in row and row[name] not in allowed:
            raise UsageError(
                f"{name} = {row[name]!r} does not exist", next_step=f"one of {', '.join(allowed)}"
            )
    euis = {name: Eui.parse(value) for name, value in row.items() if name in _EUIS}
    return _typed({**row, **euis})


def _typed(values: dict[str, Any]) -> SmiDevice:
    for name in ("status", "status_before"):
        if values.get(name) is not None:
            values[name] = Status(values[name])
    return SmiDevice(**values)
