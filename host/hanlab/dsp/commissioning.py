"""8.1.1, 8.7, 8.8, 8.9 and 8.11 at the CH and its devices, and what comes of them in the SMI.

The boards join a HAN as Zigbee devices do, and keep no device log of their own beside the CH's: to 8.1.1, 8.7 and
8.8 the S1SP answers as soon as the device itself has answered it over the HAN.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hanlab.dsp import alerts, lifecycle
from hanlab.dsp.accepted import Accepted
from hanlab.dsp.authorisation import Decision
from hanlab.dsp.parts import Parts
from hanlab.dsp.service_requests import METERS
from hanlab.dsp.smi import SmiDevice, Status
from hanlab.duis.messages import (
    CommissionDevice,
    JoinService,
    ReadDeviceLog,
    RequestId,
    UnjoinService,
    UpdateHanDeviceLog,
)
from hanlab.duis.responses import (
    DeviceAnswer,
    DeviceCommissioned,
    DeviceLogRead,
    HanDeviceLogResult,
    HanDeviceLogUpdated,
    ServiceJoined,
)
from hanlab.eui import Eui
from hanlab.s1sp.join_time import join_window_s

HanBody = CommissionDevice | JoinService | UnjoinService | ReadDeviceLog | UpdateHanDeviceLog
IS_HAN_BODY: Final = (
    CommissionDevice, JoinService, UnjoinService, ReadDeviceLog, UpdateHanDeviceLog,
)  # fmt: skip


async def carry_out(parts: Parts, target: Eui, body: HanBody) -> DeviceAnswer:
    """What the CH or the device answers.

    Raises:
        ServiceRequestFailed: it did not do it, or did not answer.
    """
    match body:
        case UpdateHanDeviceLog(device, True, join_s, install_code):
            await parts.s1sp.add_device(target, device, install_code, join_s)
            return HanDeviceLogUpdated()
        case UpdateHanDeviceLog(device):
            await parts.s1sp.remove_device(target, device)
            return HanDeviceLogUpdated()
        case ReadDeviceLog():
            return await parts.s1sp.device_log(target)
    await parts.s1sp.read_firmware_version(target)
    match body:
        case CommissionDevice():
            return DeviceCommissioned(parts.clock())
        case JoinService(_, critical) | UnjoinService(_, critical):
            return ServiceJoined(isinstance(body, JoinService), critical)


def refused(body: HanBody) -> DeviceAnswer | None:
    """How the CH's own refusal is answered; None: there is no answer that says so."""
    match body:
        case UpdateHanDeviceLog():
            return HanDeviceLogUpdated(success=False)
        case ReadDeviceLog():
            return DeviceLogRead(success=False)
        case _:
            return None


def settle(parts: Parts, accepted: Accepted) -> None:
    """It has succeeded: the SMI follows, in a transaction of the caller's."""
    target = accepted.id.target
    match accepted.body:
        case UpdateHanDeviceLog(eui, add, join_s):
            device = parts.device(eui)
            if add:
                _added(parts, accepted.id, device, join_s)
                see_joined(parts)
            else:
                parts.awaited.end(eui)
                _step(parts, device, lifecycle.REMOVED, hub=None)
        case CommissionDevice():
            _commissioned(parts, accepted, target)
        case JoinService(other):
            for eui in (target, other):
                _commissioned(parts, accepted, eui)


def _added(parts: Parts, request: RequestId, device: SmiDevice, join_s: int) -> None:
    hub = request.target
    if (
        device.hub != hub and device.device_type not in METERS
    ):  # a meter's are in the registration data
        of = parts.device(hub)
        parts.smi.set_parties(device.eui, of.supplier, of.network_operator)
    if lifecycle.ADDED.leads_on(device):
        _step(parts, device, lifecycle.ADDED, hub=hub)
    if lifecycle.actual(parts.device(device.eui)) is Status.WHITELISTED:
        until = parts.clock() + timedelta(seconds=join_window_s(join_s))
        parts.awaited.add(device.eui, request, until)


def _commissioned(parts: Parts, accepted: Accepted, eui: Eui) -> None:
    device = parts.smi.find(eui)
    if device and lifecycle.commissioned_by(accepted.reference, device):
        _step(parts, device, lifecycle.COMMISSIONED, hub=device.hub)


def see_joined(parts: Parts) -> list[Eui]:
    """Take note of the whitelisted devices that their CHs have on the HAN by now; which ones.

    Who has let it join hears of each (N24), and of those that have not come in their time (N25).
    """
    found = joined(parts)
    for device in found:
        _step(parts, device, lifecycle.JOINED, hub=device.hub)
        _tell_end(parts, device.eui, alerts.JOINED)
    for eui in late(parts):
        _tell_end(parts, eui, alerts.NOT_JOINED)
    return [device.eui for device in found]


def late(parts: Parts) -> list[Eui]:
    """The devices that an 8.11 let join, and that have not in their time."""
    return parts.awaited.late(parts.clock())


def _tell_end(parts: Parts, device: Eui, alert: alerts.Alert) -> None:
    if request := parts.awaited.end(device):
        parts.tell(request.originator, alert, HanDeviceLogResult(request), device)


def joined(parts: Parts) -> list[SmiDevice]:
    """The whitelisted devices that their CHs have on the HAN."""
    waiting = parts.smi.of_status(Status.WHITELISTED)
    return [d for d in waiting if d.hub and parts.s1sp.hub_of(d.eui) == d.hub]


def _step(parts: Parts, device: SmiDevice, step: lifecycle.Step, *, hub: Eui | None) -> None:
    if not step.leads_on(device):
        return
    parts.smi.move(device.eui, step.to, hub)
    status = parts.device(device.eui).status
    parts.record("DSP", device.eui, step.name, Decision(status, 24, f"{device.eui} is {status}"))
