"""What waits for a Service User's listener: responses and DCC Alerts, kept until they are delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hanlab.dsp.alerts import STATUS_CHANGES, Alert
from hanlab.dsp.cpl import CplEntry, covered
from hanlab.dsp.database import Database
from hanlab.duis.responses import DccAlert, DeviceStatusChanged, Response
from hanlab.eui import Eui

Write = Callable[[Response], bytes]
"""Makes the XML of a response."""


@dataclass(frozen=True)
class Delivery:
    """One message for one recipient; `xml` is not signed yet."""

    number: int
    recipient: Eui
    at: datetime
    code: str
    device: Eui | None
    request: str | None
    xml: bytes
    delivered: bool
    refused: str | None = None
    """What the listener answered to it: it is set aside, and not sent again."""


class Deliveries:
    def __init__(self, database: Database, write: Write) -> None:
        self._database = database
        self._sql = database.sql
        self._write = write

    def put(self, recipient: Eui, response: Response, device: Eui | None = None) -> None:
        body = response.body
        self._sql.execute(
            "INSERT INTO deliveries (recipient, at, code, device, request, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                recipient.octets,
                response.when.isoformat(),
                body.code if isinstance(body, DccAlert) else response.code,
                device and device.octets,
                response.request and str(response.request),
                self._write(response).decode(),
            ),
        )

    def put_for_covered(self, alert: Alert, entry: CplEntry, now: datetime) -> None:
        """An alert about each device that the end of a CPL entry will suspend, to each of its parties."""
        where, values = covered(entry)
        for party in alert.to:
            self._sql.execute(
                "INSERT INTO deliveries (recipient, at, code, device)"
                f" SELECT {party}, ?, ?, eui FROM devices WHERE {where} AND {party} IS NOT NULL",
                (now.isoformat(), alert.code, *values),
            )

    def waiting_for(self, recipient: Eui, limit: int = 100) -> list[Delivery]:
        """The oldest messages that this user's listener has not taken yet; none that may yet be taken back."""
        with self._database.committed():
            return self._read(
                "WHERE delivered IS NULL AND refused IS NULL AND recipient = ? ORDER BY id LIMIT ?",
                recipient.octets,
                limit,
            )

    def last(self, limit: int = 100) -> list[Delivery]:
        """The newest messages, oldest first."""
        return self._read("ORDER BY id DESC LIMIT ?", limit)[::-1]

    def after(self, number: int) -> list[Delivery]:
        return self._read("WHERE id > ? ORDER BY id", number)

    def newest(self) -> int:
        (number,) = self._sql.execute("SELECT coalesce(max(id), 0) FROM deliveries").fetchone()
        return int(number)

    def count(self, code: str) -> int:
        (number,) = self._sql.execute(
            "SELECT count(*) FROM deliveries WHERE code = ?", (code,)
        ).fetchone()
        return int(number)

    def delivered(self, number: int, now: datetime) -> None:
        self._mark(number, "delivered", now.isoformat())

    def set_aside(self, number: int, why: str) -> None:
        """The listener does not want it; those after it go on."""
        self._mark(number, "refused", why)

    def _mark(self, number: int, column: str, value: str) -> None:
        with self._database.transaction():  # its own, not one that another thread is in
            self._sql.execute(f"UPDATE deliveries SET {column} = ? WHERE id = ?", (value, number))

    def send_again(self) -> int:
        """What was set aside waits for its listener again; how many."""
        with self._database.transaction():
            return self._sql.execute(
                "UPDATE deliveries SET refused = NULL WHERE refused IS NOT NULL AND delivered IS NULL"
            ).rowcount

    def _read(self, where: str, *values: object) -> list[Delivery]:
        rows = self._sql.execute(
            f"SELECT id, recipient, at, code, device, request, body, delivered, refused"
            f" FROM deliveries {where}",
            values,
        )
        return [
            Delivery(
                number,
                Eui(recipient),
                datetime.fromisoformat(at),
                code,
                device and Eui(device),
                request,
                body.encode() if body else self._status_change(code, Eui(device), at),
                delivered is not None,
                refused,
            )
            for number, recipient, at, code, device, request, body, delivered, refused in rows
        ]

    def _status_change(self, code: str, device: Eui, at: str) -> bytes:
        body = DccAlert(code, DeviceStatusChanged(device, STATUS_CHANGES[code]))
        return self._write(Response("I0", datetime.fromisoformat(at), body=body))
