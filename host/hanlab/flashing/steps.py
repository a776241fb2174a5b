"""The steps of a flash, at a board's REPL: look, copy what is missing, start it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hanlab.boards.files import MAIN
from hanlab.flashing import repl
from hanlab.flashing.look import SCRIPT, Found, found
from hanlab.flashing.plan import Plan

# MicroPython
_PREPARE: Final = """
import os
for p in {remove!r}:
 try:os.remove('/'+p)
 except OSError:pass
for p in {folders!r}:
 try:os.mkdir('/'+p)
 except OSError:pass
"""
Tell = Callable[[int, str], None]
"""Takes how many octets are on the board by now, and the name of the file that goes there next."""


def look_at(device: str, *, bridge: bool) -> Found:
    """What is on the board, which stops what runs there.

    Raises:
        UsageError: nothing answers, or it is no MicroPython.
        PortGone: the port has vanished.
    """
    repl.wake(device, bridge=bridge)
    return found(repl.run(device, [["exec", SCRIPT]]))


def carry_out(device: str, plan: Plan, tell: Tell) -> Found:
    """Do what `plan` says, except for main.py, which `start` copies; what is on the board then.

    Raises as `look_at`.
    """
    copy = [(name, octets) for name, octets in plan.copy if name != MAIN]
    prepare = _PREPARE.format(remove=plan.remove, folders=plan.folders)
    commands: list[Sequence[str]] = [["exec", prepare]]
    if plan.library:
        commands.append(["mip", "install", "usb-device-cdc"])
    with tempfile.TemporaryDirectory() as place:
        commands += _copies(Path(place), copy)
        output = repl.run(
            device, [*commands, ["exec", SCRIPT]], on_line=_Progress(copy, tell).on_line
        )
    return found(output)


def start(device: str, plan: Plan) -> None:
    """Copy main.py, if it is not there, and restart the board. Raises as `look_at`."""
    with tempfile.TemporaryDirectory() as place:
        main = [(name, octets) for name, octets in plan.copy if name == MAIN]
        repl.run(device, [*_copies(Path(place), main), ["reset"]])


def _copies(folder: Path, files: Sequence[tuple[str, bytes]]) -> list[Sequence[str]]:
    commands: list[Sequence[str]] = []
    for number, (name, octets) in enumerate(files):
        source = folder / f"{number}-{Path(name).name}"
        source.write_bytes(octets)
        commands.append(["fs", "cp", "-f", str(source), f":/{name}"])
    return commands


class _Progress:
    """Counts octets by what mpremote says: `cp FILE :/NAME` before each file."""

    def __init__(self, files: Sequence[tuple[str, bytes]], tell: Tell) -> None:
        self._sizes = {f":/{name}": len(octets) for name, octets in files}
        self._tell = tell
        self._done = 0
        self._under_way = 0

    def on_line(self, line: str) -> None:
        words = line.split(" ")
        if line.startswith("Installing: "):
            self._tell(self._done, words[-1].lstrip("/"))
        elif words[0] == "cp" and words[-1] in self._sizes:
            self._done += self._under_way
            self._under_way = self._sizes[words[-1]]
            self._tell(self._done, words[-1][2:])
