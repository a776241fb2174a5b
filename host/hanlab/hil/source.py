"""Which lab pytest's options mean: `--lab emulated|rp2040|FILE`, and lab.toml of the project."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from hanlab.boards.data import load_board
from hanlab.boards.uf2 import DOWNLOAD, RP2040, UF2
from hanlab.lab.config import DEFAULT, LabConfig, make_lab, read_lab
from hanlab.texts import decoded
from hanlab.toml import parse_toml

EMULATED: Final = "emulated"
_NO_UF2: Final = (
    "--lab rp2040 needs MicroPython's UF2 for the Pico, and none is named: get RPI_PICO-….uf2 from "
    f"{DOWNLOAD}, then --uf2 FILE or {UF2}=FILE"
)
_NO_EMULATOR: Final = "--lab rp2040 needs an emulator: pip install 'hanlab[rp2040]'"


@dataclass(frozen=True)
class Source:
    """The lab that tests run on. `data` is what its lab.toml says."""

    name: str
    data: Mapping[str, Any]
    option: str
    """`--lab` as it repeats the run; "" without."""
    file: Path | None = None
    """Its lab.toml, where boards of it are real, and the lab's state is beside it."""
    skip: str = ""
    """Why it is not to be had here."""

    @property
    def config(self) -> LabConfig:
        return make_lab(self.name, self.data)


def find_source(option: str | None, project: Path | None, uf2: str | None) -> Source:
    """What `--lab` says; `project` is the project's own lab.toml (pytest's setting `hanlab_lab`).

    Without `--lab` no real board is touched: its boards are emulated then, whatever ports it has, and with rp2040
    each Pico is an emulated RP2040.

    Raises:
        UsageError: a lab.toml cannot be read.
    """
    if option not in (None, EMULATED, RP2040):
        file = Path(str(option))
        config = read_lab(file)
        return Source(config.name, _read(file), str(option), file if config.is_real else None)
    name, data = (
        ("default", DEFAULT) if project is None else (read_lab(project).name, _read(project))
    )
    data = without_ports(data)
    if option != RP2040:
        return Source(name, data, option or "")
    found = uf2 or os.environ.get(UF2, "")
    skip = ""
    if not found:
        skip = _NO_UF2
    elif not Path(found).is_file():
        skip = f"--lab rp2040: there is no file {found}"
    elif not find_spec("rp2040py"):
        skip = _NO_EMULATOR
    for table in tables_of(data):
        if not skip and load_board(str(table["board"])) == load_board("pico"):
            table["board"] = f"{RP2040}:{found}"
    return Source(name, data, RP2040, skip=skip)


def _read(file: Path) -> Mapping[str, Any]:
    return parse_toml(decoded(file.read_bytes()))


def tables_of(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The tables of a lab.toml's boards."""
    for home in homes_of(data):
        yield home["comms_hub"]
        yield from home.get("device", [])
    if "home" in data:
        yield from data.get("device", [])


def homes_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The tables that have a `comms_hub` in a lab.toml: its [[home]]s, or all of it."""
    homes: list[dict[str, Any]] = data.get("home", [data])
    return homes


def without_ports(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same lab on emulated boards, with keys that nobody has to make."""
    changed = copy.deepcopy(dict(data))
    for table in tables_of(changed):
        table.pop("port", None)
        table.pop("wired", None)
    changed.pop("keys", None)
    return changed
