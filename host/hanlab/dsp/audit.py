"""The audit log: every decision with the rule that made it. It can only grow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hanlab.dsp.database import Database


@dataclass(frozen=True)
class Entry:
    """Who asked (`actor`) for what (`action`) of which device or entry (`subject`); the answer.

    `rule` is a row of the rule table (`hanlab rules --coverage`), None where only DUIS itself decides.
    """

    at: str
    actor: str
    subject: str
    action: str
    code: str
    rule: int | None
    why: str


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
    ) -> None:
        self._sql.execute(
            "INSERT INTO audit (at, actor, subject, action, code, rule, why)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (at.isoformat(), str(actor), str(subject), action, code, rule, why),
        )

    def read(self, last: int = 100) -> list[Entry]:
        """The `last` entries, oldest first."""
        rows = self._sql.execute(
            "SELECT at, actor, subject, action, code, rule, why FROM audit ORDER BY id DESC LIMIT ?",
            (last,),
        ).fetchall()
        return [Entry(*row) for row in reversed(rows)]

    def newest(self) -> int:
        """The number of the newest entry."""
        (number,) = self._sql.execute("SELECT coalesce(max(id), 0) FROM audit").fetchone()
        return int(number)

    def after(self, number: int) -> list[Entry]:
        """The entries after that one, oldest first."""
        rows = self._sql.execute(
            "SELECT at, actor, subject, action, code, rule, why FROM audit WHERE id > ? ORDER BY id",
            (number,),
        )
        return [Entry(*row) for row in rows]
