"""The update without a cut: made once, its flash operations counted, the flash kept at each stage."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hanlab.bench.flash import Effect, Kind, Operation
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Lab, Progress
from hanlab.lab.config import LabConfig
from hanlab.s1sp.outcome import Outcome
from hanlab.sweep.check import gist
from hanlab.sweep.plan import Phase, Plan, Stage

OLD: Final = "SWEEP01"
NEW: Final = "SWEEP02"
QUIET_S: Final = 2.0
"""After each command, so that what the boards do afterwards is in the sweep, too (s)."""

_NOT_KEPT: Final = ("lock", "*.log")


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
    recorder = _Recorder()

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
    return Plan(config, device, old, new, folder, firmware, tuple(stages), end)


def copy(source: Path, target: Path) -> Path:
    """What the boards and the host keep of a lab, in a folder that has nothing else; that folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns(*_NOT_KEPT), copy_function=shutil.copyfile
    )
    return target


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


class _Recorder:
    """A fault that lets everything be done, and writes down what it was."""

    def __init__(self) -> None:
        self.operations: dict[str, list[Kind]] = {}

    def start(self, lab: Lab) -> None:
        self.operations = {}
        for device in (lab.hub, *lab.devices):
            kinds = self.operations[device.name] = []

            def record(operation: Operation, kinds: list[Kind] = kinds) -> Effect:
                kinds.append(operation.kind)
                return Effect.DONE

            lab.board(device).flash.fault = record
