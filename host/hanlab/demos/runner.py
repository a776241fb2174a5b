"""Runs a demo on emulated boards that are fresh from the box, and says what happened."""

from __future__ import annotations

import asyncio
import dataclasses
import struct
import tempfile
import time
import zlib
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from hanlab.demos.parts import (
    Activate,
    Activations,
    Add,
    BitRot,
    Commission,
    Demo,
    Enrol,
    Fault,
    ImageSpec,
    Known,
    ListAs,
    Meanwhile,
    Notify,
    PowerCut,
    PreNotify,
    Push,
    ReadMirror,
    Remove,
    Scene,
    Step,
    Told,
    Version,
    Withdraw,
)
from hanlab.duis.messages import (
    ActivateFirmware,
    Body,
    DevicePreNotification,
    FirmwareVersionRead,
    ReadFirmwareVersion,
    UpdateFirmware,
    UpdateFirmwareWarning,
    UpdateHanDeviceLog,
)
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Device, Lab
from hanlab.lab.config import LabConfig, make_lab
from hanlab.lab.enrolment import commissioning, notification, product
from hanlab.s1sp.join_time import join_minutes
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Progress
from hanlab.wan.messages import StoreReadResponse

_SIZE_AT = 52
"""Where the OTA header has the total size."""

ELSEWHERE = Eui.parse("00-DB-12-34-56-78-91-A0")
"""A device that is pre-notified only: it has no board here."""
_WELL = ("I0", "I99", "W110101")
_NO_RESPONSE = "E21"
_GRACE_S = 10.0
"""Who was let in in the window's last second still comes to the end."""

SERVICE_REQUEST = {
    Push: "11.1",
    Version: "11.2",
    ReadMirror: "11.2",
    Activate: "11.3",
    Enrol: "12.2",
    PreNotify: "12.2",
    Add: "8.11",
    Remove: "8.11",
    Commission: "8.7.2",
    Notify: "12.2",
    ListAs: "CPL",
    Withdraw: "CPL",
    Known: "SMI",
    Told: "DCC Alerts",
    Activations: "11.1 and 11.3",
}
"""What each step is called."""


@dataclass(frozen=True)
class Result:
    """What one step did. `happened` is an outcome, or the version that 11.2 read."""

    demo: str
    scene: str
    request: str
    tried: str
    expected: str
    happened: str
    why: str
    virtual_s: float
    wall_s: float
    store: StoreReadResponse
    image_octets: int = 0

    @property
    def as_expected(self) -> bool:
        return self.expected in (self.happened, "")  # "": nobody knew


class Watcher(Protocol):
    """Sees a demo go on."""

    def scene(self, demo: Demo, scene: Scene, lab: Lab) -> None: ...
    def step(self, request: str, tried: str) -> None: ...
    def progress(self, progress: Progress, clock_us: int) -> None: ...


def make_image(spec: ImageSpec) -> OtaImage:
    """The image that a demo's step uses; the same for the same spec."""
    if spec.own:
        return spec.own
    image = build(
        made_body(spec.body, seed=zlib.crc32(spec.version.encode()), boots=spec.boots),
        device_type=spec.device_type,
        version=spec.version,
        hardware=spec.hardware,
        for_ch=spec.for_ch,
    )
    if spec.claims is None:
        return image
    fields = {f.name: getattr(image, f.name) for f in dataclasses.fields(image)}
    return _LyingImage(**fields, claims=spec.claims)


@dataclass(frozen=True)
class _LyingImage(OtaImage):
    """Its header claims another total size than it has."""

    claims: int = 0

    def to_bytes(self) -> bytes:
        octets = super().to_bytes()
        return octets[:_SIZE_AT] + struct.pack("<I", self.claims) + octets[_SIZE_AT + 4 :]


def run_demo(
    demo: Demo, watcher: Watcher, *, pcap: Path | None = None, impair: str | None = None
) -> Iterator[Result]:
    """Run all scenes of `demo`, each in a lab of its own; yields each step's result.

    `impair` makes their wires worse than they are, as `--impair` says it.
    """
    for number, scene in enumerate(demo.scenes):
        capture = pcap and (pcap if number == 0 else pcap.with_stem(f"{pcap.stem}-{number + 1}"))
        with (
            tempfile.TemporaryDirectory(prefix="hanlab-demo-") as folder,
            Lab(_config(demo, scene, impair), Path(folder), pcap=capture) as lab,
        ):
            _list(scene, lab)
            watcher.scene(demo, scene, lab)
            for step in scene.steps:
                yield from _Run(demo, scene, lab, watcher).step(step)


