"""A lab's state folder: its boards' flash, its DSP's memory, its keys; one command has it at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanlab.errors import UsageError
from hanlab.files import write_whole
from hanlab.lab.config import LabConfig

STATE: Final = ".hanlab"
"""The folder beside lab.toml (or here) that holds the state folders of the labs there."""
BOARD_KEYS: Final = "boards.key"
"""In the state folder: the secret that the keys of a provisioned lab's boards are made from."""
LOCK: Final = "lock"
SERVER: Final = "server.json"
"""Where the server that has the lab is, as long as it has it."""


def state_folder(file: Path | None, config: LabConfig) -> Path:
    """Where the lab that `file` (a lab.toml) describes keeps its flash files and its DSP's memory."""
    return (file.parent if file else Path()) / STATE / config.name


@dataclass(frozen=True)
class Server:
    """A `hanlab serve` that has the lab in `folder`.

    `pki` is the folder of the keys that it knows, `impair` what its `--impair` said.
    """

    folder: Path
    url: str
    pki: Path
    process: int
    impair: str


@contextmanager
def announced(folder: Path, url: str, pki: Path, impair: str) -> Iterator[None]:
    """Let other commands on the lab find the server that has it."""
    said = {
        "url": url,
        "pki": str(pki.resolve()),
        "process": os.getpid(),
        "impair": impair,
    }
    write_whole(folder / SERVER, json.dumps(said).encode(), mode=0o600, lasting=False)
    try:
        yield
    finally:
        (folder / SERVER).unlink(missing_ok=True)


def serving(folder: Path) -> Server | None:
    """The server that has the lab in `folder`. What a killed one left behind counts for nothing."""
    try:
        said = json.loads((folder / SERVER).read_text("utf-8"))
        server = Server(folder, said["url"], Path(said["pki"]), said["process"], said["impair"])
        owner = (folder / LOCK).read_text("ascii", "replace")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return server if owner == str(server.process) and is_in_use(folder) else None


def is_in_use(folder: Path) -> bool:
    """Whether a command has the lab in `folder` now."""
    try:
        fd = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


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
        if (server := serving(folder)) is not None:
            raise UsageError(
                f"the lab in {folder} is being served by process {server.process} at {server.url}",
                next_step="push, version, activate, request, join, leave and move go through that server; this needs "
                "the boards themselves: end the server first (Ctrl-C), or use another lab (--lab)",
            ) from None
        raise UsageError(
            f"another hanlab command (process {owner or 'unknown'}) uses the lab in {folder}",
            next_step="wait for it to end, or use another lab (--lab)",
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd
