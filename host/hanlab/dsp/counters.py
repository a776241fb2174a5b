"""The counters in RequestIDs: each user's rises from request to request, so that none is used twice.

Clients count from 1 or take the milliseconds since 1970, as Smart DCC's own tools do. One that is far
above the last would leave no number for the next: a step is at most `MAX_STEP`. That a user's counter
is too high nevertheless is mended by `hanlab dsp reset-counter`.
"""

from __future__ import annotations

from typing import Final

from hanlab.dsp.database import Database
from hanlab.duis.messages import MAX_COUNTER, RequestId
from hanlab.errors import UsageError
from hanlab.eui import Eui

MAX_STEP: Final = 2**42
"""How far a counter may be above the last one: from 0 to the milliseconds since 1970 until the year 2109."""


class CounterError(UsageError):
    """A RequestID's counter is not one that its originator may use now."""


class ReplayError(CounterError):
    """It is not above the last one of its originator."""


class Counters:
    def __init__(self, database: Database) -> None:
        self._sql = database.sql

    def last(self, originator: Eui) -> int:
        """0 if that user has sent nothing yet."""
        row = self._sql.execute(
            "SELECT last FROM counters WHERE originator = ?", (originator.octets,)
        ).fetchone()
        return int.from_bytes(row[0], "big") if row else 0

    def most(self, originator: Eui) -> int:
        """The highest counter that its next request may have."""
        return min(self.last(originator) + MAX_STEP, MAX_COUNTER)

    def next(self, originator: Eui) -> int:
        """One above the last.

        Raises:
            CounterError: there is none.
        """
        last = self.last(originator)
        if last >= MAX_COUNTER:
            raise CounterError(
                f"the last counter of {originator} is {last}; DUIS has none above {MAX_COUNTER}",
                next_step=f"hanlab dsp reset-counter {originator}",
            )
        return last + 1

    def take(self, request: RequestId) -> None:
        """Use a request's counter; nothing changes if it cannot be used.

        Raises:
            CounterError: it is not above the last one, or more than MAX_STEP above it.
        """
        last = self.last(request.originator)
        if request.counter <= last:
            raise ReplayError(
                f"the counter of {request} is not above {last}, the last one of {request.originator}",
                next_step="each Service Request has a counter of its own, above the one before; "
                f"hanlab dsp reset-counter {request.originator} begins again",
            )
        if request.counter > self.most(request.originator):
            raise CounterError(
                f"the counter of {request} is {request.counter - last} above {last}, the last one of "
                f"{request.originator}; {MAX_STEP} are the most",
                next_step=f"count on from {last}, or use the milliseconds since 1970",
            )
        self.put(request.originator, request.counter)

    def put(self, originator: Eui, last: int) -> None:
        """Set the last counter of a user."""
        self._sql.execute(
            "INSERT INTO counters VALUES (?1, ?2)"
            " ON CONFLICT (originator) DO UPDATE SET last = excluded.last",
            (originator.octets, last.to_bytes(8, "big")),
        )
