"""The S1SP's side of the seam to the DSP: installations, each a CH with its HAN.

An update in progress on a HAN keeps others off it where 18.63 holds (rules 35 to 37). What the S1SP
refuses of a single request it refuses in `S1sp`, for whoever asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hanlab.boards.clauses import Behaviour
from hanlab.duis.responses import (
    DeviceLogEntry,
    DeviceLogRead,
    FirmwareActivated,
    FirmwareVersionRead,
)
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import ActivateCode, Outcome, ServiceRequestFailed
from hanlab.s1sp.rules import holds

if TYPE_CHECKING:  # lists of the DSP's need no SMP
    from hanlab.s1sp.progress import Report
    from hanlab.s1sp.service import S1sp
    from hanlab.s1sp.target import Target


@dataclass(frozen=True)
class Installation:
    """A CH with what is on its HAN. `s1sp` reaches it; `devices` has the CHF itself, too."""

    hub: Target
    s1sp: S1sp
    devices: Mapping[Eui, Target]


class Installations:
    """Everything that this S1SP serves."""

    def __init__(
        self, installations: Iterable[Installation], away: Mapping[Eui, Target] | None = None
    ) -> None:
        """`away`: devices that come on no HAN, and may get onto one."""
        self._by_hub = {Eui(i.hub.eui): i for i in installations}
        self._targets = dict(away or {})
        self._hub_of: dict[Eui, Eui] = {}
        """What was last heard of where each device is."""
        for hub, installation in self._by_hub.items():
            self._targets.update(installation.devices)
            self._hub_of.update(dict.fromkeys(installation.devices, hub))
        self.ends: dict[Eui, Outcome | ServiceRequestFailed] = {}
        """How the last 11.1 or 11.3 of each device ended, with the numbers and the next step."""

    def hub_of(self, device: Eui) -> Eui | None:
        """The CHF of the installation that a device belongs to."""
        return self._hub_of.get(device)

    async def look(self, at: Eui | None = None) -> None:
        """Read from every CH (or `at` one) which devices are on its HAN; a silent one has those that it had.

        A device that two CHs have is where it has been heard.
        """
        from hanlab.wan.errors import WanError

        hubs = [hub for hub in self._by_hub if at in (None, hub)]
        tables = await asyncio.gather(
            *(self._by_hub[hub].s1sp.devices() for hub in hubs), return_exceptions=True
        )
        heard = []
        for hub, answer in zip(hubs, tables, strict=True):
            if isinstance(answer, WanError):
                continue
            if isinstance(answer, BaseException):
                raise answer
            of_the_ch = {device for device, at in self._hub_of.items() if at == hub}
            for gone in of_the_ch - {Eui(d.eui) for d in answer} - self._fixed(hub):
                del self._hub_of[gone]
            heard += [(d.seen, Eui(d.eui), hub) for d in answer]
        for seen, eui, hub in sorted(heard):
            if seen or at is None or eui not in self._hub_of:
                self._hub_of[eui] = hub

    def _fixed(self, hub: Eui) -> set[Eui]:
        """What is part of a CH: its CHF, its GPF."""
        devices = self._by_hub[hub].devices
        return {hub, *(eui for eui, target in devices.items() if target.name == "GPF")}

    def in_progress(self, devices: Iterable[Eui], waiting: Iterable[Eui]) -> set[Eui]:
        """Those of `devices` that an update in progress on their HAN keeps another one off (rule 35, 18.63).

        It is one that is being carried out, or one of the devices `waiting`, whose update has been accepted.
        """
        busy = {self.hub_of(device) for device in waiting}
        busy |= {hub for hub, at in self._by_hub.items() if at.s1sp.updating}
        return {d for d in devices if self.hub_of(d) in busy and self._has_one_update(d)}

    def _has_one_update(self, device: Eui) -> bool:
        if device not in self._hub_of:
            return False
        installation, target = self.find(device)
        return holds(Behaviour.ONE_UPDATE, installation.hub.model, target.model)

    async def update_firmware(self, image: OtaImage, device: Eui, report: Report) -> Outcome:
        """11.1 for one device.

        Raises:
            ServiceRequestFailed: it did not come so far.
        """
        try:
            installation, target = self.find(device)
            with _reaching(installation.hub):
                outcome = await installation.s1sp.update_firmware(
                    image, target, lambda step: report(replace(step, device=target.name))
                )
        except ServiceRequestFailed as e:
            self.ends[device] = e
            raise
        self.ends[device] = outcome
        return outcome

    async def add_device(self, hub: Eui, device: Eui, install_code: bytes, join_s: int) -> None:
        """8.11 Add at that CHF.

        Raises:
            ServiceRequestFailed: the CH has not taken it.
        """
        installation, target = self._at(hub, device)
        with _reaching(installation.hub):
            await installation.s1sp.add_device(target, install_code, join_s)

    async def remove_device(self, hub: Eui, device: Eui) -> None:
        """8.11 Remove at that CHF.

        Raises:
            ServiceRequestFailed: the CH still has it.
        """
        installation, target = self._at(hub, device)
        with _reaching(installation.hub):
            await installation.s1sp.remove_device(target)
        if self._hub_of.get(device) == hub:
            del self._hub_of[device]

    def _at(self, hub: Eui, device: Eui) -> tuple[Installation, Target]:
        """The installation of that CHF, and a device that may come onto its HAN.

        Raises:
            ServiceRequestFailed: one of them is no board of this lab.
        """
        if hub in self._by_hub and device in self._targets:
            return self._by_hub[hub], self._targets[device]
        missing = device if hub in self._by_hub else hub
        raise _nowhere(f"this lab has no board {missing}")

    async def device_log(self, hub: Eui) -> DeviceLogRead:
        """8.9 of that CHF: what is on its HAN.

        Raises:
            ServiceRequestFailed: the CH does not answer.
        """
        installation, target = self.find(hub)
        with _reaching(target):
            table = await installation.s1sp.devices()
        return DeviceLogRead(tuple(DeviceLogEntry(Eui(d.eui)) for d in table))

    async def read_firmware_version(self, device: Eui) -> FirmwareVersionRead:
        """11.2 of one device; a GPF answers for its GSME from what it last heard (rule 103).

        Raises:
            ServiceRequestFailed: there is no answer.
        """
        installation, target = self.find(device)
        with _reaching(installation.hub):
            read = await installation.s1sp.wait_until_back(target)
        return FirmwareVersionRead(read.firmware)

    async def activate_firmware(
        self, hash_: bytes, device: Eui, report: Report
    ) -> FirmwareActivated:
        """11.3 of one device: its `success`.

        Raises:
            ServiceRequestFailed: it answered that it did not (an outcome of ACTIVATE_OUTCOME), or
                there is no answer.
        """
        try:
            installation, target = self.find(device)
            with _reaching(installation.hub):
                await installation.s1sp.activate_firmware(hash_, target, report)
        except ServiceRequestFailed as e:
            self.ends[device] = e
            raise
        self.ends[device] = Outcome.ACTIVATED
        code = ActivateCode.SUCCESS
        version = None
        if target.model.says_version:  # rule 95
            from hanlab.s1sp.activations import may_have_happened

            with _reaching(installation.hub), may_have_happened():
                version = (await installation.s1sp.wait_until_back(target)).firmware
        return FirmwareActivated(True, code, code.duis, version)

    def find(self, device: Eui) -> tuple[Installation, Target]:
        """The installation that a device belongs to.

        Raises:
            ServiceRequestFailed: it belongs to none.
        """
        hub = self._hub_of.get(device)
        if hub is not None and device in self._targets:
            return self._by_hub[hub], self._targets[device]
        if device in self._targets:
            raise ServiceRequestFailed(
                Outcome.NO_DEVICE,
                f"{self._targets[device].name} is on no HAN of this lab",
                next_step=f"hanlab join {self._targets[device].name} --to HOME lets it onto one",
            )
        raise _nowhere(f"no CH of this lab has {device} on its HAN")


def _nowhere(what: str) -> ServiceRequestFailed:
    return ServiceRequestFailed(
        Outcome.NO_DEVICE,
        what,
        next_step="it is in the inventory only; put a board for it into lab.toml",
    )


@contextmanager
def _reaching(hub: Target) -> Iterator[None]:
    """What goes wrong between the S1SP and the CH is, to the DSP, a request that failed."""
    from hanlab.wan.errors import WanError

    try:
        yield
    except WanError as e:
        raise ServiceRequestFailed(
            Outcome.NO_CONTACT,
            f"the S1SP has no contact with the CH {hub.name}: {e.what}",
            next_step=e.next_step or "send the Service Request again",
        ) from None
