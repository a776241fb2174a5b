"""What a board is (`boards/*.toml`) and what Device Models it can play (`boards/models/*.toml`).

The files say where each number comes from; boards/README.md says what each key means. The
dataclasses below have the files' own tables and keys: a key that is missing, unknown or of another
type is an error that names file and key.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from hanlab.boards.clauses import Behaviour, behaviours, check_clauses
from hanlab.errors import UsageError
from hanlab.resources import boards_dir
from hanlab.toml import parse_toml

SIZE_BEHAVIOURS: Final = ("refuse", "overflow", "truncate", "silent")
"""What a CH does with an image that is too large: refuses it before the first octet, fails
mid-transfer, keeps its beginning (found out by the hash), stops answering."""

DEVICE_TYPES: Final = ("CHF", "ESME", "GSME", "PPMID")
"""The Device Types that a board can play."""

COHORTS: Final = ("IOC", "MOC", "FOC")
"""The releases that Device Models came with: initial, middle, final operating capability (rule 144)."""

STEPS: Final = (1, 2)
"""Of an update (rules 96, 97)."""

CABLES: Final = ("usb", "uart")
"""What a board's own USB socket is to the firmware: a CDC interface beside the REPL's, or a bridge to a UART."""

CHIPS: Final = {
    "RP2040": "armv6m",
    "RP2350": "armv7emsp",
    "ESP32": "xtensawin",
    "ESP32S3": "xtensawin",
    "ESP32C3": "rv32imc",
}
"""What mpy-cross calls the architecture of a chip."""

FAMILIES: Final = ("rp2", "esp32")
"""Chip families: MicroPython's names of their ports."""

DUIS_VERSION_LIMIT: Final = 8
"""Characters of a DUIS FirmwareVersion (rule 145)."""

_T = TypeVar("_T")


# -- a board


@dataclass(frozen=True)
class MemoryFacts:
    """Octets: MicroPython's heap with 32-bit objects, and the chip's RAM.

    `frozen`: the board runs a MicroPython with the firmware frozen in (firmware/manifest.py), which then takes
    none of the heap.
    """

    heap: int
    ram: int
    frozen: bool


@dataclass(frozen=True)
class FlashFacts:
    """Octets and microseconds (typical). `stops_uart`: flash work holds all interrupts off."""

    size: int
    filesystem: int
    sector: int
    page: int
    erase_us: int
    program_us: int
    stops_uart: bool


@dataclass(frozen=True)
class Wiring:
    """One UART: which of the chip's, and its GPIO numbers."""

    uart: int
    tx: int
    rx: int
    rts: int | None = None
    cts: int | None = None


@dataclass(frozen=True)
class UartFacts:
    """Octets, except `irq_idle_bits` (bit times of silence that raise the interrupt) and bit/s.

    `rxbuf_in_heap`: the receive rings lie on MicroPython's heap, not in other RAM of the chip.
    """

    fifo: int
    irq_level: int
    irq_idle_bits: int
    rxbuf: int
    han_rxbuf: int
    rxbuf_in_heap: bool
    baud: int
    max_baud: int
    wan: Wiring
    han: Wiring
    flow_control: bool


@dataclass(frozen=True)
class CableFacts:
    """The board's own USB socket, which carries WAN and HAN: what it is to the firmware, and bit/s.

    `pins`: of the UART at the board's USB bridge; None: the chip has USB itself, whose host waits during flash work.
    """

    kind: str
    baud: int
    pins: Wiring | None = None


@dataclass(frozen=True)
class SmpFacts:
    """What the SMP server's parameters say: octets of one request, requests in flight."""

    buf_size: int
    buf_count: int


@dataclass(frozen=True)
class RadioFacts:
    """`ble_heap`: octets of MicroPython's heap that BLE takes while it is on; `ble_smp`: what SMP's parameters say
    over it."""

    ble: bool
    ble_heap: int = 0
    ble_smp: SmpFacts | None = None


@dataclass(frozen=True)
class DisplayFacts:
    """`kind` is "none" where there is no display."""

    kind: str


@dataclass(frozen=True)
class BootFacts:
    """Microseconds from reset to main.py (typical)."""

    time_us: int


@dataclass(frozen=True)
class Board:
    """A board: `boards/<file>.toml`."""

    name: str
    family: str
    chip: str
    micropython: str
    description: str
    memory: MemoryFacts
    flash: FlashFacts
    uart: UartFacts
    cable: CableFacts
    smp: SmpFacts
    radio: RadioFacts
    display: DisplayFacts
    boot: BootFacts


# -- a Device Model


