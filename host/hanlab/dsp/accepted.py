"""Requests that have been acknowledged and are not done: they outlive the process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hanlab.dsp.database import Database
from hanlab.duis.messages import (
    CANCELLED,
    ActivateFirmware,
    Body,
    ReadFirmwareVersion,
    Request,
    RequestId,
    UpdateFirmware,
    UpdateFirmwareWarning,
)
from hanlab.eui import Eui


@dataclass(frozen=True)
class Accepted:
    """A request with what was decided when it came: for 11.1 who is left out, and why."""

    id: RequestId
    service: str
    service_variant: str
    body: Body
    due: datetime | None = None
    warning: UpdateFirmwareWarning | None = None


class AcceptedRequests:
    def __init__(self, database: Database) -> None:
        self._sql = database.sql

    def add(self, accepted: Accepted) -> None:
        body, image = _dump(accepted)
        if image is not None:
            sha = hashlib.sha256(image).digest()
            self._sql.execute("INSERT OR IGNORE INTO images VALUES (?, ?)", (sha, image))
        self._sql.execute(
            "INSERT INTO requests (id, service, body, due, state) VALUES (?, ?, ?, ?, 'accepted')",
            (
                str(accepted.id),
                accepted.service,
                json.dumps(body),
                accepted.due and accepted.due.isoformat(),
            ),
        )

    def done(self, request: RequestId) -> None:
        self._sql.execute("UPDATE requests SET state = 'done' WHERE id = ?", (str(request),))
        self._sql.execute(
            "DELETE FROM images WHERE lower(hex(sha)) NOT IN (SELECT json_extract(body, '$.image')"
            " FROM requests WHERE state = 'accepted' AND service IN ('11.1', '11.4'))"
        )

    def cancel(self, request: Request) -> int:
        """Cancel the user's future-dated requests of that service to that device; how many."""
        like = f"{request.id.originator}:{request.id.target}:%"
        return self._sql.execute(
            "UPDATE requests SET state = 'cancelled'"
            " WHERE state = 'accepted' AND due IS NOT NULL AND service = ? AND id LIKE ?",
            (request.service, like),
        ).rowcount

    def find(self, request: RequestId) -> Accepted | None:
        """That request, if it is neither done nor cancelled."""
        row = self._sql.execute(
            "SELECT id, service, body, due FROM requests WHERE id = ? AND state = 'accepted'",
            (str(request),),
        ).fetchone()
        return self._load(*row) if row else None

    def all(self) -> list[RequestId]:
        """What is not done, in the order in which it came."""
        rows = self._sql.execute("SELECT id FROM requests WHERE state = 'accepted' ORDER BY rowid")
        return [parse_id(text) for (text,) in rows]

    def _load(self, id_: str, service: str, text: str, due: str | None) -> Accepted:
        data = json.loads(text)
        body: Body
        if service == "11.2":
            body = ReadFirmwareVersion()
        elif service == "11.3":
            body = ActivateFirmware(bytes.fromhex(data["hash"]))
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
            datetime.fromisoformat(due) if due else None,
            UpdateFirmwareWarning(*map(_euis, lists)) if lists else None,
        )


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


def _euis(texts: Sequence[str]) -> tuple[Eui, ...]:
    return tuple(Eui.parse(text) for text in texts)
