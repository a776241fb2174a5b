"""The S1SP's rules on an update, before anything goes to the CH: every way in goes through them.

A device-specific behaviour holds where a clause of the CH's or of the device's own Device Model switches it
on (boards/clauses.py), and nowhere else.
"""

from __future__ import annotations

from hanlab.boards.clauses import Behaviour
from hanlab.boards.data import DeviceModel
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.target import Target


def holds(behaviour: Behaviour, hub: DeviceModel, device: DeviceModel) -> bool:
    """Whether that behaviour holds for this device on this CH's HAN."""
    return hub.has(behaviour) or device.has(behaviour)


def is_third_party(device: DeviceModel, hub: DeviceModel) -> bool:
    """Whether a PPMID belongs to another population than its CH (rules 22 to 27, 139)."""
    return device.device_type == "PPMID" and device.population != hub.population


def is_served(device: DeviceModel, hub: DeviceModel) -> bool:
    """Whether the CH's S1SP holds details of the device: not of a third-party PPMID, under Annex D (rule 22)."""
    return not (is_third_party(device, hub) and holds(Behaviour.THIRD_PARTY, hub, device))


def is_tested(device: DeviceModel, hub: DeviceModel) -> bool:
    """Whether the two are of one Device Model Combination; devices of two were never tested together (rule 149).

    That is no reason to refuse anything.
    """
    return device.population == hub.population


def refuse_third_party(target: Target, hub: DeviceModel) -> None:
    """Raises ServiceRequestFailed for a third-party PPMID where the S1SP has none (rule 25)."""
    if failure := third_party(target, hub):
        raise failure


def third_party(target: Target, hub: DeviceModel) -> ServiceRequestFailed | None:
    """Why a third-party PPMID gets nothing where the S1SP has none of its kind (rule 25); else None."""
    if is_served(target.model, hub):
        return None
    return ServiceRequestFailed(
        Outcome.THIRD_PARTY,
        f"the {hub.population} S1SP holds no details of {target.name}, a third-party PPMID "
        f"({target.model.manufacturer} {target.model.model}), and cannot update it (rules 22, 25)",
        next_step="only a PPMID of the CH's own population can be updated here (rule 27): "
        "hanlab demo third-party",
    )


def refuse_foreign_metadata(image: OtaImage, target: Target, hub: DeviceModel) -> None:
    """Raises ServiceRequestFailed where the device's own model wants the CH's metadata, and it is not there.

    Where the CH's model wants it the CH itself refuses (rules 28 to 30).
    """
    has = image.metadata.ch_manufacturer if image.metadata else ""
    wanted = hub.update.metadata_manufacturer if hub.update else ""
    if target.model.has(Behaviour.METADATA) and has != wanted:
        raise wrong_metadata(target.model, wanted)


def wrong_metadata(model: DeviceModel, wanted: str) -> ServiceRequestFailed:
    """`model` (a CH's or a device's) needs the block of the CH manufacturer `wanted`."""
    return ServiceRequestFailed(
        Outcome.METADATA,
        f"the {model.model} needs a metadata block of {wanted} in front of the Manufacturer "
        "Image, and this image has none or another manufacturer's (rules 28 to 30)",
        next_step=f"hanlab image build … --for-ch {wanted}; its hash is another one then",
    )


def busy() -> ServiceRequestFailed:
    """An update is in progress, and 18.63 holds."""
    return ServiceRequestFailed(
        Outcome.BUSY, "an update is in progress on this HAN (rule 35)", next_step="wait for it"
    )
