"""Runs a demo on emulated boards that are fresh from the box, and says what happened."""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hanlab.demos.catalogue import Activate, Demo, ImageSpec, Push, Scene, Step, Version
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Lab
from hanlab.lab_config import make_lab
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.service import Progress
from hanlab.wan.messages import StoreReadResponse

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
    return build(
        made_body(spec.body, seed=zlib.crc32(spec.version.encode())),
        device_type="PPMID",
        version=spec.version,
        hardware=spec.hardware,
        for_ch=spec.for_ch,
    )


def run_demo(demo: Demo, watcher: Watcher, *, pcap: Path | None = None) -> Iterator[Result]:
    """Run all scenes of `demo`, each in a lab of its own; yields each step's result."""
    for number, scene in enumerate(demo.scenes):
        capture = pcap and (pcap if number == 0 else pcap.with_stem(f"{pcap.stem}-{number + 1}"))
        with (
            tempfile.TemporaryDirectory(prefix="hanlab-demo-") as folder,
            Lab(make_lab(demo.name, scene.lab()), Path(folder), pcap=capture) as lab,
        ):
            watcher.scene(demo, scene, lab)
            for step in scene.steps:
                yield _run_step(demo, scene, step, lab, watcher)


def _run_step(demo: Demo, scene: Scene, step: Step, lab: Lab, watcher: Watcher) -> Result:
    device = lab.devices[0]
    request = SERVICE_REQUEST[type(step)]
    octets = 0
    why = ""
    wall, clock = time.perf_counter(), lab.clock_us

    def report(progress: Progress) -> None:
        watcher.progress(progress, lab.clock_us)

    try:
        match step:
            case Push(spec):
                image = make_image(spec)
                octets = len(image.to_bytes())
                tried = f"{image.version}, {octets:,} B, to {device.name}"
                watcher.step(request, tried)
                happened = str(lab.run(lab.update_firmware(image, device, report)))
            case Activate(spec):
                image = make_image(spec)
                tried = f"hash of {image.version} on {device.name}"
                watcher.step(request, tried)
                happened = str(
                    lab.run(lab.activate_firmware(image.manufacturer_image_hash, device, report))
                )
            case Version():
                tried = f"version of {device.name}"
                watcher.step(request, tried)
                happened = lab.run(lab.wait_until_back(device)).firmware
                why = f"{device.name} runs {happened}"
    except ServiceRequestFailed as failure:
        happened = str(failure.outcome)
        why = failure.what
    return Result(
        demo=demo.name,
        scene=scene.about,
        request=request,
        tried=tried,
        expected=str(step.expect),
        happened=happened,
        why=why or EXPLAINED.get(Outcome(happened), ""),
        virtual_s=(lab.clock_us - clock) / 1e6,
        wall_s=time.perf_counter() - wall,
        store=lab.run(lab.store()),
        image_octets=octets,
    )


EXPLAINED = {
    Outcome.STORED: "the CH holds it; the device has nothing yet",
    Outcome.DISTRIBUTED: "the device holds it; it runs what it ran before",
    Outcome.ACTIVATED: "the hash is right; the device restarts with it",
}
