"""A board of a lab, as [comms_hub] and [[device]] of lab.toml describe it: what it is, what it plays."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from hanlab.boards.clauses import OCTOBER_2021, check_clauses, without
from hanlab.boards.data import (
    SIZE_BEHAVIOURS,
    STEPS,
    Activation,
    Board,
    DeviceModel,
    load_board,
    load_model,
)
from hanlab.boards.uf2 import DOWNLOAD, RP2040, UF2
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.toml import check_keys, shown
from hanlab.wan.ble_port import is_ble

_T = TypeVar("_T")

MIN_BAUD: Final = 19_200
"""The slowest WAN UART: a full SMP buffer (4 KiB) has to cross it within the client's deadline."""
MOST_PATIENCE: Final = 50
"""Of a board; with more a request would be given up before the board's own deadline."""
FLASH_SLACK: Final = 20
"""Sectors of a board's filesystem that hold no image: littlefs's own, journals, settings."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_CODE_OCTETS: Final = (6, 8, 12, 16)
"""How long a Zigbee install code is, without its CRC."""


@dataclass(frozen=True)
class NodeConfig:
    """One board of the lab: what it is (board) and what it plays (model)."""

    name: str
    """Unique in the lab; in a lab of several homes HOME/NAME."""
    board: Board
    model: DeviceModel
    eui: Eui
    baud: int
    stranger: bool = False
    """It has another HAN's network key."""
    port: str | None = None
    """Of a real board: the serial port of its one cable, or where it is `wired` of its WAN; there also `ble:` and its
    name or address."""
    wired: bool = False
    """It is real, and its HAN is a wire to the other board of its home: the laptop does not carry it."""
    cable: bool = False
    """Emulated with one cable for WAN and HAN, as a real board has."""
    ble: bool = False
    """It is reached by BLE as well."""
    patience: int = 1
    """How many times as long as its kind of board it may take for everything."""
    uf2: Path | None = None
    """It is an emulated RP2040 with this MicroPython; None: it runs in a VM, or is real."""
    joined: bool = True
    """It comes with its home's network key; else it is on no HAN until somebody joins it."""
    install_code: bytes | None = field(default=None, repr=False)
    """What its label says, without the CRC; None: one made from the lab's keys."""

    @property
    def is_hub(self) -> bool:
        """It is a Communications Hub."""
        return self.model.device_type == "CHF"

    @property
    def is_real(self) -> bool:
        """A board on the desk, not an emulated one."""
        return self.port is not None or self.wired

    @property
    def on_cable(self) -> bool:
        """WAN and HAN share one cable, and the laptop carries the HAN."""
        return self.cable or (self.port is not None and not self.wired)


DEVICE_KEYS: Final = ("activation_steps", "version_in_response", "joined", "install_code")
"""What only a [[device]] may have."""
NODE_KEYS: Final = (
    "name",
    "board",
    "model",
    "eui",
    "baud",
    "store",
    "size_behaviour",
    "s1sr_clauses",
    *DEVICE_KEYS,
    "stranger",
    "port",
    "cable",
    "ble",
    "patience",
)
"""What [comms_hub] and each [[device]] may have; [comms_hub] also HUB_KEYS, and no DEVICE_KEYS."""
HUB_KEYS: Final = ("gpf", "wired")
"""What only a [comms_hub] may have."""
HUB_EXAMPLE: Final[Mapping[str, Any]] = {
    "board": "esp32-devkitc",
    "model": "skyline-i510",
    "eui": "00-DB-12-34-56-78-90-A2",
}
DEVICE_EXAMPLE: Final[Mapping[str, Any]] = {
    "name": "PPMID",
    "board": "pico",
    "model": "pipit-500",
    "eui": "00-DB-12-34-56-78-90-A4",
}
"""The boards of a newcomer's lab: a Secure CH and the Secure PPMID that belongs to it (rule 126)."""


def without_october_2021(node: NodeConfig) -> NodeConfig:
    """A board without the rules on PPMIDs and CHs that S1SR got together (rule 20)."""
    clauses = without(node.model.s1sr_clauses, OCTOBER_2021)
    return dataclasses.replace(node, model=dataclasses.replace(node.model, s1sr_clauses=clauses))


