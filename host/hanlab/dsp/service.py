"""The DSP: decides over Service Requests, hands them to the S1SP, keeps SMI and CPL, sends alerts.

```python
acknowledgement = dsp.receive(request)            # I99, or why not; at once
result = await dsp.carry_out(request.id, report)  # what comes of it; also in dsp.deliveries
```

Each decision is one transaction, or a part of one that several share (`receive_all`): after a `kill -9` a
request was never heard of, or is still there to be carried out (`unfinished`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from hanlab.dsp import alerts, commissioning, updates
from hanlab.dsp.accepted import Accepted, AcceptedRequests
from hanlab.dsp.audit import Audit
from hanlab.dsp.authorisation import Decision, answers_for
from hanlab.dsp.awaited import AwaitedJoins
from hanlab.dsp.counters import Counters
from hanlab.dsp.cpl import Cpl, CplEntry, CplStatus
from hanlab.dsp.database import Database
from hanlab.dsp.deliveries import Deliveries, Write
from hanlab.dsp.execution import Execution
from hanlab.dsp.parts import Notice, Parts, S1spDoor
from hanlab.dsp.reception import Reception
from hanlab.dsp.service_requests import SERVICE_REQUESTS, SUPPLIERS, WebService
from hanlab.dsp.settings import DspSettings, User
from hanlab.dsp.smi import Smi
from hanlab.dsp.unanswered import UnansweredActivations
from hanlab.duis.messages import MAX_COUNTER, Request, RequestId, UpdateFirmware
from hanlab.duis.responses import Response
from hanlab.errors import UsageError
from hanlab.eui import Eui

if TYPE_CHECKING:
    from hanlab.s1sp.progress import Report

MANUFACTURER: Final = "manufacturer"
"""The party that lists its products on the CPL (rule 18)."""


class Dsp:
    """`clock` says the civil time, `write` makes the XML of deliveries, `chance` decides over losses."""

    def __init__(
        self,
        database: Database,
        settings: DspSettings,
        s1sp: S1spDoor,
        *,
        clock: Callable[[], datetime],
        write: Write,
        chance: random.Random,
        elsewhere: Callable[[], bool] | None = None,
    ) -> None:
        """`elsewhere`: whether another process carries requests out now; None: this one has the lab."""
        self.parts = Parts(
            database,
            settings,
            Cpl(database),
            Smi(database),
            Audit(database),
            Deliveries(database, write),
            AcceptedRequests(database),
            UnansweredActivations(database),
            AwaitedJoins(database),
            s1sp,
            clock,
            chance,
        )
        self.cpl = self.parts.cpl
        self.smi = self.parts.smi
        self.audit = self.parts.audit
        self.deliveries = self.parts.deliveries
        self.counters = Counters(database)
        self._execution = Execution(self.parts, elsewhere)
        self.no_contact = ""
        """Why no board can be reached any more: what is for a device is answered E20 then."""
        self._reception = Reception(
            self.parts, self.counters, self._execution, self.expire, lambda: self.no_contact
        )

    @property
    def settings(self) -> DspSettings:
        return self.parts.settings

    # -- the CPL

    def load(self, entries: Collection[CplEntry], by: str = MANUFACTURER) -> None:
        """Add entries to the CPL, all or none. One that is not active suspends what runs it (rule 78).

        Raises:
            UsageError: `by` is not the manufacturer (rule 18), or an entry is wrong.
        """
        _only_manufacturers(by)
        today = self.parts.clock().date()
        with self.parts.transaction():
            for entry in entries:
                if entry.status is CplStatus.ACTIVE and entry.expires and entry.expires < today:
                    raise UsageError(
                        f"expires = {str(entry.expires)!r} of {entry} is past: in this lab it is {today}",
                        next_step="give a later day, or leave it out",
                    )
                self.cpl.add(entry)
                self.parts.record(by, entry, "CPL add", Decision(entry.status, 18, "listed"))
                if entry.status is not CplStatus.ACTIVE:
                    self.withdraw(entry, entry.status)

    def relist(self, entry: CplEntry, by: str = MANUFACTURER) -> None:
        """Make an entry of the CPL active again, without a last day.

        What it suspended stays Suspended: that ends with the version that it runs (rules 87, 88).

        Raises:
            UsageError: `by` is not the manufacturer (rule 18).
        """
        _only_manufacturers(by)
        with self.parts.transaction():
            self.cpl.relist(entry)
            self.parts.record(by, entry, "CPL add", Decision(CplStatus.ACTIVE, 18, "listed again"))

    def withdraw(self, entry: CplEntry, status: CplStatus = CplStatus.WITHDRAWN) -> int:
        """Take an entry off the CPL; how many devices are Suspended with it (rule 78), each with N28."""
        with self.parts.transaction():
            self.deliveries.put_for_covered(alerts.SUSPENDED, entry, self.parts.clock())
            suspended = self.cpl.end(entry, status)
            why = f"{updates.counted(suspended)} Suspended"
            self.parts.record("CPL", entry, "CPL remove", Decision(status, 78, why))
        return suspended

    def expire(self) -> int:
        """Take off the CPL whose last day has passed; how many devices are Suspended with that."""
        due = self.cpl.due(self.parts.clock())
        return sum(self.withdraw(entry, CplStatus.EXPIRED) for entry in due)

    def remember_time(self) -> None:
        """Civil time goes on from here when the DSP is opened again."""
        self.smi.remember_time(self.parts.clock())

    def hand_over(self, eui: Eui, to: User) -> None:
        """Another supplier is responsible for a device from now on; nothing else changes (rule 150).

        The registration data say so, no Service Request does. The old one's requests get E4, also those
        that are pending and have not begun.

        Raises:
            UsageError: the device is not in the inventory, or `to` is no supplier.
        """
        device = self.smi.find(eui)
        if device is None:
            raise UsageError(
                f"{eui} is not in the inventory", next_step="hanlab inventory shows what is"
            )
        if not to.roles & SUPPLIERS:
            raise UsageError(
                f"{to.name} is no supplier",
                next_step=f"it takes one of {', '.join(sorted(SUPPLIERS))}",
            )
        with self.parts.transaction():
            self.smi.set_supplier(eui, to.eui)
            why = f"{to.name} is the responsible supplier now"
            self.parts.record("lab", eui, "change of supplier", Decision("changed", 150, why))
            begun = self._execution.begun
            for accepted in self.pending():
                user = self.settings.user(accepted.id.originator)
                request = SERVICE_REQUESTS[accepted.reference]
                device = self.smi.find(eui)
                if (
                    user
                    and device
                    and eui in accepted.devices
                    and accepted.id not in begun
                    and not answers_for(user, device, request)
                ):
                    self._answers_no_more(accepted, eui, user)

    def _answers_no_more(self, accepted: Accepted, device: Eui, user: User) -> None:
        """A pending request of a user who does not answer for the device any more (rule 150): E4."""
        self.parts.accepted.take_back(accepted, [device], "refused")
        why = f"{user.name} does not answer for {device} any more"
        if isinstance(accepted.body, UpdateFirmware):  # its list has no code for each device
            self.parts.ended(accepted.id, accepted.reference, device, "E4", why)
            return
        answer = Response(
            "E4", self.parts.clock(), accepted.id, accepted.service, accepted.service_variant
        )
        self.deliveries.put(user.eui, answer, device)
        self.parts.record("DSP", device, accepted.reference, Decision("E4", 150, why))
        self.parts.notice(Notice(accepted.id, accepted.reference, device, "E4"))

    # -- a Service Request comes

    def next_counter(self, originator: Eui) -> int:
        """A counter above the last one of that user, and of no request of its own that is pending.

        Raises:
            CounterError: there is none.
        """
        pending = {r.counter for r in self.unfinished() if r.originator == originator}
        counter = self.counters.next(originator)
        while counter in pending:  # from before the user's counter was reset
            counter += 1
        return counter

    def reset_counter(self, originator: Eui, last: int = 0) -> int:
        """Let a user count on from `last`; what the last counter was. Older requests can be sent again.

        Raises:
            UsageError: `last` is no counter.
        """
        if not 0 <= last < MAX_COUNTER:
            raise UsageError(
                f"{last} is no counter to go on from", next_step=f"from 0 to {MAX_COUNTER - 1}"
            )
        with self.parts.transaction():
            before = self.counters.last(originator)
            self.counters.put(originator, last)
            why = f"the last counter was {before}, and is {last}"
            self.parts.record("operator", originator, "counter reset", Decision("done", None, why))
        return before

    def receive(self, request: Request, service: WebService | None = None) -> Response:
        """Decide over a Service Request; see `Reception.receive`."""
        return self._reception.receive(request, service)

    def receive_all(
        self, asked: Iterable[tuple[Request, WebService | None]]
    ) -> list[Response | Exception]:
        """`receive` for several; see `Reception.receive_all`."""
        return self._reception.receive_all(asked)

    # -- and is carried out

    def unfinished(self) -> list[RequestId]:
        """What was acknowledged and is not done: also what an earlier process left behind."""
        return self.parts.accepted.all()

    def pending(self) -> list[Accepted]:
        """What `unfinished` names, in the order in which it falls due."""
        found = map(self.parts.accepted.find, self.unfinished())
        return [accepted for accepted in found if accepted]

    def under_way(self) -> set[RequestId]:
        """What is being carried out, here or by the process that has the boards."""
        return self._execution.begun

    def cancel(self, request: RequestId) -> bool:
        """Take back what is pending and has not begun, as whoever runs the lab wants it; whether it was."""
        with self.parts.transaction():
            accepted = self.parts.accepted.find(request)
            if accepted is None or request in self._execution.begun:
                return False
            self.parts.accepted.withdraw(request)
            for device in accepted.devices:
                why = "cancelled by whoever runs the lab"
                self.parts.ended(request, accepted.reference, device, "cancelled", why)
        return True

    def see_joined(self) -> list[Eui]:
        """Take note of the whitelisted devices that their CHs have on their HANs by now; which ones.

        Who has let them join hears of it, and of those whose time is over.
        """
        if not commissioning.joined(self.parts) and not commissioning.late(self.parts):
            return []
        with self.parts.transaction():
            return commissioning.see_joined(self.parts)

    async def carry_out_before(self, request: RequestId) -> None:
        """Carry out what is pending and falls due before that request."""
        await self._execution.carry_out_before(request)

    async def resume(self, request: RequestId) -> None:
        """Carry out what an earlier process has left behind, and what falls due before it."""
        await self._execution.resume(request)

    async def carry_out_due(self) -> None:
        """Carry out what is pending and overdue."""
        await self._execution.carry_out_due()

    async def carry_out(self, request: RequestId, report: Report) -> Response | None:
        """Do what was acknowledged with I99; see `Execution.carry_out`."""
        return await self._execution.carry_out(request, report)


def _only_manufacturers(by: str) -> None:
    if by != MANUFACTURER:
        raise UsageError(
            f"a {by} cannot list products on the CPL",
            next_step="manufacturers list their own products (rule 18)",
        )
