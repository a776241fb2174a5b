"""A Service Request comes: what is answered to it at once, and what is kept of it to be carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from hanlab.dsp import alerts, joining, updates
from hanlab.dsp.accepted import Accepted, is_cancellation
from hanlab.dsp.authorisation import ACCEPTED, Case, Decision, authorise
from hanlab.dsp.commissioning import IS_HAN_BODY
from hanlab.dsp.counters import Counters
from hanlab.dsp.execution import Execution
from hanlab.dsp.parts import SUPERSEDED, Parts
from hanlab.dsp.service_requests import WebService
from hanlab.dsp.settings import User
from hanlab.dsp.smi import SmiDevice
from hanlab.duis.messages import (
    ActivateFirmware,
    DecommissionDevice,
    DevicePreNotification,
    ReadDeviceLog,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    UpdateFirmware,
    UpdateInventory,
)
from hanlab.duis.responses import (
    ChFirmwareNotification,
    Inventory,
    InventoryDevice,
    Response,
    S1spAlert,
)
from hanlab.eui import Eui

MOST_ON_HAN: Final = 17
"""Devices in a Read Inventory response."""


class _NothingDecided(Exception):
    """Nothing of it is to be kept, not even the time."""


class Reception:
    """Decides over Service Requests. `expire` takes off the CPL what is past; `no_contact` says why no board can be
    reached any more, or ""."""

    def __init__(
        self,
        parts: Parts,
        counters: Counters,
        execution: Execution,
        expire: Callable[[], object],
        no_contact: Callable[[], str],
    ) -> None:
        self._parts = parts
        self._counters = counters
        self._execution = execution
        self._expire = expire
        self._no_contact = no_contact

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
        with suppress(_NothingDecided), self._parts.transaction():
            for request, service in asked:
                try:
                    with self._parts.database.part():
                        response, decision = self._decide(request, service)
                    answers.append(response)
                    lines.append(self._log_line(request, decision))
                except Exception as e:
                    if not self._parts.database.sql.in_transaction:  # a full disk has ended it
                        raise
                    answers.append(e)
            if all(isinstance(answer, Exception) for answer in answers):
                raise _NothingDecided
        for line in lines:
            self._parts.log(line)
        return answers

    def _log_line(self, request: Request, decision: Decision) -> str:
        user = self._parts.settings.user(request.id.originator)
        who = user.name if user else request.id.originator
        why = f" ({decision.why})" if decision.refused else ""
        return f"{who}: {request.service} to {request.id.target}: {decision.code}{why}"

    def _decide(self, request: Request, service: WebService | None) -> tuple[Response, Decision]:
        self._expire()  # a last day may have passed since the DSP was opened
        user = self._parts.settings.user(request.id.originator)
        if user:
            self._counters.take(request.id)
        device = self._parts.smi.find(request.id.target)
        case = Case(request, user, device, self._parts.settings, self._parts.clock(), service)
        decision = authorise(case)
        body: Inventory | None = None
        if decision.accepted and _is_for_devices(request) and (why := self._no_contact()):
            decision = Decision("E20", None, why)
        if decision.accepted and user:
            decision, body = self._accept(request, user, decision)
        if user:  # of a stranger's request nothing is kept
            self._parts.record(
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
                return joining.pre_notify(self._parts, request.body, user), None
            case DecommissionDevice():
                return joining.decommission(self._parts, request.body, user), None
            case UpdateInventory():
                return joining.update_inventory(self._parts, request.body, user), None
            case UpdateFirmware():
                decided = self._accept_update(request, request.body, user)
                code = updates.code_for(request.service, decided.code)
                return replace(decided, code=code), None
            case body if self._is_carried_out(request):
                execution = getattr(body, "execution", None)  # some are never future-dated
                if is_cancellation(execution):
                    number = self._parts.accepted.cancel(request, self._execution.begun)
                    why = f"{number} future-dated {request.service} cancelled"
                    return Decision(ACCEPTED, None, why), None
                if refusal := joining.refusal(self._parts, request):
                    return refusal, None
                self._keep(_accepted(request, execution, self._parts.clock()))
            case _:
                self._not_simulated(request)
        return decision, None

    def _is_carried_out(self, request: Request) -> bool:
        """Whether a board has something to do with it; no device but a CH has a device log."""
        if isinstance(request.body, ReadDeviceLog):
            return self._parts.device(request.id.target).device_type == "CHF"
        return isinstance(request.body, (ReadFirmwareVersion, ActivateFirmware, *IS_HAN_BODY))

    def _accept_update(self, request: Request, body: UpdateFirmware, user: User) -> Decision:
        devices = updates.sort(self._parts, request.service, body, user)
        if isinstance(devices, Decision):
            return devices
        wanted = [device.eui for device in devices.accepted]
        busy = self._parts.s1sp.in_progress(wanted, self._execution.waiting())
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
                at=self._parts.clock(),
            )
        )
        for device in devices.accepted:
            if device.device_type == "CHF":
                note = ChFirmwareNotification(device.eui, body.version, "UpdateRequested")
                self._parts.alert(alerts.CH_REQUESTED, note, device)
        return updates.accepted(devices)

    def _keep(self, accepted: Accepted) -> None:
        """It is pending from now on, and what it makes void is not."""
        self._parts.accepted.add(accepted)
        for older, device in self._parts.accepted.supersede(
            accepted, self._parts.clock(), self._execution.begun
        ):
            why = f"superseded by {accepted.id}, a newer {accepted.reference} for {device}"
            self._parts.ended(older, accepted.reference, device, SUPERSEDED, why)

    def _read_inventory(self, eui: Eui) -> tuple[Decision, Inventory | None]:
        device = self._parts.smi.find(eui)
        if device is None:
            return Decision("E19", None, f"{eui} is not in the inventory"), None
        hub = device.hub or (device.eui if device.device_type == "CHF" else None)
        found = self._parts.smi.on_han(hub)[:MOST_ON_HAN] if hub else [device]
        inventory = Inventory(tuple(map(self._inventory_device, found)))
        return Decision("I0", 112, updates.counted(len(found))), inventory

    def _inventory_device(self, device: SmiDevice) -> InventoryDevice:
        entry = self._parts.cpl.entry_of(device)
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
            self._parts.clock(),
        )
        self._parts.tell(request.id.originator, alerts.S1SP, alert, request.id.target)


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
