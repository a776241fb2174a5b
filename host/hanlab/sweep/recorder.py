"""What is made once without a cut: its flash operations counted, the flash kept where it begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from hanlab.bench.flash import Effect, Kind, Operation
from hanlab.lab import Lab

QUIET_S: Final = 2.0
"""After each command, so that what the boards do afterwards is in the sweep, too (s)."""

_NOT_KEPT: Final = ("lock", "*.log")


def copy(source: Path, target: Path) -> Path:
    """What the boards and the host keep of a lab, in a folder that has nothing else; that folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns(*_NOT_KEPT), copy_function=shutil.copyfile
    )
    return target


class Recorder:
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
