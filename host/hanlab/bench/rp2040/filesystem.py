"""A chip's littlefs as `hanlab provision` and `mpremote` leave it; what the board has stored stays."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

from hanlab.bench.board import BoardError
from hanlab.boards.data import FlashFacts
from hanlab.boards.files import STATE, write_files
from hanlab.files import write_whole

_READ: Final = 256
_FROZEN: Final = b"smets1/store/"
"""In a UF2 that has the firmware frozen in (firmware/manifest.py): MicroPython lists its modules by their paths."""
_ERASED: Final = b"\xff"


def board_files(board_json: Mapping[str, Any], chip: str, code: bytes) -> dict[str, bytes]:
    """What `hanlab provision` puts on a board, by its path there; where `code` has the firmware, what is left of it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "board"
        write_files(folder, board_json, chip)
        within = folder / STATE if _FROZEN in code else folder
        files = (path for path in within.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def install(path: Path, facts: FlashFacts, files: Mapping[str, bytes]) -> None:
    """Have `files` on the littlefs image at `path`, a new one if there is none.

    Firmware that is not among them is removed, for it would be found first.

    Raises:
        BoardError: what is there is no littlefs.
        OSError: it cannot be written.
    """
    blank = _ERASED * facts.filesystem
    before = path.read_bytes() if path.exists() else blank
    if len(before) != facts.filesystem:
        return  # NorFlash says what is wrong with it
    context = UserContext(buffer=bytearray(before))
    littlefs = LittleFS(
        context=context,
        mount=False,
        block_size=facts.sector,
        block_count=facts.filesystem // facts.sector,
        read_size=_READ,
        prog_size=facts.page,
    )
    if before == blank:
        littlefs.format()
    try:
        littlefs.mount()
    except LittleFSError:
        raise BoardError(
            f"{path} holds no filesystem that can be read",
            next_step=f"move {path} aside to begin with an empty chip",
        ) from None
    for stale in _firmware(littlefs) - files.keys():
        _remove(littlefs, stale)
    for name, octets in files.items():
        _put(littlefs, name, octets)
    littlefs.unmount()
    if context.buffer != before:
        write_whole(path, bytes(context.buffer), lasting=False)


def _firmware(littlefs: LittleFS) -> set[str]:
    """The files that are not the firmware's own state."""
    found = set()
    for folder, folders, names in littlefs.walk("/"):
        at = folder.strip("/")
        if not at and STATE in folders:
            folders.remove(STATE)
        found |= {f"{at}/{name}".lstrip("/") for name in names}
    return found


def _remove(littlefs: LittleFS, name: str) -> None:
    """Remove a file, and the folders that it leaves empty: MicroPython would import one as a package."""
    littlefs.remove(name)
    folder = name.rpartition("/")[0]
    while folder and not littlefs.listdir(folder):
        littlefs.rmdir(folder)
        folder = folder.rpartition("/")[0]


def _put(littlefs: LittleFS, name: str, octets: bytes) -> None:
    try:
        with littlefs.open(name, "rb") as file:
            if file.read() == octets:
                return
    except FileNotFoundError:
        folder = name.rpartition("/")[0]
        if folder:
            littlefs.makedirs(folder, exist_ok=True)
    with littlefs.open(name, "wb") as file:
        file.write(octets)