def read_node(
    data: Mapping[str, Any], device_type: str | None, where: str, *, wired: bool = False
) -> NodeConfig:
    """The board that a table describes; `where` is the table's name in what is wrong with it.

    `device_type` "CHF": it is a [comms_hub]; None: it is a [[device]]. `wired`: its home's HAN is a wire.

    Raises:
        UsageError: with the setting, and what it may be.
    """
    check_keys(data, where, NODE_KEYS)
    example = {"name": "hub", **HUB_EXAMPLE} if device_type else DEVICE_EXAMPLE
    for key, text in example.items():
        if not isinstance(data.get(key), str):
            wrong = f"has to be a text, not {shown(data[key])}" if key in data else "is missing"
            raise UsageError(f"{where}: {key} {wrong}", next_step=f'{key} = "{text}"')
    if not _NAME.fullmatch(data["name"]):
        raise UsageError(
            f"{where}: {data['name']!r} is no name",
            next_step="1 to 32 letters, digits, - and _, the first a letter or a digit",
        )
    port = data.get("port")
    if port is not None and (not isinstance(port, str) or not port.strip()):
        raise UsageError(
            f"{where}: port has to be a text, not {shown(port)}", next_step='port = "/dev/ttyUSB1"'
        )
    eui = at(where, Eui.parse, data["eui"])
    model = at(where, load_model, data["model"])
    if (model.device_type == "CHF") != (device_type == "CHF"):
        raise UsageError(
            f"{where}: {model.model} is a {model.device_type}, "
            + ("a Communications Hub is wanted" if device_type else "its place is [comms_hub]"),
            next_step="hanlab boards shows the type of each Device Model",
        )
    if device_type and (given := set(DEVICE_KEYS) & set(data)):
        raise UsageError(
            f"{where}: {min(given)} belongs to a device, not to the CH",
            next_step="put it into the [[device]]",
        )
    store = model.store
    if "store" in data:
        octets = number(data, where, "store", 0)
        store = dataclasses.replace(store, capacity=octets, illustrative=False)
    if "size_behaviour" in data:
        if data["size_behaviour"] not in SIZE_BEHAVIOURS:
            raise UsageError(
                f"{where}: size_behaviour {shown(data['size_behaviour'])} does not exist",
                next_step=f"one of {', '.join(SIZE_BEHAVIOURS)}",
            )
        store = dataclasses.replace(store, size_behaviour=data["size_behaviour"])
    clauses = data.get("s1sr_clauses", list(model.s1sr_clauses))
    if not isinstance(clauses, list) or not all(isinstance(c, str) for c in clauses):
        raise UsageError(
            f"{where}: s1sr_clauses has to be a list of clauses",
            next_step='s1sr_clauses = ["18.63(d)"]',
        )
    check_clauses(clauses, f"{where}: s1sr_clauses")
    board, uf2 = at(where, _look_up_board, data["board"])
    cable = flag(data, "cable")
    own_baud = board.cable.baud if cable or (port and not wired) else board.uart.baud
    baud = number(data, where, "baud", own_baud)
    if not MIN_BAUD <= baud <= board.uart.max_baud:
        raise UsageError(
            f"{where}: {baud:,} baud; {board.name} takes {MIN_BAUD:,} to {board.uart.max_baud:,}",
            next_step=f"baud = {own_baud}, or none for the board's own",
        )
    # a board holds the image that runs besides what is in its store
    room = (board.flash.filesystem - FLASH_SLACK * board.flash.sector) // 2
    if store.capacity is not None and store.capacity > room:
        raise UsageError(
            f"{where}: a store of {store.capacity:,} octets, but {board.name} has flash for one of "
            f"{room:,} (short by {store.capacity - room:,})",
            next_step="a smaller store, or a board with more flash",
        )
    return NodeConfig(
        name=data["name"],
        board=board,
        model=dataclasses.replace(
            model,
            store=store,
            s1sr_clauses=tuple(clauses),
            activation=_activation(data, where, model.activation),
        ),
        eui=eui,
        baud=baud,
        stranger=flag(data, "stranger"),
        port=port,
        uf2=uf2,
        wired=wired,
        cable=cable,
        ble=_ble(data, where, board, port, wired=wired),
        patience=_patience(data, where),
        joined=flag(data, "joined", default=True),
        install_code=_install_code(data, where),
    )


