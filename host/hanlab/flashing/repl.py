"""A board's REPL: reached with Ctrl-C, or by a reset and Ctrl-C; files go through mpremote, MicroPython's own tool."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import serial

from hanlab.errors import UsageError

BAUD: Final = 115_200
"""Of a REPL on a UART."""
LIMIT_S: Final = 60.0
"""After so long (s) without a word from mpremote something hangs."""
_TRIES: Final = 4
_TRY_S: Final = 0.5
_FROM_NETWORK: Final = " requesting "
_BUSY: Final = "failed to access"
_PROMPT: Final = b">>> "
_CTRL_C: Final = b"\r\x03\x02"
"""Ctrl-C ends what runs, Ctrl-B a raw REPL that somebody has left open."""
_RESET_S: Final = 0.1
_AFTER_RESET_S: Final = 3.0
"""Boot ROM, MicroPython, and the half second in which Ctrl-C keeps the REPL (boards/ports/chip.py)."""
_NOT_THERE: Final = (
    "SerialException",
    "Input/output error",
    "No such file or directory: '/dev",
    "Device not configured",
    "device disconnected",
)
_NO_ROOM: Final = ("No space left", "ENOSPC", "OSError: 28", "[Errno 28]")


class PortGone(UsageError):
    """The board's port has vanished in the middle of something."""


def wake(device: str, *, bridge: bool) -> None:
    """Have the board at its REPL's prompt, whatever it does. `bridge`: RTS and DTR reset it.

    Raises:
        UsageError: it does not come.
        PortGone: the port has vanished.
    """
    try:
        with serial.serial_for_url(device, baudrate=BAUD, timeout=0.05, write_timeout=1) as port:
            if _prompted(port, 1.0):
                return
            if bridge:
                # As esptool does it: EN is low while RTS is on and DTR is not.
                port.dtr = False
                time.sleep(_RESET_S)
                port.rts = False
                if _prompted(port, _AFTER_RESET_S):
                    return
    except (
        OSError,
        TypeError,
    ) as e:  # pyserial's SerialException; TypeError: closed under its hands
        raise gone(device, str(e)) from None
    raise UsageError(
        f"no MicroPython answers Ctrl-C on {device}",
        next_step="if there is none on the board yet: --micropython FILE puts it there; else press the board's reset "
        "button, or take its cable out and in, and then again",
    )


def _prompted(port: serial.SerialBase, within_s: float) -> bool:
    heard = b""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        port.write(_CTRL_C)
        heard = (heard + port.read(256))[-256:]
        if heard.endswith(_PROMPT):
            return True
    return False


def gone(device: str, why: str) -> PortGone:
    return PortGone(
        f"{device} is gone: the cable was pulled, or the board has restarted ({why})",
        next_step="plug it in, and the same command goes on where it stopped",
    )


def run(
    device: str,
    commands: Iterable[Sequence[str]],
    *,
    limit_s: float = LIMIT_S,
    on_line: Callable[[str], None] = lambda line: None,
) -> str:
    """What mpremote prints while it carries out `commands` one after the other, `on_line` as it comes.

    The board is not soft-reset, which would take a Pico's second interface, and the port, away.

    Raises:
        PortGone: the port has vanished.
        UsageError: the board or mpremote refused.
    """
    words = [*tool("mpremote"), "connect", device, "resume"]
    for number, command in enumerate(commands):
        words += ["+", *command] if number else command
    for tries_left in reversed(range(_TRIES)):
        code, output, silent = _told(words, limit_s, on_line)
        if not code:
            return output
        if not (_BUSY in output and tries_left):
            break
        time.sleep(_TRY_S)  # Linux' ModemManager looks at what is plugged in
    raise _refused(device, output, silent_s=limit_s if silent else 0.0)


def _told(
    words: Sequence[str], limit_s: float, on_line: Callable[[str], None]
) -> tuple[int, str, bool]:
    """A program's exit code, all that it prints, and whether it was ended because it said nothing for so long."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines = []
    limit = _Limit(process, limit_s)
    try:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            limit.again()
            on_line(line.rstrip("\n"))
        return process.wait(), "".join(lines), limit.bit
    finally:
        limit.stop()
        if process.poll() is None:
            process.kill()
            process.wait()


class _Limit:
    """Kills a process that says nothing for too long."""

    def __init__(self, process: subprocess.Popen[str], limit_s: float) -> None:
        self.bit = False
        self._process = process
        self._limit_s = limit_s
        self._timer = self._started()

    def _started(self) -> threading.Timer:
        timer = threading.Timer(self._limit_s, self._bite)
        timer.daemon = True
        timer.start()
        return timer

    def _bite(self) -> None:
        self.bit = True
        self._process.kill()

    def again(self) -> None:
        self._timer.cancel()
        self._timer = self._started()

    def stop(self) -> None:
        self._timer.cancel()


def _refused(device: str, output: str, *, silent_s: float) -> UsageError:
    lines = [line for line in output.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it said nothing"
    if silent_s:
        return UsageError(
            f"the board on {device} said nothing for {silent_s:.0f} s",
            next_step="take its cable out and in, and then again",
        )
    if any(sign in output for sign in _NO_ROOM):
        return UsageError(
            f"the board's filesystem is full: {last}",
            next_step="mpremote resume df shows it; remove what is not needed, and then again",
        )
    if not Path(device).exists() or any(sign in output for sign in _NOT_THERE):
        return gone(device, last)
    if _BUSY in output:
        return UsageError(
            f"another program has taken {device}",
            next_step="end it (a terminal, another hanlab), and then again",
        )
    if "could not enter raw repl" in output:
        return UsageError(
            f"{device} is no MicroPython's REPL, or what runs there takes no Ctrl-C",
            next_step="press the board's reset button, and then again; hanlab ports says what is where",
        )
    if _FROM_NETWORK in output:
        return UsageError(
            f"micropython-lib's usb-device-cdc, which a Pico needs, is not to be had from here: {last}",
            next_step="--library FOLDER takes it from a checkout of micropython-lib; what has been done is kept",
        )
    return UsageError(
        f"mpremote could not do it: {last}",
        next_step="again: what has been done is kept",
    )


def tool(name: str) -> list[str]:
    """How that program is called: as a module of this Python, or as a program on the path.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec(name):
        return [sys.executable, "-m", name]
    if path := shutil.which(name):
        return [path]
    raise UsageError(f"{name} is not installed", next_step=INSTALL[name])


INSTALL: Final = {
    "mpremote": "pip install mpremote",
    "esptool": "pip install 'hanlab[flash]', which brings esptool",
    "mpflash": "pip install 'hanlab[flash]', which brings mpflash",
    "picotool": "brew install picotool, or github.com/raspberrypi/pico-sdk-tools/releases",
}
"""How to get what hanlab runs as a tool."""
