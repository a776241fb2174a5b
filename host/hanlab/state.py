"""A lab's state folder: its boards' flash, its DSP's memory, its keys; one command has it at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from hanlab.errors import UsageError
from hanlab.lab_config import LabConfig

STATE: Final = ".hanlab"
"""The folder beside lab.toml (or here) that holds the state folders of the labs there."""
BOARD_KEYS: Final = "boards.key"
"""In the state folder: the secret that the keys of a provisioned lab's boards are made from."""
LOCK: Final = "lock"


def state_folder(file: Path | None, config: LabConfig) -> Path:
    """Where the lab that `file` (a lab.toml) describes keeps its flash files and its DSP's memory."""
    return (file.parent if file else Path()) / STATE / config.name


def lock(folder: Path) -> int:
    """One command on one lab at a time: the boards' flash files have one owner. Close it to let go.

    Raises:
        UsageError: another command has it.
    """
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 20, 0).decode("ascii", "replace")
        os.close(fd)
        raise UsageError(
            f"another hanlab command (process {owner or 'unknown'}) uses the lab in {folder}",
            next_step="wait for it to end, or use another lab (--lab)",
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd
