"""Files that are whole or not there: a full disk or a `kill -9` leaves no stump."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(
    path: Path, octets: bytes, *, mode: int = 0o666, new: bool = False, lasting: bool = True
) -> None:
    """Make the file beside itself, and give it its name when all of it is there.

    `mode` as for `os.open`: 0o600 for what only its owner may read. `new`: it must not be there yet.
    `lasting`: it is on the disk then, also if the computer's power fails.

    Raises:
        FileExistsError: `new`, and it is there.
        OSError: it could not be written; what was at `path` before is there still.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(octets)
            file.flush()
            if lasting:
                os.fsync(fd)
        if new:
            path.hardlink_to(aside)
        else:
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    if lasting:
        settle(path.parent)


def file_stem(name: str) -> str:
    """What the files of a board are called; its name may be HOME/NAME, and the rest of it has no dot."""
    return name.replace("/", ".")


def board_log(folder: Path, name: str) -> Path:
    """What an emulated board's firmware has printed since its lab was opened; `folder` is the lab's state."""
    return folder / f"{file_stem(name)}.log"


def settle(folder: Path) -> None:
    """Have the names in a folder on the disk as well: a file's own sync does not care for them."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
