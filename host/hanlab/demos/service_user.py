"""What the Service User of a demo does through the DSP, and what has come of it in a word or two."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hanlab.demos.images import make_image
from hanlab.demos.parts import Add, ImageSpec
from hanlab.duis.messages import (
    ActivateFirmware,
    Body,
    DevicePreNotification,
    ReadFirmwareVersion,
    UpdateFirmware,
    UpdateHanDeviceLog,
)
from hanlab.duis.responses import FirmwareVersionRead, UpdateFirmwareWarning
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.lab import Device, Lab
from hanlab.lab.enrolment import commissioning, notification, product
from hanlab.s1sp.join_time import join_minutes
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Report

ELSEWHERE: Final = Eui.parse("00-DB-12-34-56-78-91-A0")
"""A device that is pre-notified only: it has no board here."""
_WELL: Final = ("I0", "I99", "W110101")
_NO_RESPONSE: Final = "E21"
_GRACE_S: Final = 10.0
"""Who was let in in the window's last second still comes to the end."""


class ServiceUser:
    """Its requests are for `device`; `report` hears how far they are."""

    def __init__(self, lab: Lab, device: Device, report: Report) -> None:
        self._lab = lab
        self._device = device
        self._report = report
        self.why = ""
        """Of what the last one came to, where a word does not say it."""

    async def send(self, body: Body, to: Eui | None) -> str:
        """How a Service Request ended: a code that is no success, else what became of it."""
        lab = self._lab
        answer = await lab.send(body, to, report=self._report)
        if answer.acknowledgement.code != "I99":
            self.why = lab.dsp.audit.read(1)[0].why
            return answer.acknowledgement.code
        if answer.code not in _WELL:
            self.why = f"no answer of {self._device.name} came to the DSP"
            return answer.code
        end = lab.installations.ends[self._device.eui]
        if isinstance(end, ServiceRequestFailed):
            raise end
        return str(end)

    async def read(self, eui: Eui) -> str:
        answer = await self._lab.send(ReadFirmwareVersion(), eui)
        if answer.result is None or not isinstance(answer.result.body, FirmwareVersionRead):
            self.why = self._lab.dsp.audit.read(1)[0].why
            return answer.code
        return str(answer.result.body.version)

    async def mirror(self) -> str:
        gpf = self._lab.config.home().gpf
        assert gpf, "a scene that asks the GPF has a GSME"
        return await self.read(gpf)

    async def enrol(self) -> str:
        node = self._lab.config.node(self._device.name)
        await self._lab.send(notification(node))
        known = await self.known()
        hub = self._lab.hub.eui
        await self._lab.send(UpdateHanDeviceLog(self._device.eui), hub)
        await self._lab.send(commissioning(self._lab.dsp, node, hub), self._device.eui)
        return known

    def hub(self, home: str) -> Device:
        homes = self._lab.homes
        return next((h.hub for h in homes if h.name == home), homes[0].hub)

    async def _asked(self, body: Body, to: Eui | None = None) -> str:
        """What the SMI says after a Service Request, or the code that refuses it."""
        answer = await self._lab.send(body, to)
        if answer.code not in _WELL:
            self.why = self._lab.dsp.audit.read(1)[0].why
            return answer.code
        return await self.known()

    async def pre_notify(self) -> str:
        return await self._asked(notification(self._lab.config.node(self._device.name)))

    async def add(self, step: Add) -> str:
        lab, device = self._lab, self._device
        if step.on_after_s:
            board = lab.board(device)
            board.power_off()
            lab.desk.kernel.at(lab.clock_us + round(step.on_after_s * 1e6), board.power_on)
        code = step.code or lab.install_code(device)
        hub = self.hub(step.home)
        asked = await self._asked(
            UpdateHanDeviceLog(device.eui, join_s=step.join_s, install_code=code), hub.eui
        )
        if asked.startswith("E"):
            return asked
        within_s = 60 * join_minutes(step.join_s) + _GRACE_S
        joined = await lab.wait_until_joined(device, within_s)
        self.why = (
            f"{device.name} is on the HAN of {hub.name}"
            if joined
            else "it has not joined while it might"
        )
        return await self.known()

    async def remove(self, home: str) -> str:
        hub = self.hub(home)
        self.why = f"{self._device.name} may not be on the HAN of {hub.name} any more"
        return await self._asked(UpdateHanDeviceLog(self._device.eui, add=False), hub.eui)

    async def commission(self, home: str) -> str:
        node = self._lab.config.node(self._device.name)
        body = commissioning(self._lab.dsp, node, self.hub(home).eui)
        self.why = f"{self._device.name} has its place on the HAN"
        return await self._asked(body, self._device.eui)

    async def list_as(self, generation: str, version: str) -> str:
        entry = replace(product(self._device.model, version), generation=generation)
        try:
            self._lab.dsp.load([entry])
        except UsageError as e:
            self.why = e.what
            return "refused"
        return "listed"

    async def notify(self, version: str, smets: str) -> str:
        model, lab = self._device.model, self._lab
        body = DevicePreNotification(
            ELSEWHERE, model.manufacturer, model.model, model.device_type, smets, version
        )
        answer = await lab.send(body)
        if answer.code != "I99":
            self.why = lab.dsp.audit.read(1)[0].why
            return "refused"
        found = lab.dsp.smi.find(ELSEWHERE)
        return f"{found.generation}, {found.status}" if found else "not in the inventory"

    async def mixed(self, image: OtaImage) -> str:
        """11.1 for the devices of all homes."""
        lab = self._lab
        devices = tuple(device.eui for device in lab.devices)
        answer = await lab.send(UpdateFirmware(image.to_bytes(), image.version, devices))
        warning = answer.result and answer.result.body
        busy = isinstance(warning, UpdateFirmwareWarning) and warning.other_in_progress
        ends = [f"{d.name} {lab.installations.ends.get(d.eui)}" for d in lab.devices[1:]]
        left_out = ", ".join(map(str, busy or ()))
        self.why = "; ".join([f"OtherRequestInProgressList: {left_out}", *ends])
        return answer.code

    async def withdraw(self, version: str) -> str:
        dsp = self._lab.dsp
        return f"{sum(dsp.withdraw(entry) for entry in dsp.cpl.of_version(version))} Suspended"

    async def known(self) -> str:
        device = self._lab.dsp.smi.find(self._device.eui)
        return f"{device.status}, {device.version}" if device else "not in the inventory"

    async def told(self, code: str) -> str:
        settings = self._lab.dsp.settings
        recipients = [d.recipient for d in self._lab.dsp.deliveries.last(1000) if d.code == code]
        users = [settings.user(recipient) for recipient in recipients]
        return ", ".join(user.name for user in users if user) or "nobody"

    async def activations(self, times: int, specs: tuple[ImageSpec, ImageSpec]) -> str:
        """Two versions in turn; after an answer that was lost, 11.2."""
        lab, device = self._lab, self._device
        activated = stale = 0
        images = [make_image(spec) for spec in specs]
        for number in range(times):
            image = images[number % len(images)]
            body = UpdateFirmware(image.to_bytes(), image.version, (device.eui,))
            await lab.send(body)
            answer = await lab.send(ActivateFirmware(image.manufacturer_image_hash), device.eui)
            if answer.code == _NO_RESPONSE:
                await lab.send(ReadFirmwareVersion(), device.eui)
            known = lab.dsp.smi.find(device.eui)
            activated += lab.installations.ends[device.eui] == Outcome.ACTIVATED
            stale += known is None or known.version != image.version
        share = lab.dsp.parts.lost / times
        self.why = f"{lab.dsp.parts.lost} answers lost ({share:.0%}); after 11.2 the SMI was right each time"
        return f"{activated} activated, {stale} stale"
