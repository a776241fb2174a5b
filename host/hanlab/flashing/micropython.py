"""MicroPython itself onto a chip: a UF2 file onto the BOOTSEL drive, or by picotool; a .bin by esptool."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from hanlab.boards.data import Board
from hanlab.errors import UsageError
from hanlab.flashing import repl
from hanlab.flashing.plugged import POLL_S, Plugged, wait_for

DOWNLOAD: Final = "download"
"""In place of a file's name: mpflash gets it."""
Tell = Callable[[int, int], None]
"""Takes the octets that are on the chip by now, and how many there will be."""

_UF2_BLOCK: Final = 512
_UF2_MAGIC: Final = (0x0A324655, 0x9E5D5157)
_FAMILIES: Final = {0xE48BFF56: "RP2040", 0xE48BFF59: "RP2350", 0xE48BFF5A: "RP2350"}
"""UF2 families (github.com/microsoft/uf2/blob/master/utils/uf2families.json)."""
_DRIVES: Final = {"RPI-RP2": "RP2040", "RP2350": "RP2350"}
"""Board-ID in a BOOTSEL drive's INFO_UF2.TXT (RP2040 datasheet 2.8.4.2, RP2350 datasheet 5.5)."""
_INFO: Final = "INFO_UF2.TXT"
_ESP_MAGIC: Final = 0xE9
_ESP_CHIPS: Final = {0: "ESP32", 2: "ESP32S2", 5: "ESP32C3", 9: "ESP32S3", 13: "ESP32C6"}
"""esp_chip_id_t (IDF, esp_app_format.h), at octet 12 of an image."""
_ESP_OFFSETS: Final = {"ESP32": "0x1000", "ESP32S2": "0x1000"}
"""Where the image begins; elsewhere at 0 (micropython.org/download)."""
_PORTION: Final = 64 * 1024
_DRIVE_S: Final = 15.0
_PORT_S: Final = 20.0
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?) ?%")
_BOOTSEL: Final = "hold BOOTSEL while you plug the board in, then again"


def check_file(file: Path, board: Board) -> None:
    """Refuse a file that is no MicroPython for that board's chip.

    Raises:
        UsageError: with the next step.
    """
    wanted = ".uf2" if board.family == "rp2" else ".bin"
    page = f"https://micropython.org/download/{board.micropython}/"
    try:
        head = file.read_bytes()[:_UF2_BLOCK]
    except OSError as e:
        raise UsageError(
            f"{file} cannot be read: {e.strerror}",
            next_step=f"--micropython FILE{wanted} from {page}, or --micropython {DOWNLOAD}",
        ) from None
    chip = _chip_of_uf2(head) if wanted == ".uf2" else _chip_of_bin(head)
    if chip != board.chip:
        what = f"is for {chip}" if chip else f"is no {wanted} file"
        raise UsageError(
            f"{file} {what}; a {board.name} has an {board.chip}",
            next_step=f"--micropython FILE{wanted} from {page}, or --micropython {DOWNLOAD}",
        )


def _chip_of_uf2(head: bytes) -> str:
    if len(head) < _UF2_BLOCK or struct.unpack_from("<2I", head) != _UF2_MAGIC:
        return ""
    return _FAMILIES.get(struct.unpack_from("<I", head, 28)[0], "another chip")


def _chip_of_bin(head: bytes) -> str:
    if len(head) < 16 or head[0] != _ESP_MAGIC:
        return ""
    return _ESP_CHIPS.get(struct.unpack_from("<H", head, 12)[0], "another chip")


