"""What a lab is made of: lab.toml, or the default (one emulated CH with one PPMID).

host/lab-toml.md has every setting; boards with a port are real, the others emulated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from hanlab.boards.uf2 import RP2040
from hanlab.dsp.settings import DEFAULT_SETTINGS, DspSettings, read_settings
from hanlab.errors import UsageError
from hanlab.impairments import PERFECT, WIRES, Impairments, read_impairments, with_impairments
from hanlab.lab.homes import HomeConfig, read_homes
from hanlab.lab.nodes import DEVICE_EXAMPLE, HUB_EXAMPLE, NodeConfig, flag, number
from hanlab.s1sp.join_time import Rounding
from hanlab.texts import decoded, is_text
from hanlab.toml import TOP, check_keys, parse_toml, shown

SEED: Final = "seed"
PROVISIONED: Final = "provisioned"
_NAMED: Final = 8
"""So many boards are named where there are more."""


@dataclass(frozen=True)
class LabConfig:
    """One clock, one DSP and one S1SP for all the homes."""

    name: str
    seed: int
    homes: tuple[HomeConfig, ...]
    shelf: tuple[NodeConfig, ...] = ()
    """Devices in no home."""
    wan_open: bool = False
    """Whoever reaches a board's WAN link may do everything: for standard SMP clients."""
    wan: Impairments = PERFECT
    """Of each board's UART."""
    han: Impairments = PERFECT
    """Of the air."""
    dsp: DspSettings = DEFAULT_SETTINGS
    join_rounding: Rounding = Rounding.UP
    """Of a JoinTimePeriod's seconds to the whole minutes of a CH; illustrative."""
    provisioned: bool = False
    """Its keys are made by `hanlab provision`, not from the seed."""

    @property
    def hub(self) -> NodeConfig:
        """The CH of a lab of one home.

        Raises:
            UsageError: it has several.
        """
        return self.home().hub

    @property
    def devices(self) -> tuple[NodeConfig, ...]:
        """Every board but the CHs, home by home; those on the shelf last."""
        return (*(device for home in self.homes for device in home.devices), *self.shelf)

    @property
    def nodes(self) -> tuple[NodeConfig, ...]:
        """Every board, home by home, in each the CH first; those on the shelf last."""
        return (*(node for home in self.homes for node in home.nodes), *self.shelf)

    @property
    def is_real(self) -> bool:
        """Some of its boards are, so that it lives on the wall clock."""
        return any(node.is_real for node in self.nodes)

    @property
    def emulated(self) -> LabConfig:
        """The same lab on emulated boards, whose keys nobody has to make."""

        def emulated(nodes: tuple[NodeConfig, ...]) -> tuple[NodeConfig, ...]:
            return tuple(dataclasses.replace(node, port=None, wired=False) for node in nodes)

        return dataclasses.replace(
            self,
            homes=tuple(
                dataclasses.replace(
                    home, hub=emulated((home.hub,))[0], devices=emulated(home.devices)
                )
                for home in self.homes
            ),
            shelf=emulated(self.shelf),
            provisioned=False,
        )

    def impaired(self, text: str) -> LabConfig:
        """The same lab with what `--impair` says of its wires on top.

        Raises:
            UsageError: it cannot be read.
        """
        wires = with_impairments({"wan": self.wan, "han": self.han}, text)
        spoilt = dataclasses.replace(self, wan=wires["wan"], han=wires["han"])
        _only_own_wires_spoil(spoilt)
        return spoilt

    def home(self, name: str | None = None) -> HomeConfig:
        """The home with that name; without a name the only one.

        Raises:
            UsageError: there is none, or there are several and no name; says which there are.
        """
        found = [h for h in self.homes if name is None or h.name.upper() == name.upper()]
        if len(found) == 1:
            return found[0]
        raise UsageError(
            f"this lab has {len(found)} homes" if found else f"this lab has no home {name!r}",
            next_step=f"name one (--home NAME): it has {some([h.name for h in self.homes])}",
        )

    def home_of(self, node: NodeConfig) -> HomeConfig | None:
        """The home in which a board stands; None: it is on the shelf."""
        return next((h for h in self.homes if any(n.name == node.name for n in h.nodes)), None)

    def only(self, home: HomeConfig) -> LabConfig:
        """The same lab with that home alone, which keeps its names and keys."""
        return dataclasses.replace(self, homes=(home,), shelf=())

    def named(self, names: Sequence[str]) -> list[NodeConfig]:
        """The boards with these names, as `node` has them; a name with * or ? means every device that is like it, or
        where none is, every CH.

        Raises:
            UsageError: a name means no board, or one that is no pattern means several.
        """
        found: dict[str, NodeConfig] = {}
        for name in names:
            hubs = [home.hub for home in self.homes]
            nodes = [n for n in self.devices if _like(name, n)] or [
                n for n in hubs if _like(name, n)
            ]
            if not {"*", "?"} & set(name):
                nodes = [self.node(name)]
            elif not nodes:
                raise UsageError(
                    f"no device of this lab is called like {name!r}",
                    next_step=f"it has {some([n.name for n in self.devices])}",
                )
            found.update((node.name, node) for node in nodes)
        return list(found.values())

    def node(self, name: str, *, any_board: bool = False) -> NodeConfig:
        """The board with that name or EUI-64, or where there is one alone that name without HOME/, or type.

        `any_board`: the CH will do, and the error names it too.

        Raises:
            UsageError: there is none, or there are several; says which there are.
        """
        wanted = name.upper()
        named = [n for n in self.nodes if n.name.upper() == wanted or str(n.eui) == wanted]
        short = [n for n in self.nodes if n.name.upper().rpartition("/")[2] == wanted]
        of_type = [n for n in self.nodes if n.model.device_type == wanted]
        for found in (named, short, of_type):
            if len(found) == 1:
                return found[0]
        if short:
            what, known = f"this lab has {len(short)} boards called {name}", short
        elif of_type:
            what, known = f"this lab has {len(of_type)} devices of type {wanted}", of_type
        else:
            what, known = (
                f"this lab has no device {name!r}",
                list(self.nodes if any_board else self.devices),
            )
        listed = some([f"{n.name} ({n.eui})" for n in known])
        raise UsageError(
            what, next_step=f"it has {listed}" if listed else "its lab.toml needs a [[device]]"
        )


