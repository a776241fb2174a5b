"""What the DSP itself decides of 12.2, 8.3, 8.4 and 8.11: who may come, stay and go.

Which of the codes of 8.3, 8.11 and 12.2 means what is in no public document; their use here is marked so
below. E4, E5, E11 and E19 are DUIS's own for any Service Request.
"""

from __future__ import annotations

from typing import Final

from hanlab.dsp import lifecycle
from hanlab.dsp.authorisation import ACCEPTED, Decision, answers_for
from hanlab.dsp.cpl import CplStatus
from hanlab.dsp.lifecycle import Step, actual
from hanlab.dsp.parts import Parts
from hanlab.dsp.service_requests import SERVICE_REQUESTS, SUPPLIERS
from hanlab.dsp.settings import User
from hanlab.dsp.smi import SMETS1, SMETS2, SUSPENDABLE, SmiDevice, Status
from hanlab.duis.messages import (
    DecommissionDevice,
    DeleteDevice,
    DevicePreNotification,
    JoinService,
    Request,
    SetDetails,
    SetMpxn,
    SetStatus,
    UnjoinService,
    UpdateHanDeviceLog,
    UpdateInventory,
)
from hanlab.eui import Eui

KNOWN: Final = "E120201"
NOT_LISTED: Final = "E120203"
ELSEWHERE: Final = "E081102"
NOT_THERE: Final = "E081104"
IN_UPDATE: Final = {"8.3": "E080302", "8.11": "E081105"}
RECALLED: Final = {
    KNOWN: "the device is in the inventory already",
    NOT_LISTED: "the device's model and version are not on the CPL, or not active",
    ELSEWHERE: "the device is on another CH's whitelist",
    NOT_THERE: "the device is not on this CH's whitelist",
    **dict.fromkeys(IN_UPDATE.values(), "an update of the device is in progress"),
}
"""Meanings that are recalled or chosen: the codes exist in the schema, their text is not public."""
SMETS1_VERSIONS: Final = ("SMETS V1.0", "SMETS V1.1", "SMETS V1.2")


# -- 12.2, 8.3, 8.4: no board has anything to do with them


def pre_notify(parts: Parts, body: DevicePreNotification, user: User) -> Decision:
    """12.2: the device is in the inventory from now on, Pending (rule 24)."""
    if earlier := parts.smi.find(body.device):
        why = f"{body.device} is in the inventory, as a {earlier.generation} {earlier.device_type}"
        return Decision(KNOWN, 13, f"{why}, {earlier.status}")
    generation = _generation(body)
    listed = [
        e
        for e in parts.cpl.of_version(body.firmware_version or "")
        if (e.device_type, e.manufacturer, e.model, e.generation, e.status)
        == (body.device_type, body.manufacturer, body.model, generation, CplStatus.ACTIVE)
    ]
    if body.device_type in SUSPENDABLE and not listed:
        product = f"{body.manufacturer} {body.model} {body.firmware_version or 'without a version'}"
        return Decision(
            NOT_LISTED, 15, f"{product} is not on the CPL as a {generation} {body.device_type}"
        )
    parts.smi.add(
        SmiDevice(
            eui=body.device,
            device_type=body.device_type,
            manufacturer=body.manufacturer,
            model=body.model,
            hardware=listed[0].hardware if listed else "",
            version=body.firmware_version,
            generation=generation,
            status=Status.PENDING,
            supplier=user.eui if user.roles & SUPPLIERS else None,
            smets_chts_version=body.smets_chts_version,
        )
    )
    return Decision(ACCEPTED, 24, f"{body.device} is in the inventory, {Status.PENDING}")


def decommission(parts: Parts, body: DecommissionDevice, user: User) -> Decision:
    """8.3: the device is Decommissioned, and on no CH's whitelist."""
    device = _own(parts, body.device, user, "8.3")
    if isinstance(device, Decision):
        return device
    if parts.accepted.updates(device.eui):
        return _in_update("8.3", device)
    if device.device_type == "CHF" and (others := len(parts.smi.on_han(device.eui)) - 1):
        return Decision(
            "E5", None, f"{device.eui} has {others} devices on its HAN; 8.11 removes them"
        )
    return _take(parts, device, lifecycle.DECOMMISSIONED, hub=None)


