"""Runs a demo on emulated boards that are fresh from the box, and says what happened."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hanlab.demos.images import make_image
from hanlab.demos.parts import (
    Activate,
    Activations,
    Add,
    BitRot,
    Commission,
    Demo,
    Enrol,
    Fault,
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
from hanlab.demos.service_user import ServiceUser
from hanlab.duis.messages import ActivateFirmware, UpdateFirmware
from hanlab.images import OtaImage
from hanlab.lab import Device, Lab
from hanlab.lab.config import LabConfig, make_lab
from hanlab.lab.enrolment import product
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Progress
from hanlab.wan.messages import StoreReadResponse

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
        self._user = ServiceUser(lab, self._device, self._report)
        self._somebody = ServiceUser(lab, self._device, self._report)
        """Whose request comes meanwhile."""

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
                main = self._user.mirror()
            case Enrol():
                tried = f"pre-notification of {self._device.name}"
                main = self._user.enrol()
            case PreNotify():
                tried = f"pre-notification of {self._device.name}"
                main = self._user.pre_notify()
            case Add(home=home):
                tried = f"{self._device.name} may join {self._user.hub(home).name}"
                main = self._user.add(step)
            case Remove(home=home):
                tried = f"{self._device.name} has to leave {self._user.hub(home).name}"
                main = self._user.remove(home)
            case Commission(home=home):
                tried = f"{self._device.name} is commissioned"
                main = self._user.commission(home)
            case ListAs(generation, version):
                tried = f"{version} as {generation}"
                main = self._user.list_as(generation, version)
            case Notify(version, smets):
                tried = f"another device with {version}, {smets}"
                main = self._user.notify(version, smets)
            case Withdraw(version):
                tried = f"{version} is withdrawn"
                main = self._user.withdraw(version)
            case Known():
                tried = f"what it knows of {self._device.name}"
                main = self._user.known()
            case Told(code):
                tried = f"who has got {code}"
                main = self._user.told(code)
            case Activations(times, images):
                tried = f"{times} updates of {self._device.name}"
                main = self._user.activations(times, images)
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
        why = why or self._user.why
        if request == SERVICE_REQUEST[Version] and not why:
            why = f"{self._device.name} runs {happened}"
        self._user.why = ""
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
            return await self._user.read(self._device.eui)
        return (await self._lab.wait_until_back(self._device)).firmware

    async def _push(self, image: OtaImage) -> str:
        if self._scene.dsp:
            return await self._user.send(
                UpdateFirmware(image.to_bytes(), image.version, (self._device.eui,)), None
            )
        return str(await self._lab.update_firmware(image, self._device, self._report))

    async def _activate(self, image: OtaImage) -> str:
        hash_ = image.manufacturer_image_hash
        if self._scene.dsp:
            return await self._user.send(ActivateFirmware(hash_), self._device.eui)
        return str(await self._lab.activate_firmware(hash_, self._device, self._report))

    async def _outcome(self, task: asyncio.Task[str]) -> str:
        ended = await task
        self._user.why = self._somebody.why
        return ended

    def _home(self) -> str:
        """The home on whose HAN the device is; the first, if it is on none."""
        hub = self._lab.installations.hub_of(self._device.eui)
        homes = self._lab.homes
        return next((home for home in homes if home.hub.eui == hub), homes[0]).name

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
            return await self._somebody.mixed(image)
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
