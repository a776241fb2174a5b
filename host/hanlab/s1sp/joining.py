"""8.11 Update HAN Device Log at one CH: who may come onto its HAN, and who has to leave it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from hanlab.s1sp.failures import refused
from hanlab.s1sp.hub import Hub
from hanlab.s1sp.target import Target
from hanlab.wan.client import Refused
from hanlab.wan.messages import GROUP, HanError, Join, Leave

MINUTE_S: Final = 60
_LATE_S: Final = 10
"""Who was let in at the last moment is on the HAN so much later (s)."""


class Rounding(StrEnum):
    """Which way a JoinTimePeriod becomes whole minutes: illustrative, 18.62 does not say it."""

    UP = "up"
    DOWN = "down"


def join_minutes(join_s: int, rounding: Rounding = Rounding.UP) -> int:
    """The whole minutes that the CH gets for a JoinTimePeriod (1 to 3600 s), at least one (rules 50, 51)."""
    if rounding is Rounding.UP:
        join_s += MINUTE_S - 1
    return max(1, join_s // MINUTE_S)


def join_window_s(join_s: int) -> float:
    """How long it may take until a device with that JoinTimePeriod is on the HAN (s), counted generously."""
    return MINUTE_S * join_minutes(join_s) + _LATE_S


async def add(hub: Hub, target: Target, install_code: bytes, minutes: int) -> None:
    """Let the device join within so many minutes.

    Raises:
        ServiceRequestFailed: the CH has not taken it.
    """
    model = target.model
    try:
        await hub.wan.write(
            Join,
            eui=target.eui,
            code=install_code,
            type=model.device_type,
            steps=2 if model.two_step else 1,
            minutes=minutes,
        )
    except Refused as e:
        raise refused(e, target) from None


async def remove(hub: Hub, target: Target) -> None:
    """The device is to leave, or may not come any more; one that the CH does not know is gone already.

    Raises:
        ServiceRequestFailed: the CH still has it, e.g. because it is in mid-update.
    """
    try:
        await hub.wan.write(Leave, eui=target.eui)
    except Refused as e:
        if e.group != GROUP or e.rc != HanError.NO_DEVICE:
            raise refused(e, target) from None