@dataclass(frozen=True)
class StoreFacts:
    """The image store. No `capacity`: no limit is known, and none is made up (rule 9)."""

    size_behaviour: str
    illustrative: bool
    capacity: int | None = None


@dataclass(frozen=True)
class UpdateRules:
    """What a CH needs to know of updates. `illustrative` names the keys no document states."""

    metadata_manufacturer: str
    """Whose metadata block an image needs, where the clauses want one (rules 28, 29)."""
    illustrative: tuple[str, ...]


@dataclass(frozen=True)
class Activation:
    """How this device is updated (rules 95 to 98). `illustrative` names the keys no document states."""

    steps: int
    """2: 11.1 distributes and 11.3 activates (rule 97); 1: everything happens on 11.3 (rule 96)."""
    version_in_response: bool
    """Whether its answer to 11.3 says the version (rule 95)."""
    illustrative: tuple[str, ...]


@dataclass(frozen=True)
class OtaIdentity:
    """What this device asks for in Zigbee OTA. `illustrative` names the keys no document states."""

    manufacturer_code: int
    image_type: int
    illustrative: tuple[str, ...]


@dataclass(frozen=True)
class DeviceModel:
    """A Device Model: `boards/models/<file>.toml`. A CHF has `update`, the others `ota`; each has `activation`."""

    model: str
    manufacturer: str
    device_type: str
    firmware_version: str
    duis_version: str
    hardware_version: str
    cohort: str
    smso: str
    population: str
    s1sr_clauses: tuple[str, ...]
    illustrative: tuple[str, ...]
    store: StoreFacts
    update: UpdateRules | None = None
    ota: OtaIdentity | None = None
    activation: Activation | None = None

    def has(self, behaviour: Behaviour) -> bool:
        """Whether a clause of its list switches that behaviour on (rules 6, 8, 64)."""
        return behaviour in behaviours(self.s1sr_clauses)

    @property
    def two_step(self) -> bool:
        """Whether 11.1 hands it the image, so that 11.3 only activates (rules 96, 97)."""
        return self.activation is not None and self.activation.steps == 2

    @property
    def says_version(self) -> bool:
        """Whether its answer to 11.3 says the version (rule 95)."""
        return self.activation is not None and self.activation.version_in_response

    def illustrative_keys(self) -> tuple[str, ...]:
        """Every key that is hanlab's choice and no document's: `duis_version`, `store.capacity`…"""
        keys = list(self.illustrative)
        if self.store.illustrative:
            keys += ["store.capacity", "store.size_behaviour"]
        for block in ("update", "ota", "activation"):
            if rules := getattr(self, block):
                keys += [f"{block}.{key}" for key in rules.illustrative]
        return tuple(keys)


# -- reading them


def board_names() -> list[str]:
    """The boards there are, by file stem."""
    return _stems(boards_dir())


def model_names() -> list[str]:
    """The Device Models there are, by file stem."""
    return _stems(_models_dir())


def load_board(name: str) -> Board:
    """The board `name`: a file stem (`pico`) or its own name (`Raspberry Pi Pico`), in any case."""
    board, path = _load(Board, _find(boards_dir(), "board", "name", name))
    _check_choice(path, "family", board.family, FAMILIES)
    _check_choice(path, "chip", board.chip, tuple(CHIPS))
    _check_choice(path, "cable.kind", board.cable.kind, CABLES)
    if (board.cable.kind == "uart") != (board.cable.pins is not None):
        raise UsageError(f"{path}: cable.pins has to be there if cable.kind is uart, and only then")
    for key, size, unit in (
        ("flash.filesystem", board.flash.filesystem, board.flash.sector),
        ("flash.sector", board.flash.sector, board.flash.page),
    ):
        if unit <= 0 or size <= 0 or size % unit:
            raise UsageError(f"{path}: {key} = {size:,} is no multiple of {unit:,} octets")
    if board.radio.ble and board.radio.ble_smp is None:
        raise UsageError(
            f"{path}: the key radio.ble_smp is missing: what a client may send over BLE"
        )
    return board


@cache
def ch_makers() -> tuple[str, ...]:
    """The manufacturers of the CHs that there are Device Models of, as images' metadata call them."""
    hubs = [m for m in map(load_model, model_names()) if m.device_type == "CHF"]
    return tuple(sorted({maker for hub in hubs for maker in makers_of(hub)}))


def makers_of(hub: DeviceModel) -> set[str]:
    """What the manufacturer of a CH is called: by its name, and in the metadata that it wants."""
    return {hub.manufacturer} | ({hub.update.metadata_manufacturer} if hub.update else set())


