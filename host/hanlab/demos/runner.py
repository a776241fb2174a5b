"""Runs a demo on emulated boards that are fresh from the box, and says what happened."""

from __future__ import annotations

import asyncio
import dataclasses
import struct
import tempfile
import time
import zlib
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hanlab.demos.catalogue import (
    Activate,
    BitRot,
    Demo,
    Fault,
    ImageSpec,
    Meanwhile,
    PowerCut,
    Push,
    Scene,
    Step,
    Version,
)
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Lab
from hanlab.lab_config import LabConfig, make_lab
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.service import Progress
from hanlab.wan.messages import StoreReadResponse

_SIZE_AT = 52
"""Where the OTA header has the total size."""

SERVICE_REQUEST = {Push: "11.1", Version: "11.2", Activate: "11.3"}


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
        return self.expected == self.happened


class Watcher(Protocol):
    """Sees a demo go on."""

    def scene(self, demo: Demo, scene: Scene, lab: Lab) -> None: ...
    def step(self, request: str, tried: str) -> None: ...
    def progress(self, progress: Progress, clock_us: int) -> None: ...


def make_image(spec: ImageSpec) -> OtaImage:
    """The image that a demo's step uses; the same for the same spec."""
    image = build(
        made_body(spec.body, seed=zlib.crc32(spec.version.encode()), boots=spec.boots),
        device_type="PPMID",
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
            watcher.scene(demo, scene, lab)
            for step in scene.steps:
                yield from _Run(demo, scene, lab, watcher).step(step)


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
        self._device = lab.devices[0]
        self._fault: Fault | None = None
        self._other: asyncio.Task[Outcome] | None = None

    def step(self, step: Step) -> Iterator[Result]:
        request = SERVICE_REQUEST[type(step)]
        octets = 0
        match step:
            case Version():
                tried = f"version of {self._device.name}"
                main = self._version()
            case Push(spec):
                image = make_image(spec)
                octets = len(image.to_bytes())
                tried = f"{image.version}, {octets:,} B, to {self._device.name}"
                main = self._push(image)
            case Activate(spec):
                image = make_image(spec)
                tried = f"hash of {image.version} on {self._device.name}"
                main = self._activate(image)
        if not isinstance(step, Version):
            self._fault = step.fault
            if isinstance(self._fault, BitRot):
                self._rot(self._fault, image)
        self._watcher.step(request, tried)
        yield self._result(request, tried, step.expect, octets, main)
        if self._other and isinstance(self._fault, Meanwhile):
            image = make_image(self._fault.image)
            tried = f"{image.version}, to {self._device.name}, meanwhile"
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
        if request == SERVICE_REQUEST[Version]:
            why = why or f"{self._device.name} runs {happened}"
        return Result(
            demo=self._demo.name,
            scene=self._scene.about,
            request=request,
            tried=tried,
            expected=str(expect),
            happened=happened,
            why=why or EXPLAINED.get(Outcome(happened), ""),
            virtual_s=(lab.clock_us - clock) / 1e6,
            wall_s=time.perf_counter() - wall,
            store=lab.run(lab.store()),
            image_octets=octets,
        )

    async def _version(self) -> str:
        return (await self._lab.wait_until_back(self._device)).firmware

    async def _push(self, image: OtaImage) -> str:
        return str(await self._lab.update_firmware(image, self._device, self._report))

    async def _activate(self, image: OtaImage) -> str:
        hash_ = image.manufacturer_image_hash
        return str(await self._lab.activate_firmware(hash_, self._device, self._report))

    async def _outcome(self, task: asyncio.Task[Outcome]) -> str:
        return str(await task)

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
            other = self._lab.update_firmware(make_image(fault.image), self._device)
            self._other = asyncio.ensure_future(other)

    def _rot(self, fault: BitRot, image: OtaImage) -> None:
        octets = image.to_bytes()
        middle = len(octets) // 2
        self._lab.board(self._lab.device(fault.board)).flash.rot(octets[middle : middle + 64])


EXPLAINED = {
    Outcome.STORED: "the CH holds it; the device has nothing yet",
    Outcome.DISTRIBUTED: "the device holds it; it runs what it ran before",
    Outcome.ACTIVATED: "the hash is right; the device restarts with it",
}
