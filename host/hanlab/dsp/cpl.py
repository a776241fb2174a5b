"""The CPL, the Central Products List: which firmware version of which Device Model may be used.

Withdrawing an entry suspends exactly the devices that it covers: those of its Device Model,
generation and version (rule 78).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from hanlab.dsp.database import Database
from hanlab.dsp.files import Row, no_row_twice, read_rows
from hanlab.dsp.smi import GENERATIONS, SMETS1, SUSPENDABLE, SmiDevice, Status
from hanlab.dsp.spellings import (
    day_hint,
    hash_hint,
    read_day,
    read_hash,
    read_version,
    version_hint,
)
from hanlab.errors import UsageError
from hanlab.texts import folded, like, refuse_misleading

VERSION_LIMIT: Final = 8
"""Characters of a DUIS FirmwareVersion (rule 145)."""
_LISTED: Final = (*SUSPENDABLE, "CHF")
"""Device Types on the CPL; not an IHD (rule 102)."""
_NEVER_SUSPENDED: Final = (Status.SUSPENDED, Status.DECOMMISSIONED, Status.WITHDRAWN)


class CplStatus(StrEnum):
    """DUIS CPLStatus."""

    ACTIVE = "Active"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"
    WITHDRAWN = "Withdrawn"


@dataclass(frozen=True)
class CplEntry:
    """A product: Device Model with generation and firmware version (rule 19).

    `version` is DUIS's (1 to 8 characters), `manufacturer_version` the manufacturer's own, which people
    read and nothing decides by. `hash` is the Manufacturer Image hash (32 octets); None for a version
    that devices came with. `expires` is the last day on which an active entry is active.
    """

    device_type: str
    manufacturer: str
    model: str
    version: str
    hash: bytes | None = None
    hardware: str = ""
    generation: str = SMETS1
    manufacturer_version: str = ""
    status: CplStatus = CplStatus.ACTIVE
    expires: date | None = None

    def __str__(self) -> str:
        return f"{self.manufacturer} {self.model} {self.version} ({self.generation})"

    def is_active(self, day: date) -> bool:
        """Whether devices may run it on that day; its last day may have passed without anybody looking yet."""
        return self.status is CplStatus.ACTIVE and (self.expires is None or day <= self.expires)

    @property
    def product(self) -> tuple[str, str, str, str]:
        """The Device Model without generation and version."""
        return _product(self)


def _product(thing: CplEntry | SmiDevice) -> tuple[str, str, str, str]:
    return thing.device_type, thing.manufacturer, thing.model, thing.hardware


_COLUMNS: Final = tuple(f.name for f in fields(CplEntry))
_OF_PRODUCT: Final = "WHERE device_type = ? AND manufacturer = ? AND model = ? AND hardware = ?"


class Cpl:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.sql

    def add(self, *entries: CplEntry) -> None:
        """Add entries, all or none.

        Raises:
            UsageError: one is wrong or there already, or its version is listed for the other
                generation of the same Device Model (rule 16).
        """
        with self._database.transaction():
            for entry in entries:
                self._check(entry)
                self._sql.execute(
                    f"INSERT INTO cpl ({', '.join(_COLUMNS)})"
                    f" VALUES ({', '.join('?' * len(_COLUMNS))})",
                    [_column(getattr(entry, name)) for name in _COLUMNS],
                )

    def _check(self, entry: CplEntry) -> None:
        self.check_name(entry)
        check_entry(entry)
        same = f"{_OF_PRODUCT} AND generation IN (?, ?) AND version = ?"  # the whole of the index
        for other in self._select(same, *entry.product, *GENERATIONS, entry.version):
            if other.generation != entry.generation:
                raise UsageError(
                    f"{entry.manufacturer} {entry.model} {entry.version} is on the CPL as "
                    f"{other.generation} already, and a version says of which generation it is",
                    next_step="a bilingual model needs two entries with different versions (rule 16)",
                )
            raise UsageError(
                f"{entry} is on the CPL already, {other.status}"
                + ("" if other.hash == entry.hash else ", with another hash"),
                next_step=_after_listed(entry, other),
            )

    def check_name(self, thing: CplEntry | SmiDevice, models: Iterable[Sequence[str]] = ()) -> None:
        """Raises UsageError for what is written almost as a product that is known: it would be another.

        Known are those of the CPL and those of `models`, which are as `product` has them.
        """
        here = {(maker, model) for kind, maker, model, _ in models if kind == thing.device_type}
        if here and (thing.manufacturer, thing.model) not in here:
            ours = (thing.manufacturer, thing.model)
            _refuse_almost("manufacturer and model", ours, here, "a Device Model")
        if self._sql.execute(
            f"SELECT 1 FROM cpl {_OF_PRODUCT} LIMIT 1", _product(thing)
        ).fetchone():
            return
        known = self._sql.execute(
            "SELECT DISTINCT manufacturer, model, hardware FROM cpl WHERE device_type = ?",
            (thing.device_type,),
        ).fetchall()
        models = {(manufacturer, model) for manufacturer, model, _ in known}
        ours = (thing.manufacturer, thing.model)
        if ours not in models:
            _refuse_almost("manufacturer and model", ours, models, "the CPL")
        else:  # that Device Model is known: its hardware may be new
            there = {(hardware,) for *theirs, hardware in known if tuple(theirs) == ours}
            if (thing.hardware,) not in there:
                _refuse_almost("hardware", (thing.hardware,), there, "the CPL")

    def everything(self) -> list[CplEntry]:
        return self._select("ORDER BY manufacturer, model, generation, version")

    def of_product(self, product: CplEntry | SmiDevice) -> list[CplEntry]:
        """All entries of that Device Model, of both generations and every version (rule 15)."""
        return self._select(_OF_PRODUCT, *_product(product))

    def of_version(self, version: str) -> list[CplEntry]:
        return self._select("WHERE version = ?", version)

    def entry_of(self, device: SmiDevice) -> CplEntry | None:
        """The entry for what a device runs, as far as the SMI knows."""
        return self.entry(device, device.version)

    def entry(self, device: SmiDevice, version: str | None) -> CplEntry | None:
        """The entry for that device's model and generation with that version (rule 15)."""
        return next(
            (
                e
                for e in self.of_product(device)
                if e.version == version and e.generation == device.generation
            ),
            None,
        )

    def end(self, entry: CplEntry, status: CplStatus) -> int:
        """Take an entry off the list; how many devices became Suspended with it (rule 78)."""
        with self._database.transaction():
            self._sql.execute(
                "UPDATE cpl SET status = ? WHERE device_type = ? AND manufacturer = ? AND model = ?"
                " AND hardware = ? AND generation = ? AND version = ?",
                (status, *entry.product, entry.generation, entry.version),
            )
            where, values = covered(entry)
            return self._sql.execute(
                f"UPDATE devices SET status_before = status, status = ? WHERE {where}",
                (Status.SUSPENDED, *values),
            ).rowcount

    def with_hardware(self, entry: CplEntry) -> CplEntry:
        """`entry`, with the hardware of that Device Model if it says none and the CPL knows just one."""
        if entry.hardware:
            return entry
        rows = self._sql.execute(
            "SELECT DISTINCT hardware FROM cpl WHERE device_type = ? AND manufacturer = ? AND model = ?",
            (entry.device_type, entry.manufacturer, entry.model),
        ).fetchall()
        return replace(entry, hardware=rows[0][0]) if len(rows) == 1 else entry

    def relist(self, entry: CplEntry) -> None:
        """Make an entry active again, without a last day. What was Suspended with it stays so."""
        self._sql.execute(
            "UPDATE cpl SET status = ?, expires = NULL WHERE device_type = ? AND manufacturer = ?"
            " AND model = ? AND hardware = ? AND generation = ? AND version = ?",
            (CplStatus.ACTIVE, *entry.product, entry.generation, entry.version),
        )

    def due(self, now: datetime) -> list[CplEntry]:
        """Active entries whose last day has passed."""
        return self._select(
            "WHERE status = ? AND expires < ?", CplStatus.ACTIVE, now.date().isoformat()
        )

    def _select(self, where: str, *values: object) -> list[CplEntry]:
        rows = self._sql.execute(f"SELECT {', '.join(_COLUMNS)} FROM cpl {where}", values)
        return [_entry(row) for row in rows]


