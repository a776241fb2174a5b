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
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from hanlab.dsp import alerts, commissioning, joining, updates
from hanlab.dsp.accepted import Accepted, AcceptedRequests, is_cancellation
from hanlab.dsp.audit import Audit
from hanlab.dsp.authorisation import ACCEPTED, Case, Decision, answers_for, authorise
from hanlab.dsp.awaited import AwaitedJoins
from hanlab.dsp.commissioning import IS_HAN_BODY
from hanlab.dsp.counters import Counters
from hanlab.dsp.cpl import Cpl, CplEntry, CplStatus
from hanlab.dsp.database import Database
from hanlab.dsp.deliveries import Deliveries, Write
from hanlab.dsp.execution import Execution
from hanlab.dsp.parts import SUPERSEDED, Notice, Parts, S1spDoor
from hanlab.dsp.service_requests import SERVICE_REQUESTS, SUPPLIERS, WebService
from hanlab.dsp.settings import DspSettings, User
from hanlab.dsp.smi import Smi, SmiDevice
from hanlab.dsp.unanswered import UnansweredActivations
from hanlab.duis.messages import (
    MAX_COUNTER,
    ActivateFirmware,
    ChFirmwareNotification,
    DecommissionDevice,
    DevicePreNotification,
    Inventory,
    InventoryDevice,
    ReadDeviceLog,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    RequestId,
    Response,
    S1spAlert,
    UpdateFirmware,
    UpdateInventory,
)
from hanlab.errors import UsageError
from hanlab.eui import Eui

if TYPE_CHECKING:
    from hanlab.s1sp.progress import Report

MANUFACTURER: Final = "manufacturer"
"""The party that lists its products on the CPL (rule 18)."""
MOST_ON_HAN: Final = 17
"""Devices in a Read Inventory response."""