def _device(scene: Scene, lab: Lab) -> Device:
    """The board that the scene's requests are for."""
    return lab.device(scene.to) if scene.to else lab.devices[0]


def _list(scene: Scene, lab: Lab) -> None:
    """Put on the CPL what the scene wants there, as its manufacturer would."""
    for spec in scene.listed:
        image = make_image(spec)
        model = _device(scene, lab).model
        lab.dsp.load([product(model, image.version, image.manufacturer_image_hash)])


def _config(demo: Demo, scene: Scene, impair: str | None) -> LabConfig:
    config = make_lab(demo.name, scene.lab())
    return config.impaired(impair) if impair else config


class _Run:
    """One step of a demo, with its fault."""

    def __init__(self, demo: Demo, scene: Scene, lab: Lab, watcher: Watcher) -> None:
        self._demo = demo
        self._scene = scene
        self._lab = lab
        self._watcher = watcher
        self._device = _device(scene, lab)
        self._fault: Fault | None = None
        self._other: asyncio.Task[str] | None = None
        self._why = ""
        self._why_other = ""
        """Of the request of somebody else, meanwhile."""

    def step(self, step: Step) -> Iterator[Result]:
        request = SERVICE_REQUEST[type(step)]
        octets = 0
        main: Coroutine[Any, Any, str]
        image: OtaImage | None = None
        match step:
            case Version():
                tried = f"version of {self._device.name}"
                main = self._version()
            case ReadMirror():
                tried = "version of the GPF"
                main = self._mirror()
            case Enrol():
                tried = f"pre-notification of {self._device.name}"
                main = self._enrol()
            case PreNotify():
                tried = f"pre-notification of {self._device.name}"
                main = self._pre_notify()
            case Add(home=home):
                tried = f"{self._device.name} may join {self._hub(home).name}"
                main = self._add(step)
            case Remove(home=home):
                tried = f"{self._device.name} has to leave {self._hub(home).name}"
                main = self._remove(home)
            case Commission(home=home):
                tried = f"{self._device.name} is commissioned"
                main = self._commission(home)
            case ListAs(generation, version):
                tried = f"{version} as {generation}"
                main = self._list_as(generation, version)
            case Notify(version, smets):
                tried = f"another device with {version}, {smets}"
                main = self._notify(version, smets)
            case Withdraw(version):
                tried = f"{version} is withdrawn"
                main = self._withdraw(version)
            case Known():
                tried = f"what it knows of {self._device.name}"
                main = self._known()
            case Told(code):
                tried = f"who has got {code}"
                main = self._told(code)
            case Activations(times, images):
                tried = f"{times} updates of {self._device.name}"
                main = self._activations(times, images)
            case Push(spec):
                image = make_image(spec)
                octets = len(image.to_bytes())
                tried = f"{image.version}, {octets:,} B, to {self._device.name}"
                main = self._push(image)
            case Activate(spec):
                image = make_image(spec)
                tried = f"hash of {image.version} on {self._device.name}"
                main = self._activate(image)
        if isinstance(step, Push | Activate):
            self._fault = step.fault
            if isinstance(self._fault, BitRot) and image:
                self._rot(self._fault, image)
        self._watcher.step(request, tried)
        yield self._result(request, tried, step.expect, octets, main)
        if self._other and isinstance(self._fault, Meanwhile):
            image = make_image(self._fault.image)
            whom = " and ".join(device.name for device in self._lab.devices)
            tried = f"{image.version}, to {whom}, meanwhile"
            self._watcher.step(request, tried)
            yield self._result(request, tried, self._fault.expect, 0, self._outcome(self._other))

    def _result(
        self, request: str, tried: str, expect: str, octets: int, main: Coroutine[Any, Any, str]
    ) -> Result:
        lab = self._lab
        wall, clock = time.perf_counter(), lab.clock_us
        why = ""
        try:
            happened = lab.run(main)
        except ServiceRequestFailed as failure:
            happened = str(failure.outcome)
            why = failure.what
        why = why or self._why
        if request == SERVICE_REQUEST[Version] and not why:
            why = f"{self._device.name} runs {happened}"
        self._why = ""
        return Result(
            demo=self._demo.name,
            scene=self._scene.about,
            request=request,
            tried=tried,
            expected=str(expect),
            happened=happened,
            why=why or EXPLAINED.get(happened, ""),
            virtual_s=(lab.clock_us - clock) / 1e6,
            wall_s=time.perf_counter() - wall,
            store=lab.run(lab.store(self._home())),
            image_octets=octets,
        )

    async def _version(self) -> str:
        if self._scene.dsp:
            return await self._read(self._device.eui)
        return (await self._lab.wait_until_back(self._device)).firmware

    async def _push(self, image: OtaImage) -> str:
        if self._scene.dsp:
            return await self._send(
                UpdateFirmware(image.to_bytes(), image.version, (self._device.eui,)), None
            )
        return str(await self._lab.update_firmware(image, self._device, self._report))

    async def _activate(self, image: OtaImage) -> str:
        hash_ = image.manufacturer_image_hash
        if self._scene.dsp:
            return await self._send(ActivateFirmware(hash_), self._device.eui)
        return str(await self._lab.activate_firmware(hash_, self._device, self._report))

    async def _outcome(self, task: asyncio.Task[str]) -> str:
        ended = await task
        self._why = self._why_other
        return ended

    # -- through the DSP

    async def _send(self, body: Body, to: Eui | None) -> str:
        """How a Service Request ended: a code that is no success, else what became of it."""
        lab = self._lab
        answer = await lab.send(body, to, report=self._report)
        if answer.acknowledgement.code != "I99":
            self._why = lab.dsp.audit.read(1)[0].why
            return answer.acknowledgement.code
        if answer.code not in _WELL:
            self._why = f"no answer of {self._device.name} came to the DSP"
            return answer.code
        end = lab.installations.ends[self._device.eui]
        if isinstance(end, ServiceRequestFailed):
            raise end
        return str(end)

    async def _read(self, eui: Eui) -> str:
        answer = await self._lab.send(ReadFirmwareVersion(), eui)
        if answer.result is None or not isinstance(answer.result.body, FirmwareVersionRead):
            self._why = self._lab.dsp.audit.read(1)[0].why
            return answer.code
        return str(answer.result.body.version)

    async def _mirror(self) -> str:
        gpf = self._lab.config.home().gpf
        assert gpf, "a scene that asks the GPF has a GSME"
        return await self._read(gpf)

    async def _enrol(self) -> str:
        node = self._lab.config.node(self._device.name)
        await self._lab.send(notification(node))
        known = await self._known()
        hub = self._lab.hub.eui
        await self._lab.send(UpdateHanDeviceLog(self._device.eui), hub)
        await self._lab.send(commissioning(self._lab.dsp, node, hub), self._device.eui)
        return known

    def _home(self) -> str:
        """The home on whose HAN the device is; the first, if it is on none."""
        hub = self._lab.installations.hub_of(self._device.eui)
        homes = self._lab.homes
        return next((home for home in homes if home.hub.eui == hub), homes[0]).name

    def _hub(self, home: str) -> Device:
        homes = self._lab.homes
        return next((h.hub for h in homes if h.name == home), homes[0].hub)

    async def _asked(self, body: Body, to: Eui | None = None) -> str:
        """What the SMI says after a Service Request, or the code that refuses it."""
        answer = await self._lab.send(body, to)
        if answer.code not in _WELL:
            self._why = self._lab.dsp.audit.read(1)[0].why
            return answer.code
        return await self._known()

    async def _pre_notify(self) -> str:
        return await self._asked(notification(self._lab.config.node(self._device.name)))

    async def _add(self, step: Add) -> str:
        lab, device = self._lab, self._device
        if step.on_after_s:
            board = lab.board(device)
            board.power_off()
            lab.desk.kernel.at(lab.clock_us + round(step.on_after_s * 1e6), board.power_on)
        code = step.code or lab.install_code(device)
        hub = self._hub(step.home)
        asked = await self._asked(
            UpdateHanDeviceLog(device.eui, join_s=step.join_s, install_code=code), hub.eui
        )
        if asked.startswith("E"):
            return asked
        within_s = 60 * join_minutes(step.join_s) + _GRACE_S
        joined = await lab.wait_until_joined(device, within_s)
        self._why = (
            f"{device.name} is on the HAN of {hub.name}"
            if joined
            else "it has not joined while it might"
        )
        return await self._known()

    async def _remove(self, home: str) -> str:
        hub = self._hub(home)
        self._why = f"{self._device.name} may not be on the HAN of {hub.name} any more"
        return await self._asked(UpdateHanDeviceLog(self._device.eui, add=False), hub.eui)

    async def _commission(self, home: str) -> str:
        node = self._lab.config.node(self._device.name)
        body = commissioning(self._lab.dsp, node, self._hub(home).eui)
        self._why = f"{self._device.name} has its place on the HAN"
        return await self._asked(body, self._device.eui)

    async def _list_as(self, generation: str, version: str) -> str:
        entry = replace(product(self._device.model, version), generation=generation)
        try:
            self._lab.dsp.load([entry])
        except UsageError as e:
            self._why = e.what
            return "refused"
        return "listed"

    async def _notify(self, version: str, smets: str) -> str:
        model, lab = self._device.model, self._lab
        body = DevicePreNotification(
            ELSEWHERE, model.manufacturer, model.model, model.device_type, smets, version
        )
        answer = await lab.send(body)
        if answer.code != "I99":
            self._why = lab.dsp.audit.read(1)[0].why
            return "refused"
        found = lab.dsp.smi.find(ELSEWHERE)
        return f"{found.generation}, {found.status}" if found else "not in the inventory"

    async def _mixed(self, image: OtaImage) -> str:
        """11.1 for the devices of all homes."""
        lab = self._lab
        devices = tuple(device.eui for device in lab.devices)
        answer = await lab.send(UpdateFirmware(image.to_bytes(), image.version, devices))
        warning = answer.result and answer.result.body
        busy = isinstance(warning, UpdateFirmwareWarning) and warning.other_in_progress
        ends = [f"{d.name} {lab.installations.ends.get(d.eui)}" for d in lab.devices[1:]]
        left_out = ", ".join(map(str, busy or ()))
        self._why_other = "; ".join([f"OtherRequestInProgressList: {left_out}", *ends])
        return answer.code

    async def _withdraw(self, version: str) -> str:
        dsp = self._lab.dsp
        return f"{sum(dsp.withdraw(entry) for entry in dsp.cpl.of_version(version))} Suspended"

    async def _known(self) -> str:
        device = self._lab.dsp.smi.find(self._device.eui)
        return f"{device.status}, {device.version}" if device else "not in the inventory"

    async def _told(self, code: str) -> str:
        settings = self._lab.dsp.settings
        recipients = [d.recipient for d in self._lab.dsp.deliveries.last(1000) if d.code == code]
        users = [settings.user(recipient) for recipient in recipients]
        return ", ".join(user.name for user in users if user) or "nobody"

    async def _activations(self, times: int, specs: tuple[ImageSpec, ImageSpec]) -> str:
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
        self._why = f"{lab.dsp.parts.lost} answers lost ({share:.0%}); after 11.2 the SMI was right each time"
        return f"{activated} activated, {stale} stale"

    # -- faults

    def _report(self, progress: Progress) -> None:
        self._watcher.progress(progress, self._lab.clock_us)
        fault = self._fault
        if fault is None or isinstance(fault, BitRot) or self._other:
            return
        if progress.stage != fault.when.stage or progress.done < fault.when.octets:
            return
        if isinstance(fault, PowerCut):
            self._fault = None
            boards = [self._lab.device(name) for name in fault.boards]
            self._lab.power_cycle(*boards, in_s=fault.when.later_s)
        else:
            self._other = asyncio.ensure_future(self._meanwhile(make_image(fault.image)))

    async def _meanwhile(self, image: OtaImage) -> str:
        if self._scene.dsp:
            return await self._mixed(image)
        return str(await self._lab.update_firmware(image, self._device))

    def _rot(self, fault: BitRot, image: OtaImage) -> None:
        octets = image.to_bytes()
        middle = len(octets) // 2
        self._lab.board(self._lab.device(fault.board)).flash.rot(octets[middle : middle + 64])


EXPLAINED: dict[str, str] = {
    Outcome.STORED: "the CH holds it until 11.3",
    Outcome.DISTRIBUTED: "the device holds it; it runs what it ran before",
    Outcome.ACTIVATED: "the hash is right; the device restarts with it",
}