def _refuse_almost(
    what: str, ours: Sequence[str], known: Iterable[Sequence[str]], where: str
) -> None:
    """UsageError if one of `known` is the same text but for blanks and case."""
    for theirs in known:
        if [folded(text) for text in ours] == [folded(text) for text in theirs]:
            meant = ", ".join(map(repr, theirs))
            raise UsageError(
                f"{what} {', '.join(map(repr, ours))} is written otherwise than the {meant} that "
                f"{where} has",
                next_step=f"write {meant}, if that is meant",
            )


def _after_listed(entry: CplEntry, other: CplEntry) -> str:
    if other.hash != entry.hash:
        return "changed firmware needs another version; hanlab cpl shows what is there"
    if other.status is CplStatus.ACTIVE:
        return "there is nothing to do"
    return f"hanlab cpl add {entry.version} lists it again"


def covered(entry: CplEntry) -> tuple[str, tuple[object, ...]]:
    """An SQL condition with its values: the devices that the end of `entry` suspends."""
    types = ", ".join("?" * len(SUSPENDABLE))
    never = ", ".join("?" * len(_NEVER_SUSPENDED))
    return (
        "model = ? AND version = ? AND device_type = ? AND manufacturer = ? AND hardware = ?"
        f" AND generation = ? AND device_type IN ({types}) AND status NOT IN ({never})",
        (
            entry.model,
            entry.version,
            entry.device_type,
            entry.manufacturer,
            entry.hardware,
            entry.generation,
            *SUSPENDABLE,
            *_NEVER_SUSPENDED,
        ),
    )