def _look_up_board(name: str) -> tuple[Board, Path | None]:
    """The board of that name; of `rp2040:FILE` a Raspberry Pi Pico, emulated to the chip, and its UF2 file."""
    kind, _, file = name.partition(":")
    if kind.lower() != RP2040:
        return load_board(name), None
    file = file or os.environ.get(UF2, "")
    if not file:
        raise UsageError(
            f"board = {name!r} does not say which MicroPython runs on it, nor does {UF2}",
            next_step=f'board = "{RP2040}:FILE.uf2", from {DOWNLOAD}',
        )
    return load_board("pico"), Path(file)


def _ble(
    data: Mapping[str, Any], where: str, board: Board, port: str | None, *, wired: bool
) -> bool:
    """Whether it is reached by BLE: what lab.toml says, or its port."""
    ble = flag(data, "ble", default=is_ble(port))
    if (ble or is_ble(port)) and not board.radio.ble:
        raise UsageError(
            f"{where}: {board.name} has no BLE",
            next_step="a board that has (hanlab boards), or no ble and the serial port for port",
        )
    if is_ble(port) and not ble:
        raise UsageError(
            f"{where}: port = {port!r}, and ble = false", next_step="ble = true, or a serial port"
        )
    if is_ble(port) and not wired:
        raise UsageError(
            f"{where}: port = {port!r}: the laptop carries no HAN over BLE",
            next_step="wired = true in [comms_hub], the HAN a wire between the boards; or the serial port of its cable",
        )
    return ble


def _patience(data: Mapping[str, Any], where: str) -> int:
    patience = number(data, where, "patience", 1)
    if not 1 <= patience <= MOST_PATIENCE:
        raise UsageError(
            f"{where}: patience = {patience:,}; 1 to {MOST_PATIENCE} are possible",
            next_step="patience = 2 for a board that needs twice as long as its kind",
        )
    return patience


def _install_code(data: Mapping[str, Any], where: str) -> bytes | None:
    """What stands on the device's label, for 8.11; its CRC is left out."""
    text = data.get("install_code")
    if text is None:
        return None
    try:
        octets = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        octets = b""
    if len(octets) not in _CODE_OCTETS:
        raise UsageError(
            f"{where}: install_code = {text!r} is none: 6, 8, 12 or 16 octets in hex",
            next_step="leave the last two octets of a label out, its CRC; or leave install_code out: the "
            "lab makes one",
        )
    return octets


def _activation(
    data: Mapping[str, Any], where: str, activation: Activation | None
) -> Activation | None:
    """How the device is updated, as its Device Model or the lab says (rules 95 to 98)."""
    if activation is None:
        return None
    steps = data.get("activation_steps", activation.steps)
    if steps not in STEPS or isinstance(steps, bool):
        raise UsageError(
            f"{where}: activation_steps = {shown(steps)} does not exist",
            next_step="1: everything happens on 11.3 (rule 96); 2: 11.1 distributes, 11.3 activates (rule 97)",
        )
    says = flag(data, "version_in_response", default=activation.version_in_response)
    return dataclasses.replace(activation, steps=steps, version_in_response=says)


def at(where: str, look_up: Callable[[str], _T], name: str) -> _T:
    """`look_up(name)`; its error says where in the file the name is, and what to do."""
    try:
        return look_up(name)
    except UsageError as e:
        raise UsageError(
            f"{where}: {e.what}", next_step=e.next_step or "hanlab boards shows what there is"
        ) from None


def flag(data: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    value = data.get(key, default)
    if not isinstance(value, bool):
        raise UsageError(
            f"{key} has to be true or false, not {shown(value)}", next_step=f"{key} = true"
        )
    return value


def number(data: Mapping[str, Any], where: str, key: str, default: int) -> int:
    value = data.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(
            f"{where}: {key} has to be a whole number, 0 or more, not {shown(value)}",
            next_step=f"{key} = {default}" if default else f"{key} = 131072",
        )
    return value
