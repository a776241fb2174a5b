"""What a lab is made of: lab.toml, or the default (one emulated CH with one PPMID).

host/lab-toml.md has every setting; all of a lab's boards are real, or none.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from hanlab.dsp.settings import DEFAULT_SETTINGS, DspSettings, read_settings
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.impairments import PERFECT, WIRES, Impairments, read_impairments, with_impairments
from hanlab.texts import decoded
from hanlab.toml import TOP, check_keys, parse_toml

_T = TypeVar("_T")

MIN_BAUD: Final = 19_200
"""The slowest WAN UART: a full SMP buffer (4 KiB) has to cross it within the client's deadline."""
FLASH_SLACK: Final = 20
"""Sectors of a board's filesystem that hold no image: littlefs's own, journals, settings."""

SEED: Final = "seed"
PROVISIONED: Final = "provisioned"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class NodeConfig:
    """One board of the lab: what it is (board) and what it plays (model)."""

    name: str
    board: Board
    model: DeviceModel
    eui: Eui
    baud: int
    stranger: bool = False
    """It has another HAN's network key."""
    port: str | None = None
    """The serial port of a real board's WAN link."""


@dataclass(frozen=True)
class LabConfig:
    name: str
    seed: int
    hub: NodeConfig
    devices: tuple[NodeConfig, ...]
    wan_open: bool = False
    """Whoever reaches a board's WAN link may do everything: for standard SMP clients."""
    wan: Impairments = PERFECT
    """Of each board's UART."""
    han: Impairments = PERFECT
    """Of the air."""
    dsp: DspSettings = DEFAULT_SETTINGS
    gpf: Eui | None = None
    """The CH's mirror of the GSME; None where there is no GSME."""
    provisioned: bool = False
    """Its keys are made by `hanlab provision`, not from the seed."""

    @property
    def nodes(self) -> tuple[NodeConfig, ...]:
        """Every board, the CH first."""
        return (self.hub, *self.devices)

    @property
    def is_real(self) -> bool:
        """Its boards are real ones."""
        return self.hub.port is not None

    @property
    def gsme(self) -> NodeConfig | None:
        return next((d for d in self.devices if d.model.device_type == "GSME"), None)

    @property
    def emulated(self) -> LabConfig:
        """The same lab on emulated boards, whose keys nobody has to make."""
        return dataclasses.replace(
            self,
            hub=dataclasses.replace(self.hub, port=None),
            devices=tuple(dataclasses.replace(d, port=None) for d in self.devices),
            provisioned=False,
        )

    def impaired(self, text: str) -> LabConfig:
        """The same lab with what `--impair` says of its wires on top.

        Raises:
            UsageError: it cannot be read.
        """
        wires = with_impairments({"wan": self.wan, "han": self.han}, text)
        _only_emulated_wires_spoil(self.is_real, wires)
        return dataclasses.replace(self, wan=wires["wan"], han=wires["han"])

    def node(self, name: str) -> NodeConfig:
        """The board with that name, EUI-64 or (if there is one only) device type.

        Raises:
            UsageError: there is none, or there are several; says which there are.
        """
        wanted = name.upper()
        named = [n for n in self.nodes if n.name.upper() == wanted or str(n.eui) == wanted]
        of_type = [n for n in self.nodes if n.model.device_type == wanted]
        if found := named or of_type[: len(of_type) == 1]:
            return found[0]
        known = ", ".join(f"{n.name} ({n.eui})" for n in of_type or self.devices)
        raise UsageError(
            f"this lab has {len(of_type)} devices of type {wanted}"
            if of_type
            else f"this lab has no device {name!r}",
            next_step=f"it has {known}" if known else "its lab.toml needs a [[device]]",
        )


KEYS: Final = (*TOP, "comms_hub", "device", "dsp", "user", *WIRES)
"""What a lab.toml may have."""
DEVICE_KEYS: Final = ("activation_steps", "version_in_response")
"""What only a [[device]] may have: how it is updated."""
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
)
"""What [comms_hub] and each [[device]] may have; [comms_hub] also gpf, and no DEVICE_KEYS."""
GPF: Final = "00-DB-12-34-56-78-90-A3"
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
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file", next_step="--lab takes a lab.toml")
        octets = path.read_bytes()
    except OSError as e:
        raise UsageError(
            f"{path} cannot be read: {e.strerror}",
            next_step="check its name; without --lab there is one CH with one PPMID",
        ) from None
    try:
        text = decoded(octets)
    except UsageError as e:
        raise UsageError(f"{path} is no TOML: {e.what}", next_step="save it as UTF-8") from None
    try:
        return make_lab(path.stem, parse_toml(text))
    except ValueError as e:
        raise UsageError(
            f"{path} is no TOML: {e}", next_step="put it right there; texts stand in quotes"
        ) from None
    except UsageError as e:
        raise UsageError(f"{path}: {e.what}", next_step=e.next_step) from None


