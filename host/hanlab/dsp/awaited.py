"""Devices that an 8.11 lets join their CH's HAN, until they have, or its JoinTimePeriod is over."""

from __future__ import annotations

from datetime import datetime

from hanlab.dsp.accepted import parse_id
from hanlab.dsp.database import Database
from hanlab.duis.messages import RequestId
from hanlab.eui import Eui


class AwaitedJoins:
    """By device, with the 8.11 that was the last to let it join; in the DSP's file, so it outlives the process."""

    def __init__(self, database: Database) -> None:
        self._sql = database.sql

    def add(self, device: Eui, request: RequestId, until: datetime) -> None:
        values = (device.octets, str(request), until.isoformat())
        self._sql.execute("INSERT OR REPLACE INTO awaited VALUES (?, ?, ?)", values)

    def end(self, device: Eui) -> RequestId | None:
        """It has joined, or may not any more: the 8.11 that had let it."""
        where = "WHERE device = ?"
        row = self._sql.execute(f"SELECT request FROM awaited {where}", (device.octets,)).fetchone()
        self._sql.execute(f"DELETE FROM awaited {where}", (device.octets,))
        return parse_id(row[0]) if row else None

    def late(self, now: datetime) -> list[Eui]:
        """Those whose time is over."""
        rows = self._sql.execute("SELECT device, until FROM awaited").fetchall()
        return [Eui(octets) for octets, until in rows if datetime.fromisoformat(until) <= now]
