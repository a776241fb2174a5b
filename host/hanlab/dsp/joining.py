"""How a device comes into the inventory (12.2) and onto its HAN (8.11), as the DSP sees it.

What the 12.2 codes mean is in no public document; their use here is recalled and marked so below.
"""

from __future__ import annotations

from typing import Final

from hanlab.dsp.authorisation import ACCEPTED, Decision
from hanlab.dsp.cpl import CplStatus
from hanlab.dsp.parts import Parts
from hanlab.dsp.service_requests import SUPPLIERS
from hanlab.dsp.settings import User
from hanlab.dsp.smi import SMETS1, SMETS2, SUSPENDABLE, SmiDevice, Status
from hanlab.duis.messages import DevicePreNotification, UpdateHanDeviceLog
from hanlab.eui import Eui

KNOWN: Final = "E120201"
NOT_LISTED: Final = "E120203"
RECALLED: Final = {
    KNOWN: "the device is in the inventory already",
    NOT_LISTED: "the device's model and version are not on the CPL, or not active",
}
"""Meanings that are recalled: the codes exist in the schema, their text is not public."""
SMETS1_VERSIONS: Final = ("SMETS V1.0", "SMETS V1.1", "SMETS V1.2")
_NOT_YET: Final = (Status.PENDING, Status.WHITELISTED, Status.INSTALLED_NOT_COMMISSIONED)
"""The statuses of a device that 8.11 can take further."""


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
            hub=parts.s1sp.hub_of(body.device),
            supplier=user.eui if user.roles & SUPPLIERS else None,
            smets_chts_version=body.smets_chts_version,
        )
    )
    return Decision(ACCEPTED, 24, f"{body.device} is in the inventory, {Status.PENDING}")


def update_log(parts: Parts, body: UpdateHanDeviceLog, hub: Eui) -> Decision:
    """8.11 Add: a device that waits is let onto the CH's HAN (rule 24).

    One that is there joins at once and is Commissioned; the join requests (8.7) are not simulated.
    One that is not there yet is Whitelisted.
    """
    device = parts.smi.find(body.device)
    if device is None:
        return Decision("E19", None, f"{body.device} is not in the inventory; 12.2 comes first")
    if device.status not in _NOT_YET:
        return Decision(ACCEPTED, None, f"{device.eui} is {device.status}, and stays so")
    there = parts.s1sp.hub_of(device.eui) == hub
    status = Status.COMMISSIONED if there else Status.WHITELISTED
    parts.smi.set_status(device.eui, status)
    return Decision(ACCEPTED, 24, f"{device.eui} is {status}")


def _generation(body: DevicePreNotification) -> str:
    """SMETS1 up to "SMETS V1.2", and where 12.2 does not say; which numbers are whose is recalled."""
    return SMETS1 if body.smets_chts_version in (None, *SMETS1_VERSIONS) else SMETS2
