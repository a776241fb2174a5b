"""Service Requests 8.11, 11.1, 11.2 and 11.3 as the S1SP carries them out on one Communications Hub.

The Device Model of the device says how many steps its update has (rules 96 and 97): to a two-step
device 11.1 distributes the image and 11.3 activates it; for a one-step device 11.1 leaves it in the CH,
which remembers for whom, and 11.3 does all the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hanlab.boards.clauses import Behaviour
from hanlab.boards.data import DeviceModel
from hanlab.images import OtaImage
from hanlab.s1sp import activations, joining, updates, versions
from hanlab.s1sp.authority import Authority
from hanlab.s1sp.hub import Hub
from hanlab.s1sp.join_time import Rounding, join_minutes
from hanlab.s1sp.outcome import Outcome
from hanlab.s1sp.progress import Report
from hanlab.s1sp.rules import busy, holds, refuse_foreign_metadata, refuse_third_party
from hanlab.s1sp.target import Target
from hanlab.wan.client import WanClient
from hanlab.wan.messages import HanDevice, StoreReadResponse, VersionReadResponse


class S1sp:
    """One CH's S1SP: `hub` is the CH's Device Model, `wan` the client that reaches it.

    `authority` makes the authorisations that 11.3 needs. Whoever asks, and by whatever way,
    meets the rules of s1sp/rules.py here.
    """

    def __init__(
        self,
        wan: WanClient,
        hub: DeviceModel,
        authority: Authority,
        join_rounding: Rounding = Rounding.UP,
    ) -> None:
        self._join_rounding = join_rounding
        self._hub = Hub(wan, hub)
        self._authority = authority
        self._turn = asyncio.Lock()  # a CH distributes or activates one thing at a time
        self._updates = 0

    @property
    def updating(self) -> bool:
        """An 11.1 or 11.3 is being carried out on this HAN, or waits for its turn (rule 35)."""
        return self._updates > 0

    async def store(self) -> StoreReadResponse:
        """The CH's report on its image store."""
        return await self._hub.store()

    async def evict(self, image_id: int) -> None:
        """Remove an image from the CH's store."""
        await self._hub.evict(image_id)

    async def devices(self) -> list[HanDevice]:
        """The devices that the CH knows on its HAN."""
        return await self._hub.devices()

    async def update_firmware(self, image: OtaImage, target: Target, report: Report) -> Outcome:
        """11.1 Update Firmware.

        DUIS has no size limit for a SMETS1 image; the CH has one (rules 2 and 3), so the request goes
        all the way to the CH and fails there.

        Raises:
            ServiceRequestFailed: with the outcome and the numbers.
        """
        refuse_third_party(target, self._hub.model)
        refuse_foreign_metadata(image, target, self._hub.model)
        one_at_a_time = holds(Behaviour.ONE_UPDATE, self._hub.model, target.model)
        if self._updates and one_at_a_time:
            raise busy()
        async with self._an_update():
            if one_at_a_time:
                return await updates.update(self._hub, image, target, report)
            return await updates.update_when_free(self._hub, image, target, report)

    @asynccontextmanager
    async def _an_update(self) -> AsyncIterator[None]:
        """An update is in progress from here on, and has its turn in this block."""
        self._updates += 1
        try:
            async with self._turn:
                yield
        finally:
            self._updates -= 1

    async def add_device(self, target: Target, install_code: bytes, join_s: int) -> None:
        """8.11 Add: the device with that install code (6 to 16 octets) may join for `join_s` seconds.

        The CH counts whole minutes (rules 50, 51).

        Raises:
            ServiceRequestFailed: the CH has not taken it.
        """
        minutes = join_minutes(join_s, self._join_rounding)
        await joining.add(self._hub, target, install_code, minutes)

    async def remove_device(self, target: Target) -> None:
        """8.11 Remove: the device leaves the HAN, or may not come any more.

        Raises:
            ServiceRequestFailed: the CH still has it.
        """
        await joining.remove(self._hub, target)

    async def read_firmware_version(self, target: Target) -> VersionReadResponse:
        """11.2 Read Firmware Version: what the device itself answers over the HAN."""
        return await versions.read_version(self._hub, target)

    async def wait_until_back(self, target: Target) -> VersionReadResponse:
        """Read the version of a device that has just restarted, as soon as it answers."""
        return await versions.wait_until_back(self._hub, target)

    async def activate_firmware(self, hash_: bytes, target: Target, report: Report) -> Outcome:
        """11.3 Activate Firmware with the Manufacturer Image hash `hash_` (32 octets).

        Returns ACTIVATED once the device has answered `success` and runs what its 11.1 has brought.

        Raises:
            ServiceRequestFailed: `noImageHeld`, `hashMismatch`, `activationFailure`, or no answer.
        """
        refuse_third_party(target, self._hub.model)
        async with self._an_update():
            return await activations.activate(self._hub, self._authority, hash_, target, report)
