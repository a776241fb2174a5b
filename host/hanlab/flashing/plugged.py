"""What is plugged in: serial ports as pyserial lists them, which boards they are, and who has them."""

from __future__ import annotations

import grp
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from serial.tools.list_ports import comports

from hanlab.errors import UsageError

POLL_S: Final = 0.2
"""How often (s) a port that is waited for is looked for."""
_PROC: Final = Path("/proc")
_PTYS: Final = "/dev/pts/"
_RASPBERRY: Final = 0x2E8A
_ESPRESSIF: Final = 0x303A

KINDS: Final[dict[tuple[int, int], str]] = {
    # MicroPython's own, ports/rp2/mpconfigport.h and boards/*/mpconfigboard.h
    (_RASPBERRY, 0x0005): "Raspberry Pi Pico with MicroPython",
    (_RASPBERRY, 0x0003): "RP2040 in BOOTSEL mode",
    (_RASPBERRY, 0x000F): "RP2350 in BOOTSEL mode",
    (_ESPRESSIF, 0x4001): "ESP32-S3 with MicroPython",  # ports/esp32/mpconfigport.h
    (_ESPRESSIF, 0x1001): "ESP32-S3, -C3 or -C6 by its own USB",  # USB Serial/JTAG (datasheets)
    # bridges on DevKits, by their makers' numbers
    (0x10C4, 0xEA60): "CP210x bridge, as on an ESP32-DevKitC",
    (0x1A86, 0x7523): "CH340 bridge, as on ESP32 boards",
    (0x1A86, 0x55D4): "CH9102 bridge, as on ESP32 boards",
    (0x0403, 0x6001): "FT232 adapter",
    (0x0403, 0x6015): "FT230X adapter",
}
"""What a USB device is, by vendor and product number."""
BOARDS: Final = {key for key in KINDS if key[0] in (_RASPBERRY, _ESPRESSIF, 0x10C4, 0x1A86)}
"""Those that may be a board, not an adapter."""


@dataclass(frozen=True)
class Plugged:
    """A serial port. `vid`, `pid`: None where it is no USB device."""

    device: str
    vid: int | None = None
    pid: int | None = None
    serial: str | None = None
    interface: int = 0
    """Which of the USB device's CDC interfaces, from 0: a Pico's REPL is 0, its cable 1."""
    interfaces: int = 1

    @property
    def kind(self) -> str:
        """What it is; empty: nobody knows."""
        if self.vid is None or self.pid is None:
            return ""
        return KINDS.get((self.vid, self.pid), "")

    @property
    def is_board(self) -> bool:
        return (self.vid, self.pid) in BOARDS

    @property
    def has_usb(self) -> bool:
        """The chip itself is on USB, not a bridge."""
        return self.vid in (_RASPBERRY, _ESPRESSIF)


def plugged() -> list[Plugged]:
    """All of them, USB devices alone, by name; the interfaces of one device in order."""
    usb = [port for port in comports() if port.vid is not None]
    families: dict[tuple[int, int, str], list[Any]] = {}
    for port in usb:
        key = (port.vid, port.pid, port.serial_number or port.device)
        families.setdefault(key, []).append(port)
    found = []
    for (vid, pid, _), family in families.items():
        family.sort(key=lambda port: (_interface(port.location), port.device))
        found += [
            Plugged(port.device, vid, pid, port.serial_number, number, len(family))
            for number, port in enumerate(family)
        ]
    return sorted(found, key=lambda port: port.device)


def _interface(location: str | None) -> int:
    """Linux writes 1-2:1.0: bus and ports, configuration, interface."""
    tail = (location or "").rpartition(".")[2]
    return int(tail) if ":" in (location or "") and tail.isdigit() else 0


def at(device: str) -> Plugged:
    """The port of that name, or of a link to it; of one that pyserial does not list, its name alone."""
    real = os.path.realpath(device)
    for port in plugged():
        if port.device == device or os.path.realpath(port.device) == real:
            return port
    return Plugged(device)


def siblings(port: Plugged) -> list[Plugged]:
    """All interfaces of the USB device that `port` is of, `port` among them."""
    if port.serial is None:
        return [port]
    return [p for p in plugged() if (p.vid, p.pid, p.serial) == (port.vid, port.pid, port.serial)]


def wait_for(
    wanted: Callable[[Plugged], bool],
    within_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    look: Callable[[], list[Plugged]] = plugged,
) -> Plugged | None:
    """The first port that is `wanted`, as soon as it is there; None: it did not come within that time."""
    for _ in range(max(1, round(within_s / POLL_S))):
        for port in look():
            if wanted(port):
                return port
        sleep(POLL_S)
    return None


# -- may it be used?


def holders(device: str) -> list[str]:
    """Who has the port open, besides this process: `mpremote (pid 4711)`. Linux tells, of the user's own processes."""
    try:
        real = os.path.realpath(device)
        processes = [p for p in _PROC.iterdir() if p.name.isdigit() and int(p.name) != os.getpid()]
    except OSError:
        return []
    return [_name(process) for process in processes if _has_open(process, real)]


def _has_open(process: Path, real: str) -> bool:
    try:
        return any(str(fd.readlink()) == real for fd in (process / "fd").iterdir())
    except OSError:  # it has ended, or is somebody else's
        return False


def _name(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        words = []
    # of `python …/hanlab serve` the second word says more
    named = [Path(word).name for word in words[:2] if word and not word.startswith("-")]
    program = named[-1] if named and named[0].startswith("python") else "".join(named[:1])
    return f"{program or 'a program'} (pid {process.name})"


def forbidden(device: str) -> str | None:
    """The group that may use the port, where this user may not; None: he may, or it is not there."""
    try:
        if os.access(device, os.R_OK | os.W_OK):
            return None
        number = Path(device).stat().st_gid
    except OSError:
        return None
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def check_usable(device: str) -> None:
    """Refuse a port that is not there, is forbidden, or that another program has.

    Raises:
        UsageError: with the next step.
    """
    if "://" in device:
        return
    if not Path(device).exists():
        there = ", ".join(port.device for port in plugged())
        raise UsageError(
            f"the port {device} is not there",
            next_step=f"plug the board in, or name its port: there are {there}"
            if there
            else "plug the board in; hanlab ports lists what is there",
        )
    if group := forbidden(device):
        raise UsageError(
            f"you may not use {device}: it belongs to the group {group}",
            next_step=f"sudo usermod -aG {group} $USER, then log in again",
        )
    # a PTY is open at its other end's program as well
    if (who := holders(device)) and not os.path.realpath(device).startswith(_PTYS):
        raise UsageError(
            f"{', '.join(who)} has {device}", next_step="end it: one program has a port at a time"
        )
