"""What a lab is made of: lab.toml, or the default (one emulated CH with one PPMID).

```toml
seed = 1                        # same seed, same run

[comms_hub]
board = "esp32-devkitc"         # boards/*.toml
model = "skyline-i510"          # boards/models/*.toml
eui = "00-DB-12-34-56-78-90-A2"
store = 131072                  # optional: another store than the Device Model's (octets)
size_behaviour = "overflow"     # optional: refuse, overflow, truncate or silent

[[device]]
name = "PPMID"
board = "pico"
model = "pipit-500"
eui = "00-DB-12-34-56-78-90-A4"
```
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanlab.boards.data import SIZE_BEHAVIOURS, Board, DeviceModel, load_board, load_model
from hanlab.errors import UsageError

_EUI: Final = re.compile(r"[0-9A-Fa-f]{2}(-[0-9A-Fa-f]{2}){7}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Eui:
    """An EUI-64, written as DUIS does: `00-DB-12-34-56-78-90-A2`."""

    octets: bytes

    @classmethod
    def parse(cls, text: str) -> Eui:
        if not _EUI.fullmatch(text):
            raise UsageError(
                f"{text!r} is no EUI-64",
                next_step="eight pairs of hex digits joined by -, e.g. 00-DB-12-34-56-78-90-A4",
            )
        return cls(bytes.fromhex(text.replace("-", "")))

    def __str__(self) -> str:
        return self.octets.hex("-").upper()


@dataclass(frozen=True)
class NodeConfig:
    """One board of the lab: what it is (board) and what it plays (model)."""

    name: str
    board: Board
    model: DeviceModel
    eui: Eui
    baud: int


@dataclass(frozen=True)
class LabConfig:
    name: str
    seed: int
    hub: NodeConfig
    devices: tuple[NodeConfig, ...]


DEFAULT: Final[Mapping[str, Any]] = {
    "seed": 1,
    "comms_hub": {
        "board": "esp32-devkitc",
        "model": "skyline-i510",
        "eui": "00-DB-12-34-56-78-90-A2",
    },
    "device": [
        {
            "name": "PPMID",
            "board": "pico",
            "model": "pipit-500",
            "eui": "00-DB-12-34-56-78-90-A4",
        }
    ],
}
"""The lab of a newcomer: a Secure CH and the Secure PPMID that belongs to it (rule 126)."""


def read_lab(path: Path | None) -> LabConfig:
    """The lab that `path` describes; None: the default one."""
    if path is None:
        return make_lab("default", DEFAULT)
    try:
        data = tomllib.loads(path.read_text())
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} is no TOML: {e}") from None
    try:
        return make_lab(path.stem, data)
    except UsageError as e:
        raise UsageError(f"{path}: {e.what}", next_step=e.next_step) from None


def make_lab(name: str, data: Mapping[str, Any]) -> LabConfig:
    """Check `data` (the contents of a lab.toml) and look its boards and models up."""
    _only(data, "lab", {"seed", "comms_hub", "device"})
    hub = _table(data, "comms_hub")
    devices = data.get("device", [])
    if not isinstance(devices, list) or not all(isinstance(d, Mapping) for d in devices):
        raise UsageError("device has to be an array of tables", next_step="write [[device]]")
    config = LabConfig(
        name=name,
        seed=_number(data, "seed", 1),
        hub=_node({"name": "hub", **hub}, "CHF", "comms_hub"),
        devices=tuple(_node(d, None, f"device {i + 1}") for i, d in enumerate(devices)),
    )
    nodes = (config.hub, *config.devices)
    for what, values in (
        ("name", [n.name.upper() for n in nodes]),
        ("eui", [str(n.eui) for n in nodes]),
    ):
        twice = {v for v in values if values.count(v) > 1}
        if twice:
            raise UsageError(f"two boards have the {what} {twice.pop()}")
    return config


def _node(data: Mapping[str, Any], device_type: str | None, where: str) -> NodeConfig:
    _only(data, where, {"name", "board", "model", "eui", "baud", "store", "size_behaviour"})
    for key in ("name", "board", "model", "eui"):
        if not isinstance(data.get(key), str):
            raise UsageError(f"{where}: {key} is missing or no text")
    if not _NAME.fullmatch(data["name"]):
        raise UsageError(f"{where}: {data['name']!r} is no name: letters, digits, - and _")
    model = load_model(data["model"])
    if (model.device_type == "CHF") != (device_type == "CHF"):
        raise UsageError(
            f"{where}: {model.model} is a {model.device_type}, "
            + ("a Communications Hub is wanted" if device_type else "its place is [comms_hub]")
        )
    store = model.store
    if "store" in data:
        store = dataclasses.replace(store, capacity=_number(data, "store", 0), illustrative=True)
    if "size_behaviour" in data:
        if data["size_behaviour"] not in SIZE_BEHAVIOURS:
            raise UsageError(
                f"{where}: size_behaviour {data['size_behaviour']!r} does not exist",
                next_step=f"one of {', '.join(SIZE_BEHAVIOURS)}",
            )
        store = dataclasses.replace(store, size_behaviour=data["size_behaviour"])
    board = load_board(data["board"])
    baud = _number(data, "baud", board.uart.baud)
    if not 300 <= baud <= board.uart.max_baud:
        raise UsageError(
            f"{where}: {baud:,} baud; {board.name} takes 300 to {board.uart.max_baud:,}"
        )
    if store.capacity is not None and store.capacity > board.flash.filesystem:
        raise UsageError(
            f"{where}: a store of {store.capacity:,} octets does not fit in "
            f"the {board.flash.filesystem:,} octets of filesystem that {board.name} has",
            next_step="a smaller store, or a board with more flash",
        )
    return NodeConfig(
        name=data["name"],
        board=board,
        model=dataclasses.replace(model, store=store),
        eui=Eui.parse(data["eui"]),
        baud=baud,
    )


def _only(data: Mapping[str, Any], where: str, known: set[str]) -> None:
    unknown = set(data) - known
    if unknown:
        raise UsageError(
            f"{where} has no setting {sorted(unknown)[0]!r}",
            next_step=f"there are {', '.join(sorted(known))}",
        )


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = data.get(key)
    if not isinstance(table, Mapping):
        raise UsageError(f"[{key}] is missing")
    return table


def _number(data: Mapping[str, Any], key: str, default: int) -> int:
    value = data.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"{key} has to be a whole number, not {value!r}")
    return value
