"""The homes of a lab, as lab.toml describes them: each one CH with its HAN, and what stands on the shelf."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.lab.nodes import HUB_KEYS, NodeConfig, at, flag, number, read_node, without_october_2021
from hanlab.toml import check_keys, shown

HOME_KEYS: Final = ("name", "comms_hub", "device", "count")
"""What a [[home]] may have."""
MAX_HOMES: Final = 500
"""Homes of a lab; each board is a process. Their PANs are 0x5331 and those after it."""
APART: Final = 0x100
"""How far the EUI-64s of a `count`'s copies are from each other."""
ONE: Final = "home"
"""The name of the home of a file that has one alone."""
GPF: Final = "00-DB-12-34-56-78-90-A3"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class HomeConfig:
    """A CH with its HAN, and the devices that stand in its reach."""

    name: str
    number: int
    """From 0; its PAN and its network key come from that."""
    hub: NodeConfig
    devices: tuple[NodeConfig, ...]
    gpf: Eui | None = None
    """The CH's mirror of the GSME; None where there is no GSME."""

    @property
    def nodes(self) -> tuple[NodeConfig, ...]:
        """Every board, the CH first."""
        return (self.hub, *self.devices)

    @property
    def gsme(self) -> NodeConfig | None:
        return next((d for d in self.devices if d.model.device_type == "GSME"), None)


def read_homes(data: Mapping[str, Any]) -> tuple[tuple[HomeConfig, ...], tuple[NodeConfig, ...]]:
    """The homes of a lab.toml's tables, and the devices on the shelf.

    Raises:
        UsageError: with the table, the setting, and what it may be.
    """
    homes: tuple[HomeConfig, ...]
    shelf: tuple[NodeConfig, ...] = ()
    if "home" in data:
        homes = tuple(_numbered(_homes(data)))
        shelf = tuple(_shelf(data))
    else:
        homes = (_home(ONE, data, ""),)
    if not flag(data, "october_2021", default=True):
        homes = tuple(
            dataclasses.replace(
                home,
                hub=without_october_2021(home.hub),
                devices=tuple(map(without_october_2021, home.devices)),
            )
            for home in homes
        )
        shelf = tuple(map(without_october_2021, shelf))
    _each_its_own(homes, shelf)
    return homes, shelf


def _homes(data: Mapping[str, Any]) -> list[HomeConfig]:
    if "comms_hub" in data:
        raise UsageError(
            "[[home]] and [comms_hub] are both there, and each [[home]] has its own comms_hub",
            next_step="put the [comms_hub] into a [[home]], or take the [[home]]s out",
        )
    homes: list[HomeConfig] = []
    for index, table in enumerate(_tables(data, "home"), 1):
        where = f"home {index}"
        check_keys(table, where, HOME_KEYS)
        name = table.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(
                f"{where}: {'name is missing' if name is None else f'{name!r} is no name'}",
                next_step="1 to 32 letters, digits, - and _, the first a letter or a digit",
            )
        home = _home(name, table, f"home {name}: ")
        if "count" in table:
            homes += _copies(home, number(table, where, "count", 1))
        else:
            homes.append(home)
    if not 1 <= len(homes) <= MAX_HOMES:
        raise UsageError(
            f"this lab has {len(homes):,} homes; 1 to {MAX_HOMES} are possible",
            next_step="fewer [[home]]s, or a smaller count: each board is a process",
        )
    return homes


def _home(name: str, data: Mapping[str, Any], where: str) -> HomeConfig:
    """The home that a table with a `comms_hub` describes; names of its boards are its name's if it is a [[home]]'s."""
    table = data.get("comms_hub")
    if not isinstance(table, Mapping):
        missing = f"{where}it has no CH" if where else "the table [comms_hub] is missing"
        table = "[home.comms_hub]" if where else "[comms_hub]"
        raise UsageError(missing, next_step=f"{table} with board, model and eui")
    mirror = _gpf(table, f"{where}comms_hub", is_home=bool(where))
    wired = flag(table, "wired")
    table = {"name": "hub", **{key: value for key, value in table.items() if key not in HUB_KEYS}}
    hub = read_node(table, "CHF", f"{where}comms_hub", wired=wired)
    if wired and hub.port is None:
        raise UsageError(
            f"{where}comms_hub: wired = true, but it has no port: wired boards are real ones",
            next_step='port = "/dev/ttyUSB1", the serial adapter at its WAN pins',
        )
    devices = [
        read_node(table, None, f"{where}device {i}", wired=wired)
        for i, table in enumerate(_tables(data, "device", where), 1)
    ]
    gsmes = [d for d in devices if d.model.device_type == "GSME"]
    if len(gsmes) > 1:
        raise UsageError(
            f"{where}two devices are a GSME", next_step="a HAN has one gas meter at most"
        )
    home = HomeConfig(name, 0, hub, tuple(devices), mirror if gsmes else None)
    return _named(home, name) if where else home


