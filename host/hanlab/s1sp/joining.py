"""8.11 Update HAN Device Log at one CH: who may come onto its HAN, and who has to leave it."""

from __future__ import annotations

from hanlab.s1sp.failures import refused
from hanlab.s1sp.hub import Hub
from hanlab.s1sp.target import Target
from hanlab.wan.client import Refused
from hanlab.wan.messages import GROUP, HanError, Join, Leave


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
