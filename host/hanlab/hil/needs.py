"""What a test needs of its lab: `@pytest.mark.hanlab(…)`.

An emulated lab is made to have it; of a lab of real boards, which is as it is, a test that needs more is skipped.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hanlab.boards.data import load_board, load_model
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.hil.source import homes_of
from hanlab.lab.config import LabConfig
from hanlab.lab.nodes import DEVICE_EXAMPLE, NodeConfig

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Needs:
    """The arguments of `@pytest.mark.hanlab`, all by name."""

    emulated: bool | None = None
    """True: every board is, so that each wire can be spoilt and each board's power cut; False: some board is real."""
    rp2040: bool = False
    """Its Picos run a UF2 in an emulated RP2040."""
    ble: bool = False
    """The CH is a real board, and can be reached by BLE."""
    homes: int = 1
    """At least so many."""
    devices: int = 0
    """At least so many on the first home's HAN; an emulated lab gets more of its PPMID."""
    comms_hub: str | Table = field(default_factory=dict)
    """A Device Model, or settings of [comms_hub]."""
    ppmid: str | Table = field(default_factory=dict)
    """A Device Model, or settings of the PPMID's [[device]]."""
    wan: Table = field(default_factory=dict)
    """Impairments, as in [wan]."""
    han: Table = field(default_factory=dict)
    dsp: Table = field(default_factory=dict)
    """Settings of [dsp]."""
    seed: int | None = None


def read_needs(arguments: Iterable[Mapping[str, Any]]) -> Needs:
    """What several marks say together: an earlier one (the test's own) goes before a later one (its module's).

    Raises:
        UsageError: one says something that no lab can have.
    """
    said: dict[str, Any] = {}
    known = [f.name for f in dataclasses.fields(Needs)]
    for mark in arguments:
        if unknown := sorted(set(mark) - set(known)):
            raise UsageError(
                f"@pytest.mark.hanlab({unknown[0]}=…) means nothing",
                next_step=f"there are {', '.join(known)}",
            )
        for name, value in mark.items():
            if name in ("comms_hub", "ppmid"):
                said[name] = {**_table(value), **said.get(name, {})}
            else:
                said.setdefault(name, value)
    return Needs(**said)


def _table(value: str | Table) -> dict[str, Any]:
    return {"model": value} if isinstance(value, str) else dict(value)


def lab_with(
    data: Mapping[str, Any], needs: Needs, seed: int | None, *, is_real: bool
) -> dict[str, Any]:
    """The lab.toml `data` with what a test needs; `seed` is `--lab-seed`'s.

    Where boards are real, that is what is the laptop's alone: its wires and its DSP.
    """
    lab = copy.deepcopy(dict(data))
    for name in ("wan", "han", "dsp"):
        if table := getattr(needs, name):
            lab[name] = {**lab.get(name, {}), **table}
    if is_real:
        return lab
    for home in homes_of(lab):
        home["comms_hub"].update(_table(needs.comms_hub))
        _fit_devices(home, needs)
    if needs.homes > 1 and "home" not in lab:
        first = {"name": "home", "count": needs.homes, "comms_hub": lab.pop("comms_hub")}
        lab["home"] = [{**first, "device": lab.pop("device", [])}]
    wanted = seed if seed is not None else needs.seed
    if wanted is not None:
        lab["seed"] = wanted
    return lab


def _fit_devices(home: dict[str, Any], needs: Needs) -> None:
    devices = home.setdefault("device", [])
    place = next((d for d in devices if load_model(d["model"]).device_type == "PPMID"), None)
    if place is None and (needs.ppmid or needs.devices > len(devices)):
        place = dict(DEVICE_EXAMPLE)
        devices.append(place)
    if place is None:
        return
    place.update(_table(needs.ppmid))
    first = int.from_bytes(Eui.parse(place["eui"]).octets)
    number = 2
    while len(devices) < needs.devices:
        eui = str(Eui((first + number - 1).to_bytes(8)))
        devices.append({**place, "name": f"{place['name']}-{number}", "eui": eui})
        number += 1


_OF_NODE: Final[Mapping[str, Callable[[NodeConfig], object]]] = {
    "model": lambda n: n.model.model,
    "board": lambda n: n.board.name,
    "store": lambda n: n.model.store.capacity,
    "size_behaviour": lambda n: n.model.store.size_behaviour,
    "activation_steps": lambda n: n.model.activation and n.model.activation.steps,
    "version_in_response": lambda n: n.model.says_version,
    "stranger": lambda n: n.stranger,
    "joined": lambda n: n.joined,
    "baud": lambda n: n.baud,
}
"""What is known of a board, by its setting in lab.toml."""


def lacks(config: LabConfig, needs: Needs) -> str:
    """Why a test cannot run on this lab as it is; "" if it can."""
    return "; ".join(_lacking(config, needs))


def _lacking(config: LabConfig, needs: Needs) -> Iterable[str]:
    home = config.homes[0]
    if needs.emulated is not None and needs.emulated is config.is_real:
        yield f"needs {'emulated' if needs.emulated else 'real'} boards"
    if needs.rp2040 and not any(node.uf2 for node in config.nodes):
        yield "needs an emulated RP2040 (--lab rp2040)"
    if needs.ble and not (home.hub.is_real and home.hub.ble):
        yield "needs a CH that is reached by BLE: a real one, with ble = true in its lab.toml"
    if needs.homes > len(config.homes):
        yield f"needs {needs.homes} homes, and the lab has {len(config.homes)}"
    if needs.devices > len(home.devices):
        yield f"needs {needs.devices} devices on the HAN, and the lab has {len(home.devices)}"
    yield from _differing("CH", home.hub, _table(needs.comms_hub))
    ppmid = next((d for d in home.devices if d.model.device_type == "PPMID"), None)
    if needs.ppmid and ppmid is None:
        yield "needs a PPMID, and the lab has none"
    elif ppmid is not None:
        yield from _differing("PPMID", ppmid, _table(needs.ppmid))
    for name, wire in (("wan", config.wan), ("han", config.han)):
        for key, value in getattr(needs, name).items():
            if getattr(wire, key) != value:
                yield f"needs {name}.{key} = {value}, and here it is {getattr(wire, key)}"


def _differing(what: str, node: NodeConfig, table: Table) -> Iterable[str]:
    for key, value in table.items():
        if key not in _OF_NODE:
            yield f"needs {key} = {value} of the {what}, which is not known of this lab"
            continue
        wanted = value
        if key == "model":
            wanted = load_model(value).model
        elif key == "board":
            wanted = load_board(value).name
        if (here := _OF_NODE[key](node)) != wanted:
            yield f"needs {key} = {wanted} of the {what}, and here it is {here}"
