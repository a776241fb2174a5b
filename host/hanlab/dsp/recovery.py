"""What an answer changes in the SMI: versions, and the end of a suspension (MP105, rules 84 to 111)."""

from __future__ import annotations

from dataclasses import dataclass

from hanlab.dsp.smi import SmiDevice, Status


@dataclass(frozen=True)
class Effect:
    """What follows for the SMI; `rule` is the row that decided."""

    version: str | None = None
    restore: bool = False
    rule: int | None = None
    why: str = ""


def effect_of_activation(
    device: SmiDevice, version: str | None, *, active: bool, retry: bool, mp105: bool
) -> Effect:
    """After `success` to 11.3; `version` is what the answer says, `active`: the CPL has it active.

    `retry`: it answers an 11.3 that a Service User has sent again, because the answer to the first one
    never came; before MP105 that had no effect (rule 93).
    """
    if version is None:
        return Effect(rule=98 if retry else 95, why="the answer says no version; 11.2 reads it")
    if retry and not mp105:
        return Effect(rule=93, why="the answer to a retry changes nothing before MP105")
    return _aligned(device, version, active, 91 if retry else None, 92 if retry else None)


def effect_of_reading(
    device: SmiDevice, version: str, *, active: bool, mp105: bool, secmp0007: bool
) -> Effect:
    """After 11.2 answered `version`. A GPF's answer never comes here (rule 104)."""
    if not mp105:
        return Effect(rule=87, why="11.2 changes nothing in the SMI before MP105")
    if device.device_type not in ("ESME", "GSME") and not secmp0007:
        return Effect(rule=100, why=f"MP105 without SECMP0007 is not for a {device.device_type}")
    return _aligned(device, version, active, 88, 88)


def _aligned(
    device: SmiDevice,
    version: str,
    active: bool,
    restored: int | None,
    corrected: int | None,
) -> Effect:
    """The SMI takes the version; a Suspended device comes back if the CPL has the new one active."""
    new = version if version != device.version else None
    if device.status is Status.SUSPENDED and new and active:
        return Effect(version, restore=True, rule=restored, why=f"it runs {version} now")
    if new:
        stays = (
            "; that is not active on the CPL either" if device.status is Status.SUSPENDED else ""
        )
        return Effect(version, rule=corrected, why=f"it runs {version}{stays}")
    return Effect(rule=corrected, why=f"it runs {version}, as the SMI knows")
