"""What runs behind a port, asked without harm: nothing is stopped, and nothing is typed into a program."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Final

import serial

from hanlab.boards.data import Board, load_board
from hanlab.errors import HanlabError
from hanlab.flashing import hello
from hanlab.flashing.hello import Hello
from hanlab.flashing.plugged import Plugged, forbidden, holders
from hanlab.flashing.repl import BAUD

SMP_S: Final = 1.2
"""How long (s) an SMP server has to answer, and say whose cable it is."""
REPL_S: Final = 0.5
"""How long (s) a REPL has."""
_BANNER: Final = re.compile(rb"MicroPython v?([^\r\n]* on [^\r\n]*)")
_CTRL_B: Final = b"\x02"
"""A REPL at its prompt shows its banner; to a program it is one control character that it did not ask for."""
_USB_BOARD: Final = "pico"
_BRIDGE_BOARD: Final = "esp32-devkitc"


@dataclass(frozen=True)
class Answer:
    """What was found out. `trouble`: why nobody could be asked; `note`: what there is to say where nobody answers."""

    trouble: str = ""
    micropython: str = ""
    """The banner's version, date, board and chip."""
    hello: Hello | None = None
    note: str = ""


def ask(port: Plugged) -> Answer:
    """Ask what runs there, for at most two seconds."""
    if who := holders(port.device):
        return Answer(trouble=f"{', '.join(who)} has it")
    if group := forbidden(port.device):
        return Answer(
            trouble=f"you may not use it: sudo usermod -aG {group} $USER, then log in again"
        )
    if not port.is_board:
        return Answer(note="not asked")
    if port.interfaces > 1 and port.interface == 0:
        return Answer(note="its firmware answers at its second interface")
    try:
        return _asked(port)
    except HanlabError as e:
        return Answer(trouble=e.what)


def _asked(port: Plugged) -> Answer:
    if port.interface == 0 and (banner := _banner(port.device)):
        return Answer(micropython=banner)
    if port.interface == 1 or not port.has_usb:
        board: Board = load_board(_USB_BOARD if port.has_usb else _BRIDGE_BOARD)
        if who := hello.ask(port.device, board.cable.baud, SMP_S):
            return Answer(hello=who)
    return Answer(note="no REPL's prompt and no SMP: a program runs, or nothing")


def _banner(device: str) -> str:
    try:
        with serial.serial_for_url(device, baudrate=BAUD, timeout=0.05, write_timeout=1) as port:
            port.write(_CTRL_B)
            heard = b""
            end = time.monotonic() + REPL_S
            while time.monotonic() < end:
                heard += port.read(256)
                if (found := _BANNER.search(heard)) and heard.rstrip().endswith(b">>>"):
                    return found[1].decode("utf-8", "replace")
    except (OSError, TypeError):
        return ""
    return ""