def download(board: Board, folder: Path) -> Path:
    """MicroPython's newest release for that board, which mpflash gets into `folder`.

    Raises:
        UsageError: mpflash is not installed, or got none.
    """
    command = [*repl.tool("mpflash"), "--no-interactive", "--dir", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    run = subprocess.run(
        [*command, "download", "--version", "stable", "--board", board.micropython],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    suffix = ".uf2" if board.family == "rp2" else ".bin"
    files = [f for f in folder.rglob(f"{board.micropython}*{suffix}") if f.is_file()]
    if run.returncode or not files:
        lines = (run.stderr or run.stdout).strip().splitlines()
        raise UsageError(
            f"mpflash got no MicroPython for {board.micropython}: {lines[-1] if lines else 'it says nothing'}",
            next_step=f"--micropython FILE{suffix} from https://micropython.org/download/{board.micropython}/",
        )
    return max(files, key=lambda file: file.stat().st_mtime)


def install(
    file: Path, board: Board, port: Plugged | None, tell: Tell, *, running: bool
) -> Plugged:
    """Put MicroPython onto the chip, and wait for its port, which is returned.

    `port`: of the board, where it has one; `running`: a MicroPython answers there.

    Raises:
        UsageError: a tool is missing or refuses, no drive appears, or no port after it.
    """
    check_file(file, board)
    if board.family == "esp32":
        if port is None:
            raise UsageError(
                f"no port is there that a {board.name} has",
                next_step="plug it in; hanlab ports lists what is there",
            )
        _esptool(file, board, port.device, tell, erase=not running)
        return port
    if running and port:
        repl.run(port.device, [["bootloader"]])
    _copy_uf2(file, board, tell, wait_s=_DRIVE_S if running else 0.0)
    back = wait_for(
        lambda p: (
            p.interface == 0
            and p.has_usb
            and "BOOTSEL" not in p.kind
            and (port is None or port.serial is None or p.serial == port.serial)
        ),
        _PORT_S,
    )
    if back is None:
        raise UsageError(
            f"MicroPython is on the board, and no port appeared within {_PORT_S:.0f} s",
            next_step="take its cable out and in, then the same command without --micropython",
        )
    return back


# -- RP2040, RP2350


def drives(roots: Iterable[Path] | None = None) -> dict[Path, str]:
    """The BOOTSEL drives that are mounted, and the chip of each."""
    found = {}
    for folder in _mounted() if roots is None else roots:
        try:
            info = (folder / _INFO).read_text("ascii", "replace")
        except OSError:
            continue
        board = re.search(r"Board-ID: *(\S+)", info)
        found[folder] = _DRIVES.get(board[1], "another chip") if board else "another chip"
    return found


def _mounted() -> list[Path]:
    volumes = Path("/Volumes")
    if volumes.is_dir():  # macOS
        return sorted(volumes.iterdir())
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [Path(line.split(" ")[1].replace("\\040", " ")) for line in lines if " vfat " in line]


def _copy_uf2(file: Path, board: Board, tell: Tell, *, wait_s: float) -> None:
    end = time.monotonic() + wait_s
    while not (there := drives()) and time.monotonic() < end:
        time.sleep(POLL_S)
    if not there:
        _picotool(file)
        return
    if len(there) > 1:
        raise UsageError(
            f"{len(there)} boards are in BOOTSEL mode: {', '.join(map(str, there))}",
            next_step="one at a time",
        )
    ((drive, chip),) = there.items()
    if chip != board.chip:
        raise UsageError(
            f"the board in BOOTSEL mode at {drive} has {chip}, and a {board.name} has {board.chip}",
            next_step="the right board; or its own board = … in lab.toml",
        )
    octets = file.read_bytes()
    tell(0, len(octets))
    try:
        with (drive / file.name).open("wb", buffering=0) as target:
            for at in range(0, len(octets), _PORTION):
                target.write(octets[at : at + _PORTION])
                os.fsync(target.fileno())
                tell(min(at + _PORTION, len(octets)), len(octets))
    except OSError as e:
        # the chip restarts with the last block, and takes its drive away under the computer's hands
        if at + _PORTION < len(octets):
            raise UsageError(
                f"{drive} is gone after {at:,} of {len(octets):,} octets: {e.strerror}",
                next_step=_BOOTSEL,
            ) from None


def _picotool(file: Path) -> None:
    if shutil.which("picotool") is None:
        raise UsageError(
            "no BOOTSEL drive is mounted, and picotool, which needs none, is not installed",
            next_step=f"{_BOOTSEL}; where nothing mounts the drive: {repl.INSTALL['picotool']}",
        )
    run = subprocess.run(
        ["picotool", "load", "-x", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        lines = (run.stdout + run.stderr).strip().splitlines()
        raise UsageError(
            f"picotool: {lines[-1] if lines else f'exit code {run.returncode}'}", next_step=_BOOTSEL
        )


# -- ESP32


def _esptool(file: Path, board: Board, device: str, tell: Tell, *, erase: bool) -> None:
    command = [*repl.tool("esptool"), "--chip", board.chip.lower(), "--port", device]
    command += ["--baud", "460800", "write-flash", *(["--erase-all"] if erase else [])]
    command += [_ESP_OFFSETS.get(board.chip, "0x0"), str(file)]
    octets = file.stat().st_size
    tell(0, octets)
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line.strip())
            if percent := _PERCENT.search(line):
                tell(round(octets * float(percent[1]) / 100), octets)
    if process.returncode:
        last = next((line for line in reversed(lines) if line), "it says nothing")
        raise UsageError(
            f"esptool: {last}",
            next_step="hold the board's BOOT button until the writing begins, then again; hanlab ports says "
            "which port is which",
        )
    tell(octets, octets)
