"""11.2 Read Firmware Version: what a device itself answers over the HAN."""

from __future__ import annotations

import asyncio
from typing import Final

from hanlab.s1sp.failures import refused
from hanlab.s1sp.hub import POLL_S, Hub
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.target import Target
from hanlab.wan.client import Refused
from hanlab.wan.messages import VersionRead, VersionReadResponse

BOOT_S: Final = 60.0
"""How long a device may be gone after an activation (s)."""


async def read_version(hub: Hub, target: Target) -> VersionReadResponse:
    """11.2 Read Firmware Version: what the device itself answers over the HAN."""
    try:
        return await hub.wan.read(VersionRead, work_s=hub.wan.limits.han_s, eui=target.eui)
    except Refused as e:
        raise refused(e, target) from None


async def wait_until_back(hub: Hub, target: Target) -> VersionReadResponse:
    """Read the version of a device that has just restarted, as soon as it answers."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + BOOT_S
    while True:
        try:
            return await read_version(hub, target)
        except ServiceRequestFailed as e:
            if e.outcome is not Outcome.NO_ANSWER or loop.time() > deadline:
                raise
        await asyncio.sleep(POLL_S)


async def runs(hub: Hub, version: str, target: Target) -> bool:
    """Whether the device runs that very version: it asks for no image of it."""
    return (await read_version(hub, target)).firmware == version