def check_entry(entry: CplEntry) -> None:
    """Raises UsageError for what the CPL cannot list."""
    if entry.device_type not in _LISTED:
        raise UsageError(
            f"a {entry.device_type or 'device without a type'} is not on the CPL"
            + like(entry.device_type, _LISTED),
            next_step=f"one of {', '.join(_LISTED)} (rules 101, 102)",
        )
    if entry.generation not in GENERATIONS:
        raise UsageError(
            f"{entry.generation!r} is no generation{like(entry.generation, GENERATIONS)}",
            next_step=f"one of {', '.join(GENERATIONS)}",
        )
    for name in ("manufacturer", "model", "hardware", "version"):
        refuse_misleading(name, getattr(entry, name))
    if not entry.version.isascii():
        raise UsageError(
            f"version {entry.version!r} has a character outside ASCII",
            next_step="write it as the device says it",
        )
    if not 1 <= len(entry.version) <= VERSION_LIMIT:
        raise UsageError(
            f"version {entry.version!r} has {len(entry.version)} characters; DUIS takes 1 to "
            f"{VERSION_LIMIT}",
            next_step="put the manufacturer's own string into manufacturer_version (rule 145)",
        )
    if not entry.model or not entry.manufacturer:
        raise UsageError("an entry needs a manufacturer and a model", next_step="name both")
    if entry.hash is not None and len(entry.hash) != 32:
        raise UsageError(
            f"the hash of {entry} has {len(entry.hash)} octets; a SHA-256 has 32",
            next_step="hanlab image inspect FILE shows it as 11.3 hash",
        )


_REQUIRED: Final = ("device_type", "manufacturer", "model", "version")
_ALIASES: Final = {
    "firmware_version": "version",
    "duis_version": "version",
    "device_model": "model",
    "hardware_version": "hardware",
    "sha256": "hash",
    "firmware_hash": "hash",
    "image_hash": "hash",
    "manufacturer_image_hash": "hash",
    "hash_sha256": "hash",
    "cpl_status": "status",
    "expiry_date": "expires",
}
"""What others call the columns."""


def read_cpl(path: Path) -> list[CplEntry]:
    """The entries of a TOML file (`[[entry]]`) or a CSV file (a header line, then a line each).

    Their keys are CplEntry's; `hash` is in hex, `expires` a day. What contradicts what is on the CPL
    (rule 16) is found when the entries are added.

    Raises:
        UsageError: the file cannot be read, or has an entry twice; says where.
    """
    return no_entry_twice(read_cpl_rows(path))


def no_entry_twice(rows: Sequence[Row[CplEntry]]) -> list[CplEntry]:
    """The entries, if none is there twice; else UsageError with both places."""
    return no_row_twice(rows, lambda e: (e.product, e.generation, e.version))


def read_cpl_rows(path: Path) -> list[Row[CplEntry]]:
    """As `read_cpl`, with the place of each entry in the file."""
    optional = [name for name in _COLUMNS if name not in _REQUIRED]
    return read_rows(path, "entry", _read_entry, _COLUMNS, optional, _ALIASES)


def _read_entry(row: Mapping[str, str]) -> CplEntry:
    unknown = [name for name in row if name not in _COLUMNS]
    missing = [n for n in _REQUIRED if not row.get(n)]
    if unknown or missing:
        wrong = (
            f"{unknown[0]!r} is unknown{like(unknown[0], _COLUMNS)}"
            if unknown
            else f"{missing[0]} is missing"
        )
        raise UsageError(wrong, next_step=f"there are {', '.join(_COLUMNS)}")
    values: dict[str, Any] = {}
    for name, text in row.items():
        try:
            values[name] = _READERS.get(name, str)(text)
        except ValueError:
            hint = _HINTS[name](text)
            raise UsageError(
                f"{name} = {text!r} is wrong{hint}", next_step=f"it has to be {_WANTED[name]}"
            ) from None
    entry = CplEntry(**values)
    check_entry(entry)
    return entry


_READERS: Final[Mapping[str, Any]] = {
    "version": read_version,
    "hash": read_hash,
    "expires": read_day,
    "status": CplStatus,
}
_WANTED: Final = {
    "version": "as the device says it, in a column that the spreadsheet takes for text",
    "hash": "64 hex digits, in a column that the spreadsheet takes for text",
    "expires": "a day such as 2026-12-31",
    "status": f"one of {', '.join(CplStatus)}",
}
_HINTS: Final[Mapping[str, Any]] = {
    "version": version_hint,
    "hash": hash_hint,
    "expires": day_hint,
    "status": lambda text: like(text, CplStatus),
}


def _column(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def _entry(row: Sequence[Any]) -> CplEntry:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["status"] = CplStatus(values["status"])
    values["expires"] = values["expires"] and date.fromisoformat(values["expires"])
    return CplEntry(**values)
