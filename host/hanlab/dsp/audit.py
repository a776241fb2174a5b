"""The audit log: every decision with the rule that made it. It can only grow."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from hanlab.dsp.database import Database
from hanlab.duis.messages import RequestId


@dataclass(frozen=True)
class Entry:
    """Who asked (`actor`) for what (`action`) of which device or entry (`subject`); the answer.

    `rule` is a row of the rule table (`hanlab rules --coverage`), None where only DUIS itself decides.
    `request` is the Service Request that it was about, `next_step` what helps where that failed.
    """

    at: str
    actor: str
    subject: str
    action: str
    code: str
    rule: int | None
    why: str
    request: str | None = None
    next_step: str | None = None


_COLUMNS: Final = ", ".join(field.name for field in fields(Entry))


class Audit:
    def __init__(self, database: Database) -> None:
        self._sql = database.sql

    def write(
        self,
        at: datetime,
        actor: object,
        subject: object,
        action: str,
        code: str,
        rule: int | None,
        why: str,
        request: RequestId | None = None,
        next_step: str | None = None,
    ) -> None:
        about = str(request) if request else None
        self._sql.execute(
            f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(at.isoformat(), str(actor), str(subject), action, code, rule, why),
                *(about, next_step),
            ),
        )

    def read(self, last: int = 100) -> list[Entry]:
        """The `last` entries, oldest first."""
        rows = self._sql.execute(
            f"SELECT {_COLUMNS} FROM audit ORDER BY id DESC LIMIT ?", (last,)
        ).fetchall()
        return [Entry(*row) for row in reversed(rows)]

    def newest(self) -> int:
        """The number of the newest entry."""
        (number,) = self._sql.execute("SELECT coalesce(max(id), 0) FROM audit").fetchone()
        return int(number)

    def first(self, request: RequestId, action: str, after: int) -> Entry | None:
        """The first entry after number `after` on that request with that action."""
        row = self._sql.execute(
            f"SELECT {_COLUMNS} FROM audit WHERE id > ? AND request = ? AND action = ? ORDER BY id LIMIT 1",
            (after, str(request), action),
        ).fetchone()
        return row and Entry(*row)

    def after(self, number: int) -> list[Entry]:
        """The entries after that one, oldest first."""
        rows = self._sql.execute(
            f"SELECT {_COLUMNS} FROM audit WHERE id > ? ORDER BY id", (number,)
        )
        return [Entry(*row) for row in rows]
