"""Requests that have been acknowledged and are not done: they outlive the process.

What is pending is carried out in the order in which it falls due: at its execution date, or when it was
accepted if it has none. A newer request supersedes an older one that it would undo:

| newer   | supersedes                                            |
|---|---|
| 11.3    | 11.3 of the same device                               |
| 11.1    | 11.1 for the same device; the list's other devices stay |
| 11.4    | 11.4 for the same device; the list's other devices stay |
| 8.11    | 8.11 of the same device at the same CH                |
| 8.9, 11.2 | nothing: reading changes nothing                    |
| 8.1.1, 8.7, 8.8 | nothing                                       |

unless the older one falls due before it, and is carried out before it: an 11.3 for March leaves the one
for February alone. What has begun at the device is not pulled back; the newer one waits for its turn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from hanlab.dsp.counters import ReplayError
from hanlab.dsp.database import Database
from hanlab.duis.messages import (
    CANCELLED,
    ActivateFirmware,
    Body,
    CommissionDevice,
    JoinService,
    ReadDeviceLog,
    ReadFirmwareVersion,
    Request,
    RequestId,
    UnjoinService,
    UpdateFirmware,
    UpdateHanDeviceLog,
    reference,
)
from hanlab.duis.responses import UpdateFirmwareWarning
from hanlab.eui import Eui

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
SUPERSEDING: Final = frozenset({"8.11", "11.1", "11.3", "11.4"})
"""Services of which a newer request makes an older one void."""
_COLUMNS: Final = "id, service, body, due, at"


@dataclass(frozen=True)
class Accepted:
    """A request with what was decided when it came: for 11.1 who is left out, and why."""

    id: RequestId
    service: str
    service_variant: str
    body: Body
    due: datetime | None = None
    warning: UpdateFirmwareWarning | None = None
    at: datetime | None = None
    """When it was accepted; None: an earlier hanlab did not write it down."""

    @property
    def devices(self) -> tuple[Eui, ...]:
        match self.body:
            case UpdateFirmware(devices=devices):
                return devices
            case UpdateHanDeviceLog(device):
                return (device,)
            case _:
                return (self.id.target,)

    @property
    def reference(self) -> str:
        """See `Request.reference`."""
        return reference(self.service, self.service_variant)

    @property
    def falls_due(self) -> datetime:
        return self.due or self.at or _LONG_AGO


class AcceptedRequests:
    def __init__(self, database: Database) -> None:
        self._sql = database.sql

    def add(self, accepted: Accepted) -> None:
        """It is pending from now on.

        An ended request may have had the same RequestID, before its user's counter was reset.

        Raises:
            ReplayError: one with that RequestID is pending.
        """
        if self.find(accepted.id):
            raise ReplayError(
                f"{accepted.id} is pending, and another request has the same RequestID",
                next_step="hanlab requests shows what is pending; each request has a counter of its own",
            )
        body, image = _dump(accepted)
        if image is not None:
            sha = hashlib.sha256(image).digest()
            self._sql.execute("INSERT OR IGNORE INTO images VALUES (?, ?)", (sha, image))
        self._sql.execute(
            "INSERT OR REPLACE INTO requests (id, service, body, due, at, state)"
            " VALUES (?, ?, ?, ?, ?, 'accepted')",
            (
                str(accepted.id),
                accepted.service,
                json.dumps(body),
                accepted.due and accepted.due.isoformat(),
                accepted.at and accepted.at.isoformat(),
            ),
        )

    def begin(self, request: RequestId, *, begun: bool = True) -> None:
        """It is being carried out from now on, which other processes see; or it is not any more."""
        self._sql.execute("UPDATE requests SET begun = ? WHERE id = ?", (begun, str(request)))

    def begun(self) -> set[RequestId]:
        """What is being carried out, if the process that said so has not been killed."""
        rows = self._sql.execute("SELECT id FROM requests WHERE state = 'accepted' AND begun")
        return {parse_id(id_) for (id_,) in rows}

    def done(self, request: RequestId) -> None:
        self._end(request, "done")

    def withdraw(self, request: RequestId) -> None:
        """Whoever runs the lab does not want it carried out any more."""
        self._end(request, "cancelled")

    def _end(self, request: RequestId, state: str) -> None:
        self._sql.execute("UPDATE requests SET state = ? WHERE id = ?", (state, str(request)))
        self._drop_images()

    def _drop_images(self) -> None:
        """An image stays only as long as a request needs it."""
        self._sql.execute(
            "DELETE FROM images WHERE lower(hex(sha)) NOT IN (SELECT json_extract(body, '$.image')"
            " FROM requests WHERE state = 'accepted' AND service IN ('11.1', '11.4'))"
        )

    def cancel(self, request: Request, begun: Collection[RequestId]) -> int:
        """Cancel the user's future-dated requests of that service to that device, but for `begun`; how many."""
        like = f"{request.id.originator}:{request.id.target}:%"
        rows = self._sql.execute(
            "SELECT id FROM requests"
            " WHERE state = 'accepted' AND due IS NOT NULL AND service = ? AND id LIKE ?",
            (request.service, like),
        ).fetchall()
        void = {parse_id(id_) for (id_,) in rows} - set(begun)
        for id_ in void:
            self.withdraw(id_)
        return len(void)

    def supersede(
        self, newer: Accepted, now: datetime, begun: Collection[RequestId]
    ) -> list[tuple[RequestId, Eui]]:
        """Take back what `newer` makes void (see above), but for `begun`: which request, for which device."""
        if newer.service not in SUPERSEDING:
            return []
        rows = self._sql.execute(
            f"SELECT {_COLUMNS} FROM requests"
            " WHERE state = 'accepted' AND service = ? AND id <> ? ORDER BY rowid",
            (newer.service, str(newer.id)),
        ).fetchall()
        wanted = set(newer.devices)
        taken: list[tuple[RequestId, Eui]] = []
        for row in rows:
            older = self._load(*row)
            if older.id in begun or max(older.falls_due, now) < newer.falls_due:
                continue
            if isinstance(older.body, UpdateHanDeviceLog) and older.id.target != newer.id.target:
                continue
            void = [device for device in older.devices if device in wanted]
            if void:
                self.take_back(older, void, "superseded")
                taken += [(older.id, device) for device in void]
        return taken

    def take_back(self, older: Accepted, void: Sequence[Eui], state: str) -> None:
        """Nothing comes of it for these devices; `state` is its own if none is left."""
        stay = tuple(device for device in older.devices if device not in void)
        if not stay:
            self._end(older.id, state)
            return
        assert isinstance(older.body, UpdateFirmware)
        self.put(replace(older, body=replace(older.body, devices=stay)))

    def put(self, accepted: Accepted) -> None:
        """A pending 11.1 or 11.4 has another list now."""
        body, _ = _dump(accepted)
        self._sql.execute(
            "UPDATE requests SET body = ? WHERE id = ?", (json.dumps(body), str(accepted.id))
        )

    def updates(self, device: Eui) -> bool:
        """Whether an update of that device is in progress: one that is pending, and not for a later day."""
        rows = self._sql.execute(
            "SELECT 1 FROM requests WHERE state = 'accepted' AND (due IS NULL OR begun)"
            " AND (service = '11.3' AND id LIKE ?1 OR service IN ('11.1', '11.4') AND body LIKE ?2)",
            (f"%:{device}:%", f'%"{device}"%'),
        )
        return rows.fetchone() is not None

    def waiting(self, but: Collection[RequestId]) -> set[Eui]:
        """The devices of each 11.1 and 11.4 that is pending, those requests not counted."""
        rows = self._sql.execute(
            "SELECT id, json_extract(body, '$.devices') FROM requests"
            " WHERE state = 'accepted' AND service IN ('11.1', '11.4')"
        )
        return {
            device
            for id_, devices in rows
            if parse_id(id_) not in but
            for device in _euis(json.loads(devices))
        }

    def find(self, request: RequestId) -> Accepted | None:
        """That request, if it is neither done nor cancelled."""
        row = self._sql.execute(
            f"SELECT {_COLUMNS} FROM requests WHERE id = ? AND state = 'accepted'",
            (str(request),),
        ).fetchone()
        return self._load(*row) if row else None

    def all(self) -> list[RequestId]:
        """What is not done, in the order in which it falls due."""
        rows = self._sql.execute(
            "SELECT id, due, at FROM requests WHERE state = 'accepted' ORDER BY rowid"
        ).fetchall()
        rows.sort(key=lambda row: _time(row[1]) or _time(row[2]) or _LONG_AGO)
        return [parse_id(id_) for id_, _, _ in rows]

    def _load(
        self,
        id_: str,
        service: str,
        text: str,
        due: str | None,
        at: str | None,
    ) -> Accepted:
        data = json.loads(text)
        body: Body
        if load := _LOADERS.get(reference(service, data["variant"])):
            body = load(data)
        else:
            (image,) = self._sql.execute(
                "SELECT octets FROM images WHERE sha = ?", (bytes.fromhex(data["image"]),)
            ).fetchone()
            body = UpdateFirmware(image, data["version"], _euis(data["devices"]))
        lists = data.get("warning")
        return Accepted(
            parse_id(id_),
            service,
            data["variant"],
            body,
            _time(due),
            UpdateFirmwareWarning(*map(_euis, lists)) if lists else None,
            _time(at),
        )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def parse_id(text: str) -> RequestId:
    originator, target, counter = text.split(":")
    return RequestId(Eui.parse(originator), Eui.parse(target), int(counter))