def make_lab(name: str, data: Mapping[str, Any]) -> LabConfig:
    """Check `data` (the contents of a lab.toml) and look its boards and models up."""
    check_keys(data, "the file", KEYS)
    hub = _table(data, "comms_hub")
    devices = data.get("device", [])
    if not isinstance(devices, list) or not all(isinstance(d, Mapping) for d in devices):
        raise UsageError("device has to be an array of tables", next_step="write [[device]]")
    gpf = hub.get("gpf", GPF)
    if not isinstance(gpf, str):
        raise UsageError(
            f"comms_hub: gpf has to be a text, not {gpf!r}", next_step=f'gpf = "{GPF}"'
        )
    mirror = _at("comms_hub: gpf", Eui.parse, gpf)
    hub = {key: value for key, value in hub.items() if key != "gpf"}
    october_2021 = _flag(data, "october_2021", default=True)
    config = LabConfig(
        name=name,
        seed=_number(data, "the file", "seed", 1),
        hub=_with_rules(_node({"name": "hub", **hub}, "CHF", "comms_hub"), october_2021),
        devices=tuple(
            _with_rules(_node(d, None, f"device {i + 1}"), october_2021)
            for i, d in enumerate(devices)
        ),
        wan_open=_flag(data, "wan_open"),
        wan=read_impairments(data.get("wan", {}), "wan"),
        han=read_impairments(data.get("han", {}), "han"),
        dsp=read_settings(data.get("dsp", {}), data.get("user", [])),
    )
    _check_ports(config)
    wires = {"wan": config.wan, "han": config.han}
    _only_emulated_wires_spoil(config.is_real, wires)
    config = dataclasses.replace(config, provisioned=_is_provisioned(data, config.is_real))
    nodes = config.nodes
    if config.gsme:
        config = dataclasses.replace(config, gpf=mirror)
    if [n.model.device_type for n in config.devices].count("GSME") > 1:
        raise UsageError("two devices are a GSME", next_step="a HAN has one gas meter at most")
    for what, values in (
        ("name", [n.name.upper() for n in nodes]),
        ("eui", [*(str(n.eui) for n in nodes), *([str(config.gpf)] if config.gpf else [])]),
    ):
        twice = {v for v in values if values.count(v) > 1}
        if twice:
            raise UsageError(
                f"two boards have the {what} {min(twice)}", next_step="give each its own"
            )
    return config


def _check_ports(config: LabConfig) -> None:
    ports = {n.name: n.port for n in config.nodes if n.port is not None}
    if ports and not config.is_real:
        raise UsageError(
            f"{min(ports)} has a port, but the CH has none: a lab's boards are real or emulated, all of them",
            next_step=f'[comms_hub] with port = "/dev/ttyUSB1", or no port for {min(ports)}',
        )
    twice = {p for p in ports.values() if list(ports.values()).count(p) > 1}
    if twice:
        raise UsageError(
            f"two boards have the port {min(twice)}", next_step="each has its own serial adapter"
        )


def _only_emulated_wires_spoil(real: bool, wires: Mapping[str, Impairments]) -> None:
    if real and any(wire.any for wire in wires.values()):
        raise UsageError(
            "the boards are real, and hanlab spoils emulated wires only",
            next_step="without port in lab.toml the same lab is emulated",
        )


def _is_provisioned(data: Mapping[str, Any], real: bool) -> bool:
    """Whether the keys are a secret's: real boards' are, unless lab.toml wants it otherwise."""
    keys = data.get("keys", PROVISIONED if real else SEED)
    if keys not in (PROVISIONED, SEED):
        raise UsageError(
            f"keys = {keys!r} does not exist",
            next_step='keys = "provisioned" (made by hanlab provision) or keys = "seed"',
        )
    return bool(keys == PROVISIONED)


def _with_rules(node: NodeConfig, october_2021: bool) -> NodeConfig:
    """A board with or without the rules on PPMIDs and CHs that S1SR got together (rule 20)."""
    if october_2021:
        return node
    clauses = without(node.model.s1sr_clauses, OCTOBER_2021)
    return dataclasses.replace(node, model=dataclasses.replace(node.model, s1sr_clauses=clauses))


