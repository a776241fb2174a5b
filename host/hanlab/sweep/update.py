"""A sweep's update: made once without a cut, and what has to come of it with one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanlab.bench.kernel import BenchError
from hanlab.errors import HanlabError
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Device, Lab, Progress
from hanlab.lab.config import LabConfig
from hanlab.s1sp.outcome import Outcome
from hanlab.sweep.check import breaches, gist
from hanlab.sweep.plan import Course, Phase, Plan, Stage
from hanlab.sweep.recorder import QUIET_S, Recorder, copy

OLD: Final = "SWEEP01"
NEW: Final = "SWEEP02"
TRIES: Final = 4
"""How often a user sends the commands again before it counts as stuck."""
_BETWEEN_TRIES_S: Final = 40.0
"""Longer than a CH waits for a device that has gone."""


@dataclass(frozen=True)
class Update:
    """From one image to another."""

    device: str
    old: OtaImage
    new: OtaImage
    size: int
    end: dict[str, tuple[object, ...]]
    """What the stores reported when it was done without a cut (see check.gist)."""

    name = "update"

    @property
    def octets(self) -> int:
        """Of the firmware in it."""
        return self.size

    async def command(self, lab: Lab, phase: Phase, course: Course) -> None:
        device = lab.device(self.device)
        if phase is Phase.ACTIVATE:
            await lab.activate_firmware(self.new.manufacturer_image_hash, device)
            course.done = True
        else:
            await lab.update_firmware(self.new, device)
            course.distributed = True

    async def rest(self, lab: Lab, phase: Phase, course: Course) -> list[str]:
        device = lab.device(self.device)
        old, new = self.old, self.new
        may_run = (old.version, new.version) if phase is Phase.ACTIVATE else (old.version,)
        pushed = phase is not Phase.PUSH
        found = await breaches(lab, device, old, new, may_run=may_run, pushed=pushed)
        if not (course.done or course.distributed) and not await self._is_done(lab, device):
            course.repeated = 1
        error = await self._finish(lab, device, course)
        if error:
            return [*found, f"the update cannot be finished: {error.what}"]
        await asyncio.sleep(QUIET_S)
        found += await breaches(lab, device, old, new, may_run=(new.version,))
        for board in dict.fromkeys((lab.hub, device)):
            report = gist(await lab.store_of(board))
            if report != self.end[board.name]:
                found.append(f"{board.name}: its store holds {report}, without a cut {self.end}")
        return found

    async def _finish(self, lab: Lab, device: Device, course: Course) -> HanlabError | None:
        """Send the commands as a user does, until the update is done. What stands in its way, if it is not."""
        error: HanlabError | None = None
        for _ in range(TRIES):
            try:
                if course.done or await self._is_done(lab, device):
                    return None
                runs = (await lab.wait_until_back(device)).firmware
                if runs != self.new.version and not course.distributed:
                    await lab.update_firmware(self.new, device)
                await lab.activate_firmware(self.new.manufacturer_image_hash, device)
                return None
            except BenchError:
                raise
            except HanlabError as e:
                error = e
            course.distributed = False
            course.repeated += 1
            await asyncio.sleep(_BETWEEN_TRIES_S)
        return error

    async def _is_done(self, lab: Lab, device: Device) -> bool:
        """The device runs the new version and the CH has given its room back: nothing is left to do."""
        runs = (await lab.wait_until_back(device)).firmware
        held = (await lab.store()).images
        return runs == self.new.version and all(image.state == "running" for image in held)


def make_plan(
    config: LabConfig,
    device: str,
    size: int,
    folder: Path,
    firmware: Path | None,
    tell: Callable[[str], None] = lambda what: None,
) -> Plan:
    """Make the update of `device` in a fresh lab: from one image of `size` octets to another.

    `tell` is told what is done now. Raises as `Lab.update_firmware`, e.g. where the image is too large for the lab.
    """
    old, new = (_image(config, device, size, version) for version in (OLD, NEW))
    start = folder / Phase.PUSH
    tell(f"{OLD}, which is there before")
    with Lab(config, start, firmware=firmware) as lab:
        _update(lab, device, old)
        lab.run(lab.activate_firmware(old.manufacturer_image_hash, lab.device(device)))
        lab.run(asyncio.sleep(QUIET_S))

    stages: list[Stage] = []
    recorder = Recorder()

    def stage_ends(phase: Phase, begins_in: Path) -> None:
        first = {
            board: 1 + sum(len(s.operations[board]) for s in stages)
            for board in recorder.operations
        }
        operations = {board: tuple(kinds) for board, kinds in recorder.operations.items()}
        stages.append(Stage(phase, begins_in, first, operations))

    distributing = folder / Phase.DISTRIBUTE
    tell(f"11.1 of {NEW}")
    with Lab(config, copy(start, folder / "work"), firmware=firmware) as lab:
        recorder.start(lab)

        def uploaded(step: Progress) -> None:
            if step.stage == "upload" and step.done == step.total and not stages:
                stage_ends(Phase.PUSH, start)
                copy(lab.folder, distributing)

        outcome = lab.run(lab.update_firmware(new, lab.device(device), uploaded))
    if outcome is Outcome.DISTRIBUTED:
        tell(f"11.1 of {NEW} once more, from where the CH has it")
        with Lab(config, copy(distributing, folder / "work"), firmware=firmware) as lab:
            recorder.start(lab)
            _update(lab, device, new)
            stage_ends(Phase.DISTRIBUTE, distributing)
    tell(f"11.3 of {NEW}")
    activating = copy(folder / "work", folder / Phase.ACTIVATE)
    with Lab(config, copy(activating, folder / "work"), firmware=firmware) as lab:
        recorder.start(lab)
        lab.run(lab.activate_firmware(new.manufacturer_image_hash, lab.device(device)))
        lab.run(asyncio.sleep(QUIET_S))
        stage_ends(Phase.ACTIVATE, activating)
        end = {
            board.name: gist(lab.run(lab.store_of(board)))
            for board in dict.fromkeys((lab.hub, lab.device(device)))
        }
    swept = Update(device, old, new, size, end)
    return Plan(config, device, swept, folder, firmware, tuple(stages))


def _image(config: LabConfig, device: str, size: int, version: str) -> OtaImage:
    return build(
        made_body(size, seed=int(version[-2:])),
        device_type=config.node(device).model.device_type,
        version=version,
        for_ch=config.hub.model.manufacturer,
    )


def _update(lab: Lab, device: str, image: OtaImage) -> None:
    lab.run(lab.update_firmware(image, lab.device(device)))
    lab.run(asyncio.sleep(QUIET_S))
