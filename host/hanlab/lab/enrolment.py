"""The devices of a lab in the SMI, and what they came with on the CPL, as if they had been migrated.

A third-party PPMID on a Secure installation is not migrated: the Secure S1SP does not know it (rules
22, 23). It comes into the inventory with a 12.2 (rule 24).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from hanlab.boards.data import DeviceModel
from hanlab.dsp.cpl import CplEntry
from hanlab.dsp.service import Dsp
from hanlab.dsp.service_requests import METERS
from hanlab.dsp.settings import DspSettings
from hanlab.dsp.smi import SmiDevice
from hanlab.duis.messages import Body, CommissionDevice, DevicePreNotification, JoinService
from hanlab.eui import Eui
from hanlab.lab.config import LabConfig
from hanlab.lab.nodes import NodeConfig
from hanlab.s1sp.rules import is_served

GAS = frozenset({"GSME", "GPF"})


def enrol(dsp: Dsp, config: LabConfig) -> None:
    """Add those of the lab's devices that the SMI does not have, and their versions to the CPL."""
    known = dsp.smi.find, dsp.smi.was_deleted
    new = [device for device in records(config) if not any(has(device.eui) for has in known)]
    if new:
        dsp.smi.add(*new)  # with one commit: a HAN of a hundred is there at once
    for entry in {product(node.model): None for node in config.nodes}:
        if all(e.version != entry.version for e in dsp.cpl.of_product(entry)):
            dsp.load([entry])


def records(config: LabConfig) -> Iterator[SmiDevice]:
    """The SMI's records of a lab's devices, as they come from the box; those on no HAN have none."""
    for home in config.homes:
        yield _record(home.hub, config.dsp, None)
        for node in home.devices:
            if node.joined and is_served(node.model, home.hub.model):
                yield _record(node, config.dsp, home.hub.eui)
        if home.gsme and home.gpf:
            gsme = _record(home.gsme, config.dsp, home.hub.eui)
            yield dataclasses.replace(
                gsme, eui=home.gpf, device_type="GPF", version=None, gsme=gsme.eui
            )


def _record(node: NodeConfig, settings: DspSettings, hub: Eui | None) -> SmiDevice:
    model = node.model
    gas = model.device_type in GAS
    return SmiDevice(
        eui=node.eui,
        device_type=model.device_type,
        manufacturer=model.manufacturer,
        model=model.model,
        hardware=model.hardware_version,
        version=model.duis_version,
        hub=hub,
        supplier=settings.with_role("GS" if gas else "IS"),
        network_operator=settings.with_role("GT" if gas else "ED"),
        smso=model.smso,
    )


def notification(node: NodeConfig) -> DevicePreNotification:
    """The 12.2 for a device of a lab."""
    model = node.model
    return DevicePreNotification(
        node.eui,
        model.manufacturer,
        model.model,
        model.device_type,
        firmware_version=model.duis_version,
    )


def commissioning(dsp: Dsp, node: NodeConfig, hub: Eui) -> Body:
    """What commissions a device on that CH's HAN (dsp/lifecycle.py): 8.1.1 a meter, 8.7.2 any other one.

    The latter joins it to the HAN's electricity meter; where there is none, to what else is there.
    """
    if node.model.device_type in METERS:
        return CommissionDevice(dsp.parts.clock())
    others = [d for d in dsp.smi.on_han(hub) if d.eui != node.eui]
    meter = next((d for d in others if d.device_type == "ESME"), others[-1])
    return JoinService(meter.eui)


def product(model: DeviceModel, version: str | None = None, hash_: bytes | None = None) -> CplEntry:
    """The CPL entry for a Device Model with its factory version, or with another one."""
    return CplEntry(
        device_type=model.device_type,
        manufacturer=model.manufacturer,
        model=model.model,
        hardware=model.hardware_version,
        version=version or model.duis_version,
        manufacturer_version=version or model.firmware_version,
        hash=hash_,
    )
