"""Which board of the lab is meant, and at which port its REPL is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hanlab.errors import UsageError
from hanlab.flashing.plugged import Plugged, at, plugged, siblings
from hanlab.lab.config import LabConfig, some
from hanlab.lab.nodes import NodeConfig
from hanlab.wan.ble_port import is_ble


@dataclass(frozen=True)
class Target:
    """A board of the lab, and the port of its REPL."""

    node: NodeConfig
    port: Plugged

    @property
    def bridge(self) -> bool:
        """RTS and DTR of that port reset the chip."""
        return self.node.board.family == "esp32" and not self.port.has_usb


def node_of(config: LabConfig, name: str | None, port: str | None) -> NodeConfig:
    """The board called `name`; without a name the one that has that port, or the only real one.

    Raises:
        UsageError: there is none, or there are several; or it is emulated.
    """
    real = [node for node in config.nodes if node.is_real]
    if name is not None:
        node = config.node(name, any_board=True)
    else:
        there = [node for node in real if port and _same(node.port, port)]
        there = there or real
        if len(there) != 1:
            raise UsageError(
                f"which board of lab {config.name} is it to be?"
                if there
                else f"lab {config.name} has emulated boards alone",
                next_step=f"--as NAME: {some([n.name for n in there or config.nodes])}",
            )
        node = there[0]
    if not node.is_real:
        example = _by_id(port) or (
            "/dev/ttyACM1" if node.board.cable.kind == "usb" else "/dev/ttyUSB0"
        )
        raise UsageError(
            f"{node.name} is an emulated board in lab {config.name}",
            next_step=f'port = "{example}" below it in lab.toml; boards/README.md says which port that is',
        )
    return node


def repl_of(node: NodeConfig, port: str | None) -> Plugged:
    """The port of that board's REPL: `port`, or what is plugged in and can be nothing else.

    Raises:
        UsageError: several could be it, or none.
    """
    if port is not None:
        return first(at(port))
    if node.port and node.on_cable and not is_ble(node.port) and Path(node.port).exists():
        return first(at(node.port))
    usb = node.board.cable.kind == "usb"
    boards = [p for p in plugged() if p.is_board and p.interface == 0 and p.has_usb == usb]
    if len(boards) != 1:
        raise UsageError(
            f"which port has the {node.board.name} that is to be {node.name}?"
            if boards
            else f"no port is there that a {node.board.name} has",
            next_step=f"name it: hanlab flash {some([p.device for p in boards])}"
            if boards
            else "plug it in; hanlab ports lists what is there, hanlab flash PORT takes any of them",
        )
    return boards[0]


def first(port: Plugged) -> Plugged:
    """The interface with the REPL of the USB device that `port` is of."""
    return min(siblings(port), key=lambda p: p.interface)


def cable_of(target: Target) -> str | None:
    """Where the board answers SMP while its firmware runs, as far as that can be told; None: nobody knows."""
    node = target.node
    if node.wired or node.board.cable.kind == "uart":
        return node.port
    there = [p.device for p in siblings(target.port) if p.interface == 1]
    if there:
        return there[0]
    return node.port if node.port and Path(node.port).exists() else None


def _same(one: str | None, other: str) -> bool:
    if one is None:
        return False
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    return os.path.realpath(one) in {p.device for p in siblings(at(other))}


def _by_id(port: str | None) -> str:
    """The name that stays of the board's cable, whose REPL is at `port`: /dev/serial/by-id/…-if02 of …-if00."""
    folder = Path("/dev/serial/by-id")
    if port is None or not folder.is_dir():
        return ""
    real = os.path.realpath(port)
    for link in sorted(folder.iterdir()):
        if os.path.realpath(link) == real:
            usb = at(port).has_usb
            return str(link.with_name(link.name.replace("-if00", "-if02")) if usb else link)
    return ""