def load_model(name: str) -> DeviceModel:
    """The Device Model `name`: a file stem (`sed-v3`) or the model (`SED V3`), in any case."""
    model, path = _load(DeviceModel, _find(_models_dir(), "Device Model", "model", name))
    _check_choice(path, "device_type", model.device_type, DEVICE_TYPES)
    _check_choice(path, "store.size_behaviour", model.store.size_behaviour, SIZE_BEHAVIOURS)
    _check_choice(path, "cohort", model.cohort, COHORTS)
    check_clauses(model.s1sr_clauses, str(path))
    if model.activation:
        _check_choice(path, "activation.steps", model.activation.steps, STEPS)
    for wanted in ("update" if model.device_type == "CHF" else "ota", "activation"):
        if getattr(model, wanted) is None:
            raise UsageError(
                f"{path}: a {model.device_type} needs the table [{wanted}]",
                next_step="boards/README.md says what is in it",
            )
    if len(model.duis_version) > DUIS_VERSION_LIMIT:
        raise UsageError(
            f"{path}: duis_version = {model.duis_version!r} has {len(model.duis_version)} "
            f"characters, DUIS takes {DUIS_VERSION_LIMIT}"
        )
    return model


def _models_dir() -> Path:
    return boards_dir() / "models"


def _stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def _find(folder: Path, kind: str, title: str, name: str) -> Path:
    """The file in `folder` whose stem is `name`, or whose key `title` says so."""
    wanted = name.strip().casefold()
    names: dict[str, str] = {stem.casefold(): stem for stem in _stems(folder)}
    if wanted not in names:
        for stem in _stems(folder):
            own = _own_name(folder / f"{stem}.toml", title)
            names.setdefault(own.casefold(), stem)
    if wanted in names:
        return folder / f"{names[wanted]}.toml"
    close = difflib.get_close_matches(wanted, names, n=1)
    raise UsageError(
        f"there is no {kind} {name!r}; there are {', '.join(_stems(folder))}",
        next_step=f"did you mean {names[close[0]]}?" if close else "",
    )


def _own_name(path: Path, title: str) -> str:
    """What the file calls itself; its stem if it cannot be read (loading it says why)."""
    try:
        return str(parse_toml(path.read_text("utf-8"))[title])
    except (OSError, ValueError, KeyError):
        return path.stem


def _load(shape: type[_T], path: Path) -> tuple[_T, Path]:
    try:
        table = parse_toml(path.read_text("utf-8"))
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}") from None
    except ValueError as e:  # no TOML, or no UTF-8
        raise UsageError(f"{path} is no TOML: {e}") from None
    thing: _T = _build(shape, table, path, "")
    return thing, path


def _build(shape: type[Any], table: Mapping[str, Any], path: Path, where: str) -> Any:
    """The dataclass `shape` from a TOML table; `where` is the table's name with a dot behind it."""
    types_of = get_type_hints(shape)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(shape):
        if field.name in table:
            key = where + field.name
            values[field.name] = _value(types_of[field.name], table[field.name], path, key)
        elif field.default is dataclasses.MISSING:
            raise UsageError(f"{path}: the key {where}{field.name} is missing")
    illustrative = values.get("illustrative")
    marked = illustrative if isinstance(illustrative, tuple) else ()
    for key in (*table, *marked):
        if key not in types_of:
            raise UsageError(
                f"{path}: the key {where}{key} is unknown",
                next_step=f"there are {', '.join(types_of)}",
            )
    return shape(**values)


def _value(kind: Any, value: Any, path: Path, key: str) -> Any:
    """`value` as the type `kind`: str, int, bool, tuple[str, ...], a dataclass."""
    if get_origin(kind) is types.UnionType:  # X | None: TOML has no null, so X
        kind = get_args(kind)[0]
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        return _build(kind, value, path, f"{key}.")
    if get_origin(kind) is tuple:
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            return tuple(value)
    elif type(value) is kind and not (kind is int and value < 0):
        return value
    wanted = _TYPE_NAMES.get(kind, "a list of strings" if get_origin(kind) is tuple else "a table")
    raise UsageError(f"{path}: {key} has to be {wanted}, not {value!r}")


_TYPE_NAMES: Final[Mapping[Any, str]] = {
    str: "a string",
    int: "a whole number, 0 or more",
    bool: "true or false",
}


def _check_choice(path: Path, key: str, value: object, choices: Collection[object]) -> None:
    if value not in choices:
        raise UsageError(
            f"{path}: {key} = {value!r} does not exist",
            next_step=f"one of {', '.join(map(str, choices))}",
        )