def _like(pattern: str, node: NodeConfig) -> bool:
    return fnmatchcase(node.name.upper(), pattern.upper())


def some(names: Sequence[str]) -> str:
    """The names in a sentence, or the first ones of them."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


KEYS: Final = (*TOP, "comms_hub", "device", "home", "dsp", "user", *WIRES)
"""What a lab.toml may have."""
DEFAULT: Final[Mapping[str, Any]] = {
    "seed": 1,
    "comms_hub": HUB_EXAMPLE,
    "device": [DEVICE_EXAMPLE],
}
"""The lab of a newcomer: a Secure CH and the Secure PPMID that belongs to it (rule 126)."""


ON_A_CHIP: Final[Mapping[str, Any]] = {
    **DEFAULT,
    "device": [{**DEVICE_EXAMPLE, "board": RP2040}],
}
"""The same with its Pico an emulated RP2040: what `--lab rp2040` is where no file is called so."""


def read_lab(path: Path | None) -> LabConfig:
    """The lab that `path` describes; None: the default one."""
    if path is None:
        return make_lab("default", DEFAULT)
    if path.name == RP2040 and not path.exists():
        return make_lab(RP2040, ON_A_CHIP)
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
        raise UsageError(
            f"{path} is no TOML: {e.what}",
            next_step="save it as UTF-8"
            if is_text(octets)
            else "--lab takes a lab.toml: hanlab init FOLDER writes one",
        ) from None
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
    homes, shelf = read_homes(data)
    config = LabConfig(
        name=name,
        seed=number(data, "the file", "seed", 1),
        homes=homes,
        shelf=shelf,
        wan_open=flag(data, "wan_open"),
        wan=read_impairments(data.get("wan", {}), "wan"),
        han=read_impairments(data.get("han", {}), "han"),
        dsp=read_settings(data.get("dsp", {}), data.get("user", [])),
        join_rounding=_rounding(data.get("join_rounding", Rounding.UP)),
    )
    _check_ports(config)
    _only_own_wires_spoil(config)
    return dataclasses.replace(config, provisioned=_is_provisioned(data, config.is_real))


def _rounding(value: object) -> Rounding:
    if not isinstance(value, str) or value not in list(Rounding):
        raise UsageError(
            f"join_rounding = {value!r} does not exist",
            next_step='join_rounding = "up" or join_rounding = "down"',
        )
    return Rounding(value)


def _check_ports(config: LabConfig) -> None:
    ports = {n.name: n.port for n in config.nodes if n.port is not None}
    twice = {p for p in ports.values() if list(ports.values()).count(p) > 1}
    if twice:
        raise UsageError(
            f"two boards have the port {min(twice)}", next_step="each has its own cable, and port"
        )


def _only_own_wires_spoil(config: LabConfig) -> None:
    """The air is hanlab's own wherever it carries the HAN; a real board's cable is not."""
    real = [node.name for node in config.nodes if node.port]
    wired = [home.hub.name for home in config.homes if home.hub.wired]
    for wire, spoilt, boards in (("wan", config.wan, real), ("han", config.han, wired)):
        if spoilt.any and boards:
            raise UsageError(
                f"{wire}: hanlab cannot spoil a real wire, and {boards[0]} has one",
                next_step="without port in lab.toml the same lab is emulated; han.… works wherever the "
                "laptop carries the HAN",
            )


def _is_provisioned(data: Mapping[str, Any], real: bool) -> bool:
    """Whether the keys are a secret's: real boards' are, unless lab.toml wants it otherwise."""
    keys = data.get("keys", PROVISIONED if real else SEED)
    if keys not in (PROVISIONED, SEED):
        raise UsageError(
            f"keys = {shown(keys)} does not exist",
            next_step='keys = "provisioned" (made by hanlab provision) or keys = "seed"',
        )
    return bool(keys == PROVISIONED)