class _NothingDecided(Exception):
    """Nothing of it is to be kept, not even the time."""


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
            self._ended(accepted.id, accepted.reference, device, "E4", why)
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
        """Decide over a Service Request; at once.

        Returns I99 if it goes on (then `carry_out` it), I0 with the answer if the DSP has it, or the
        code that refuses it.

        Raises:
            CounterError: its counter is not above the originator's last one, or far above it.
        """
        (answer,) = self.receive_all([(request, service)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def receive_all(
        self, asked: Iterable[tuple[Request, WebService | None]]
    ) -> list[Response | Exception]:
        """`receive` for several, one after the other, with one commit: what each gets, or raises.

        What one raises takes back that one alone.

        Raises:
            DatabaseTrouble: they could not be committed, and nothing of any of them is there.
        """
        answers: list[Response | Exception] = []
        lines = []
        with suppress(_NothingDecided), self.parts.transaction():
            for request, service in asked:
                try:
                    with self.parts.database.part():
                        response, decision = self._decide(request, service)
                    answers.append(response)
                    lines.append(self._log_line(request, decision))
                except Exception as e:
                    if not self.parts.database.sql.in_transaction:  # a full disk has ended it
                        raise
                    answers.append(e)
            if all(isinstance(answer, Exception) for answer in answers):
                raise _NothingDecided
        for line in lines:
            self.parts.log(line)
        return answers

    def _log_line(self, request: Request, decision: Decision) -> str:
        user = self.settings.user(request.id.originator)
        who = user.name if user else request.id.originator
        why = f" ({decision.why})" if decision.refused else ""
        return f"{who}: {request.service} to {request.id.target}: {decision.code}{why}"

    def _decide(self, request: Request, service: WebService | None) -> tuple[Response, Decision]:
        self.expire()  # a last day may have passed since the DSP was opened
        user = self.settings.user(request.id.originator)
        if user:
            self.counters.take(request.id)
        device = self.smi.find(request.id.target)
        case = Case(request, user, device, self.settings, self.parts.clock(), service)
        decision = authorise(case)
        body: Inventory | None = None
        if decision.accepted and self.no_contact and _is_for_devices(request):
            decision = Decision("E20", None, self.no_contact)
        if decision.accepted and user:
            decision, body = self._accept(request, user, decision)
        if user:  # of a stranger's request nothing is kept
            self.parts.record(
                request.id.originator, request.id.target, request.reference, decision, request.id
            )
        response = Response(
            decision.code, case.now, request.id, request.service, request.service_variant, body
        )
        return response, decision

    def _accept(
        self, request: Request, user: User, decision: Decision
    ) -> tuple[Decision, Inventory | None]:
        match request.body:
            case ReadInventory(device):
                return self._read_inventory(device)
            case DevicePreNotification():
                return joining.pre_notify(self.parts, request.body, user), None
            case DecommissionDevice():
                return joining.decommission(self.parts, request.body, user), None
            case UpdateInventory():
                return joining.update_inventory(self.parts, request.body, user), None
            case UpdateFirmware():
                decided = self._accept_update(request, request.body, user)
                code = updates.code_for(request.service, decided.code)
                return replace(decided, code=code), None
            case body if self._is_carried_out(request):
                execution = getattr(body, "execution", None)  # some are never future-dated
                if is_cancellation(execution):
                    number = self.parts.accepted.cancel(request, self._execution.begun)
                    why = f"{number} future-dated {request.service} cancelled"
                    return Decision(ACCEPTED, None, why), None
                if refusal := joining.refusal(self.parts, request):
                    return refusal, None
                self._keep(_accepted(request, execution, self.parts.clock()))
            case _:
                self._not_simulated(request)
        return decision, None

    def _is_carried_out(self, request: Request) -> bool:
        """Whether a board has something to do with it; no device but a CH has a device log."""
        if isinstance(request.body, ReadDeviceLog):
            return self.parts.device(request.id.target).device_type == "CHF"
        return isinstance(request.body, (ReadFirmwareVersion, ActivateFirmware, *IS_HAN_BODY))

    def _accept_update(self, request: Request, body: UpdateFirmware, user: User) -> Decision:
        devices = updates.sort(self.parts, request.service, body, user)
        if isinstance(devices, Decision):
            return devices
        wanted = [device.eui for device in devices.accepted]
        busy = self.parts.s1sp.in_progress(wanted, self._execution.waiting())
        devices.accepted = [d for d in devices.accepted if d.eui not in busy]
        devices.other_in_progress = [eui for eui in wanted if eui in busy]
        if not devices.accepted:
            return updates.all_left_out(devices)
        self._keep(
            Accepted(
                request.id,
                request.service,
                request.service_variant,
                UpdateFirmware(body.image, body.version, tuple(d.eui for d in devices.accepted)),
                warning=devices.warning,
                at=self.parts.clock(),
            )
        )
        for device in devices.accepted:
            if device.device_type == "CHF":
                note = ChFirmwareNotification(device.eui, body.version, "UpdateRequested")
                self.parts.alert(alerts.CH_REQUESTED, note, device)
        return updates.accepted(devices)

    def _keep(self, accepted: Accepted) -> None:
        """It is pending from now on, and what it makes void is not."""
        self.parts.accepted.add(accepted)
        for older, device in self.parts.accepted.supersede(
            accepted, self.parts.clock(), self._execution.begun
        ):
            why = f"superseded by {accepted.id}, a newer {accepted.reference} for {device}"
            self._ended(older, accepted.reference, device, SUPERSEDED, why)

    def _ended(self, request: RequestId, service: str, device: Eui, end: str, why: str) -> None:
        """A request ends before it is carried out; no response code says that, so its user gets an alert."""
        decision = Decision(end, None, f"{request}: {why}")
        self.parts.record("DSP", device, service, decision, request)
        alert = S1spAlert(request, device, end, why[:250], self.parts.clock())
        self.parts.tell(request.originator, alerts.S1SP, alert, device)
        self.parts.notice(Notice(request, service, device, end))

    def _read_inventory(self, eui: Eui) -> tuple[Decision, Inventory | None]:
        device = self.smi.find(eui)
        if device is None:
            return Decision("E19", None, f"{eui} is not in the inventory"), None
        hub = device.hub or (device.eui if device.device_type == "CHF" else None)
        found = self.smi.on_han(hub)[:MOST_ON_HAN] if hub else [device]
        inventory = Inventory(tuple(map(self._inventory_device, found)))
        return Decision("I0", 112, updates.counted(len(found))), inventory

    def _inventory_device(self, device: SmiDevice) -> InventoryDevice:
        entry = self.cpl.entry_of(device)
        return InventoryDevice(
            device=device.eui,
            device_type=device.device_type,
            status=device.status,
            manufacturer=device.manufacturer[:30],
            model=device.model[:30],
            smets_chts_version=device.smets_chts_version,
            firmware_version=device.version,
            cpl_status=entry.status if entry else None,
            import_mpxn=device.import_mpxn,
            s1sp=device.smso,
        )

    def _not_simulated(self, request: Request) -> None:
        """2.2, 6.23, an 8.9 to a device: authorised as they would be, and no board does anything."""
        alert = S1spAlert(
            request.id,
            request.id.target,
            "not simulated",
            f"authorised; hanlab's boards do not carry out {request.reference}",
            self.parts.clock(),
        )
        self.parts.tell(request.id.originator, alerts.S1SP, alert, request.id.target)

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
                self._ended(request, accepted.reference, device, "cancelled", why)
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


def _is_for_devices(request: Request) -> bool:
    """Whether nothing comes of it where no board can be reached."""
    match request.body:
        case UpdateFirmware():
            return True
        case body if isinstance(body, (ReadFirmwareVersion, ActivateFirmware, *IS_HAN_BODY)):
            return not is_cancellation(getattr(body, "execution", None))
        case _:
            return False


def _accepted(request: Request, execution: datetime | None, at: datetime) -> Accepted:
    return Accepted(
        request.id, request.service, request.service_variant, request.body, execution, at=at
    )
