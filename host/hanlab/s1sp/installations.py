"""The S1SP's side of the seam to the DSP: installations, each a CH with its HAN.

An update in progress on a HAN keeps others off it (rules 35 to 37, S1SR 18.63); the Secure S1SP knows
nothing of third-party PPMIDs, so that an update of one fails (rules 22 to 27, Annex D).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from hanlab.boards.data import DeviceModel
from hanlab.duis.messages import FirmwareActivated, FirmwareVersionRead
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import ACTIVATE_OUTCOME, ActivateCode, Outcome, ServiceRequestFailed
from hanlab.s1sp.service import Report, S1sp, Target
from hanlab.wan.errors import WanError

_CODES: Final = {outcome: code for code, outcome in ACTIVATE_OUTCOME.items()}
DEBUG_LIMIT: Final = 250
"""Characters of SMETS1Debug's Error."""


@dataclass(frozen=True)
class Installation:
    """A CH with what is on its HAN. `s1sp` reaches it; `devices` has the CHF itself, too."""

    hub: Target
    s1sp: S1sp
    devices: Mapping[Eui, Target]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A CH distributes or activates one thing at a time: an 11.3 that comes meanwhile waits for its turn."""


class Installations:
    """Everything that this S1SP serves."""

    def __init__(self, installations: Iterable[Installation]) -> None:
        self._by_hub = {Eui(i.hub.eui): i for i in installations}
        self._busy: set[Eui] = set()
        self.ends: dict[Eui, Outcome | ServiceRequestFailed] = {}
        """How the last 11.1 or 11.3 of each device ended, with the numbers and the next step."""
        self.failures: dict[Eui, ServiceRequestFailed] = {}
        """Why the last Service Request of a device failed here; a response code says less."""

    def hub_of(self, device: Eui) -> Eui | None:
        """The CHF of the installation that a device belongs to."""
        return next((hub for hub, i in self._by_hub.items() if device in i.devices), None)

    def in_progress(self, device: Eui) -> bool:
        """Whether an update is in progress on that device's HAN (rule 35)."""
        return self.hub_of(device) in self._busy

    def begin(self, devices: Iterable[Eui]) -> None:
        """An update begins on the HANs of these devices, and keeps others off until `end`."""
        self._busy.update(hub for d in devices if (hub := self.hub_of(d)))

    def end(self, devices: Iterable[Eui]) -> None:
        """It has ended, well or not: the next one is welcome (rule 37)."""
        self._busy.difference_update([self.hub_of(d) for d in devices])

    async def update_firmware(self, image: OtaImage, device: Eui, report: Report) -> Outcome:
        """11.1 for one device.

        Raises:
            ServiceRequestFailed: it did not come so far.
        """
        try:
            with self._noted(device):
                installation, target = self._find(device)
                refuse_third_party(target, installation.hub)
                with _reaching(installation.hub):
                    async with installation.turn:
                        outcome = await installation.s1sp.update_firmware(image, target, report)
        except ServiceRequestFailed as e:
            self.ends[device] = e
            raise
        self.ends[device] = outcome
        return outcome

    async def read_firmware_version(self, device: Eui) -> FirmwareVersionRead:
        """11.2 of one device; a GPF answers for its GSME from what it last heard (rule 103).

        Raises:
            ServiceRequestFailed: there is no answer.
        """
        with self._noted(device):
            installation, target = self._find(device)
            with _reaching(installation.hub):
                read = await installation.s1sp.wait_until_back(target)
        return FirmwareVersionRead(read.firmware)

    async def activate_firmware(
        self, hash_: bytes, device: Eui, report: Report
    ) -> FirmwareActivated:
        """11.3 of one device: what it answers, `success` or not.

        Raises:
            ServiceRequestFailed: there is no answer.
        """
        try:
            with self._noted(device):
                installation, target = self._find(device)
                refuse_third_party(target, installation.hub)
                with _reaching(installation.hub):
                    async with installation.turn:
                        await installation.s1sp.activate_firmware(hash_, target, report)
        except ServiceRequestFailed as e:
            self.ends[device] = e
            if e.outcome not in _CODES:
                raise
            code = _CODES[e.outcome]
            return FirmwareActivated(False, code, code.duis, debug=e.what[:DEBUG_LIMIT])
        self.ends[device] = Outcome.ACTIVATED
        rules = installation.hub.model.update
        with self._noted(device), _reaching(installation.hub):
            back = await installation.s1sp.wait_until_back(target)
        # rule 95: whether the answer says the version is the Device Model's affair
        version = back.firmware if rules and rules.version_in_response else None
        code = ActivateCode.SUCCESS
        return FirmwareActivated(True, code, code.duis, version)

    @contextmanager
    def _noted(self, device: Eui) -> Iterator[None]:
        """Remember why the request in this block failed, if it does."""
        self.failures.pop(device, None)
        try:
            yield
        except ServiceRequestFailed as e:
            self.failures[device] = e
            raise

    def _find(self, device: Eui) -> tuple[Installation, Target]:
        for installation in self._by_hub.values():
            if device in installation.devices:
                return installation, installation.devices[device]
        raise ServiceRequestFailed(
            Outcome.NO_DEVICE,
            f"no CH of this lab has {device} on its HAN",
            next_step="it is in the inventory only; put a board for it into lab.toml",
        )


@contextmanager
def _reaching(hub: Target) -> Iterator[None]:
    """What goes wrong between the S1SP and the CH is, to the DSP, a request that failed."""
    try:
        yield
    except WanError as e:
        raise ServiceRequestFailed(
            Outcome.NO_CONTACT,
            f"the S1SP has no contact with the CH {hub.name}: {e.what}",
            next_step=e.next_step or "send the Service Request again",
        ) from None


def is_third_party(device: DeviceModel, hub: DeviceModel) -> bool:
    """Whether a PPMID belongs to another population than its CH (rules 22 to 27, 139)."""
    return device.device_type == "PPMID" and device.population != hub.population


def refuse_third_party(target: Target, hub: Target) -> None:
    """Raises ServiceRequestFailed for a third-party PPMID where the S1SP has none (rule 25)."""
    if failure := third_party(target, hub):
        raise failure


def third_party(target: Target, hub: Target) -> ServiceRequestFailed | None:
    """Why a third-party PPMID gets nothing where the S1SP has none of its kind (rule 25); else None."""
    rules = hub.model.update
    if not rules or rules.third_party_ppmid or not is_third_party(target.model, hub.model):
        return None
    return ServiceRequestFailed(
        Outcome.THIRD_PARTY,
        f"the {hub.model.population} S1SP holds no details of {target.name}, a third-party PPMID "
        f"({target.model.manufacturer} {target.model.model}), and cannot update it (rules 22, 25)",
        next_step="only a PPMID of the CH's own population can be updated here (rule 27): "
        "hanlab demo third-party",
    )