def _gpf(hub: Mapping[str, Any], where: str, *, is_home: bool) -> Eui:
    """The EUI-64 of a CH's GPF; one of a [[home]] that has none said has the next one after the CH's."""
    text = hub.get("gpf")
    if text is None and is_home and isinstance(hub.get("eui"), str):
        return _moved(at(where, Eui.parse, hub["eui"]), 1, where)
    text = GPF if text is None else text
    if not isinstance(text, str):
        raise UsageError(
            f"{where}: gpf has to be a text, not {shown(text)}", next_step=f'gpf = "{GPF}"'
        )
    return at(f"{where}: gpf", Eui.parse, text)


def _copies(home: HomeConfig, count: int) -> list[HomeConfig]:
    """`count` homes NAME-1, NAME-2 …, the first one's EUI-64s as they stand there."""
    if not 1 <= count <= MAX_HOMES:
        raise UsageError(
            f"home {home.name}: count = {count:,}; 1 to {MAX_HOMES} homes are possible",
            next_step="a count from 1 on, or no count for one home: each board is a process",
        )
    return [_copy(home, f"{home.name}-{n + 1}", n * APART) for n in range(count)]


def _copy(home: HomeConfig, name: str, by: int) -> HomeConfig:
    def moved(node: NodeConfig) -> NodeConfig:
        return dataclasses.replace(node, eui=_moved(node.eui, by, f"home {name}"))

    copy = dataclasses.replace(
        home,
        name=name,
        hub=moved(home.hub),
        devices=tuple(map(moved, home.devices)),
        gpf=home.gpf and _moved(home.gpf, by, f"home {name}"),
    )
    return _named(copy, name)


def _named(home: HomeConfig, name: str) -> HomeConfig:
    """Its boards called HOME/NAME, whatever home they were called after."""

    def named(node: NodeConfig) -> NodeConfig:
        return dataclasses.replace(node, name=f"{name}/{node.name.rpartition('/')[2]}")

    return dataclasses.replace(home, hub=named(home.hub), devices=tuple(map(named, home.devices)))


def _moved(eui: Eui, by: int, where: str) -> Eui:
    moved = int.from_bytes(eui.octets) + by
    if moved >= 1 << 64:
        raise UsageError(
            f"{where}: there is no EUI-64 {by:#x} after {eui}", next_step="give it a lower eui"
        )
    return Eui(moved.to_bytes(8))


def _numbered(homes: Iterable[HomeConfig]) -> Iterable[HomeConfig]:
    for n, home in enumerate(homes):
        yield dataclasses.replace(home, number=n)


def _shelf(data: Mapping[str, Any]) -> Iterable[NodeConfig]:
    """Devices outside of every home: on no HAN until somebody joins them."""
    for i, table in enumerate(_tables(data, "device"), 1):
        node = read_node({"joined": False, **table}, None, f"device {i}")
        if node.joined:
            raise UsageError(
                f"device {i}: {node.name} is in no [[home]], so there is no HAN that it could have joined",
                next_step="put it into a [[home]], or leave joined out",
            )
        yield node


def _tables(data: Mapping[str, Any], key: str, where: str = "") -> list[Mapping[str, Any]]:
    tables = data.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(t, Mapping) for t in tables):
        raise UsageError(f"{where}{key} has to be an array of tables", next_step=f"write [[{key}]]")
    return tables


def _each_its_own(homes: Iterable[HomeConfig], shelf: Iterable[NodeConfig]) -> None:
    """Refuse what two have that may be one's alone: a home's name, a board's, an EUI-64."""
    owners: dict[tuple[str, str], list[str]] = defaultdict(list)
    for home in homes:
        owners["homes have the name", home.name.upper()].append(home.name)
        if home.gpf:
            owners["boards have the eui", str(home.gpf)].append(f"the GPF of {home.hub.name}")
    for node in (*(node for home in homes for node in home.nodes), *shelf):
        owners["boards have the name", node.name.upper()].append(node.name)
        owners["boards have the eui", str(node.eui)].append(node.name)
    for (what, value), names in owners.items():
        if len(names) > 1:
            raise UsageError(
                f"two {what} {value}: {names[0]} and {names[1]}", next_step="give each its own"
            )