def _node(data: Mapping[str, Any], device_type: str | None, where: str) -> NodeConfig:
    check_keys(data, where, NODE_KEYS)
    example = {"name": "hub", **(DEFAULT["comms_hub"] if device_type else DEFAULT["device"][0])}
    for key, text in example.items():
        if not isinstance(data.get(key), str):
            wrong = f"has to be a text, not {data[key]!r}" if key in data else "is missing"
            raise UsageError(f"{where}: {key} {wrong}", next_step=f'{key} = "{text}"')
    if not _NAME.fullmatch(data["name"]):
        raise UsageError(
            f"{where}: {data['name']!r} is no name",
            next_step="1 to 32 letters, digits, - and _, the first a letter or a digit",
        )
    port = data.get("port")
    if port is not None and (not isinstance(port, str) or not port.strip()):
        raise UsageError(
            f"{where}: port has to be a text, not {port!r}", next_step='port = "/dev/ttyUSB1"'
        )
    eui = _at(where, Eui.parse, data["eui"])
    model = _at(where, load_model, data["model"])
    if (model.device_type == "CHF") != (device_type == "CHF"):
        raise UsageError(
            f"{where}: {model.model} is a {model.device_type}, "
            + ("a Communications Hub is wanted" if device_type else "its place is [comms_hub]"),
            next_step="hanlab boards shows the type of each Device Model",
        )
    store = model.store
    if "store" in data:
        octets = _number(data, where, "store", 0)
        store = dataclasses.replace(store, capacity=octets, illustrative=False)
    if "size_behaviour" in data:
        if data["size_behaviour"] not in SIZE_BEHAVIOURS:
            raise UsageError(
                f"{where}: size_behaviour {data['size_behaviour']!r} does not exist",
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
    board = _at(where, load_board, data["board"])
    baud = _number(data, where, "baud", board.uart.baud)
    if not MIN_BAUD <= baud <= board.uart.max_baud:
        raise UsageError(
            f"{where}: {baud:,} baud; {board.name} takes {MIN_BAUD:,} to {board.uart.max_baud:,}",
            next_step=f"baud = {board.uart.baud}, or none for the board's own",
        )
    # a device holds the image that runs besides the one that 11.3 is to activate
    copies = 1 if device_type == "CHF" else 2
    room = (board.flash.filesystem - FLASH_SLACK * board.flash.sector) // copies
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
        stranger=_flag(data, "stranger"),
        port=port,
    )


def _activation(
    data: Mapping[str, Any], where: str, activation: Activation | None
) -> Activation | None:
    """How the device is updated, as its Device Model or the lab says (rules 95 to 98)."""
    given = set(DEVICE_KEYS) & set(data)
    if activation is None:
        if given:
            raise UsageError(
                f"{where}: {min(given)} belongs to a device, not to the CH (rules 95 to 97)",
                next_step="put it into the [[device]]",
            )
        return None
    steps = data.get("activation_steps", activation.steps)
    if steps not in STEPS or isinstance(steps, bool):
        raise UsageError(
            f"{where}: activation_steps = {steps!r} does not exist",
            next_step="1: everything happens on 11.3 (rule 96); 2: 11.1 distributes, 11.3 activates (rule 97)",
        )
    says = _flag(data, "version_in_response", default=activation.version_in_response)
    return dataclasses.replace(activation, steps=steps, version_in_response=says)


def _at(where: str, look_up: Callable[[str], _T], name: str) -> _T:
    """`look_up(name)`; its error says where in the file the name is, and what to do."""
    try:
        return look_up(name)
    except UsageError as e:
        raise UsageError(
            f"{where}: {e.what}", next_step=e.next_step or "hanlab boards shows what there is"
        ) from None


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = data.get(key)
    if not isinstance(table, Mapping):
        raise UsageError(
            f"the table [{key}] is missing", next_step=f"[{key}] with board, model and eui"
        )
    return table


def _flag(data: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    value = data.get(key, default)
    if not isinstance(value, bool):
        raise UsageError(f"{key} has to be true or false, not {value!r}", next_step=f"{key} = true")
    return value


def _number(data: Mapping[str, Any], where: str, key: str, default: int) -> int:
    value = data.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(
            f"{where}: {key} has to be a whole number, 0 or more, not {value!r}",
            next_step=f"{key} = {default}" if default else f"{key} = 131072",
        )
    return value