def update_inventory(parts: Parts, body: UpdateInventory, user: User) -> Decision:
    """8.4."""
    device = _own(parts, body.device, user, "8.4")
    if isinstance(device, Decision):
        return device
    match body.change:
        case SetStatus(status, of_ch):
            if of_ch != (device.device_type == "CHF"):
                kind = "UpdateDeviceStatusCH" if of_ch else "UpdateDeviceStatusExceptCH"
                return Decision("E11", None, f"{device.eui} is a {device.device_type}: no {kind}")
            step = lifecycle.set_by_8_4(Status(status), of_ch=of_ch)
            return _take(parts, device, step, hub=device.hub)
        case DeleteDevice():
            if device.status not in lifecycle.DELETABLE or device.hub:
                return Decision(
                    "E5", None, f"{device.eui} is {device.status}: 8.11 or 8.3 comes first"
                )
            parts.smi.delete(device.eui)
            return Decision(ACCEPTED, None, f"{device.eui} is in the inventory no longer")
        case SetDetails():
            if device.status is not Status.PENDING:
                why = f"{device.eui} is {device.status}; what a Pending one is can be changed"
                return Decision("E5", None, why)
            parts.smi.set_details(device.eui, body.change)
            return Decision(ACCEPTED, None, f"the details of {device.eui} are changed")
        case SetMpxn(kind, mpxn):
            if kind == "ImportMPxN":  # of the others there is nothing in the inventory
                parts.smi.set_import_mpxn(device.eui, mpxn)
            return Decision(ACCEPTED, None, f"{kind} of {device.eui} is {mpxn}")


def _take(parts: Parts, device: SmiDevice, step: Step, *, hub: Eui | None) -> Decision:
    if not step.leads_on(device):
        return Decision("E5", None, f"{device.eui} is {device.status}: no {step.name} to {step.to}")
    parts.smi.move(device.eui, step.to, hub)
    parts.awaited.end(device.eui)
    return Decision(ACCEPTED, None, f"{device.eui} is {parts.device(device.eui).status}")


def _own(parts: Parts, eui: Eui, user: User, reference: str) -> SmiDevice | Decision:
    """The device, or why the user has no say in it: a non-device request is not authorised for one."""
    device = parts.smi.find(eui)
    if device is None:
        return Decision("E19", None, f"{eui} is not in the inventory")
    if not answers_for(user, device, SERVICE_REQUESTS[reference]):
        return Decision("E4", 115, f"{user.name} does not answer for {eui}")
    return device


# -- 8.7, 8.8, 8.11: what refuses them before a CH or a device hears of them


def refusal(parts: Parts, request: Request) -> Decision | None:
    """What the inventory has against it; None: it goes on to the S1SP."""
    match request.body:
        case UpdateHanDeviceLog(device, add):
            found = parts.smi.find(device)
            if found is None:
                why = f"{device} is not in the inventory; 12.2 comes first"
                return Decision("E19", None, why)
            check = _not_added if add else _not_removed
            return check(parts, found, request.id.target)
        case JoinService(other) | UnjoinService(other):
            if parts.smi.find(other) is None:
                return Decision("E19", None, f"{other} is not in the inventory")
    return None


def _not_added(parts: Parts, device: SmiDevice, hub: Eui) -> Decision | None:
    if device.device_type in ("CHF", "GPF"):
        return Decision("E11", None, f"{device.eui} is a {device.device_type}: it is part of a CH")
    if device.hub not in (None, hub):
        why = f"{device.eui} is on the whitelist of the CH {device.hub}: 8.11 Remove there, or 8.3, is first"
        return Decision(ELSEWHERE, None, why)
    if actual(device) in (Status.DECOMMISSIONED, Status.WITHDRAWN):
        return Decision("E5", None, f"{device.eui} is {device.status}: 8.4 makes it Pending again")
    return None


def _not_removed(parts: Parts, device: SmiDevice, hub: Eui) -> Decision | None:
    if hub not in (device.hub, parts.s1sp.hub_of(device.eui)):
        at = f"on that of {device.hub}" if device.hub else "on no CH's"
        return Decision(
            NOT_THERE, None, f"{device.eui} is not on the whitelist of {hub}: it is {at}"
        )
    if parts.accepted.updates(device.eui):
        return _in_update("8.11", device)
    return None


def _in_update(reference: str, device: SmiDevice) -> Decision:
    why = f"an update of {device.eui} is in progress, and goes on; send the {reference} when it has ended"
    return Decision(IN_UPDATE[reference], None, why)


def _generation(body: DevicePreNotification) -> str:
    """SMETS1 up to "SMETS V1.2", and where 12.2 does not say; which numbers are whose is recalled."""
    return SMETS1 if body.smets_chts_version in (None, *SMETS1_VERSIONS) else SMETS2