def is_cancellation(execution: datetime | None) -> bool:
    """DUIS cancels a future-dated request by one for one instant of the year 3000, and no other."""
    return execution == CANCELLED


def _dump(accepted: Accepted) -> tuple[dict[str, object], bytes | None]:
    data: dict[str, object] = {"variant": accepted.service_variant}
    image: bytes | None = None
    match accepted.body:
        case ActivateFirmware(hash=hash_):
            data["hash"] = hash_.hex()
        case JoinService(other) | UnjoinService(other):
            data["other"] = str(other)
        case CommissionDevice(now, tolerance_s):
            data.update(now=now.isoformat(), tolerance_s=tolerance_s)
        case ReadDeviceLog(security=security):
            data["security"] = security
        case UpdateHanDeviceLog(device, add, join_s, install_code):
            data.update(device=str(device), add=add, join_s=join_s, install_code=install_code.hex())
        case UpdateFirmware() as update:
            image = update.image
            data["image"] = hashlib.sha256(update.image).hexdigest()
            data["version"] = update.version
            data["devices"] = [str(d) for d in update.devices]
    if warning := accepted.warning:
        data["warning"] = [
            [str(e) for e in some]
            for some in (
                warning.invalid,
                warning.not_commissioned,
                warning.not_applicable,
                warning.other_in_progress,
            )
        ]
    return data, image


_LOADERS: Final[Mapping[str, Callable[[dict[str, Any]], Body]]] = {
    "8.1.1": lambda d: CommissionDevice(datetime.fromisoformat(d["now"]), d["tolerance_s"]),
    "8.7.1": lambda d: JoinService(Eui.parse(d["other"]), critical=True),
    "8.7.2": lambda d: JoinService(Eui.parse(d["other"])),
    "8.8.1": lambda d: UnjoinService(Eui.parse(d["other"]), critical=True),
    "8.8.2": lambda d: UnjoinService(Eui.parse(d["other"])),
    "8.9": lambda d: ReadDeviceLog(security=d["security"]),
    "8.11": lambda d: UpdateHanDeviceLog(
        Eui.parse(d["device"]), d["add"], d["join_s"], bytes.fromhex(d["install_code"])
    ),
    "11.2": lambda _: ReadFirmwareVersion(),
    "11.3": lambda d: ActivateFirmware(bytes.fromhex(d["hash"])),
}
"""By `Request.reference`: the body of a request that has no image."""


def _euis(texts: Sequence[str]) -> tuple[Eui, ...]:
    return tuple(Eui.parse(text) for text in texts)
