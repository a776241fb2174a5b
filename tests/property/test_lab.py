"""Any lab.toml gives a lab or a UsageError that says what is wrong; so does any board file."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hanlab.boards import data
from hanlab.boards.data import Board, DeviceModel, board_names, load_board, load_model, model_names
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.impairments import WIRES, Impairments
from hanlab.lab.config import DEFAULT, LabConfig, make_lab, read_lab
from hanlab.resources import boards_dir

TEXT = st.text(max_size=12)
NUMBER = st.integers(-(1 << 63), (1 << 63) - 1) | st.floats()
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | NUMBER | TEXT | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
EUI = st.binary(min_size=8, max_size=8).map(lambda octets: str(Eui(octets)))


def mostly(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(strategy, strategy, strategy, ANYTHING)


def settings_of(*tables: Any) -> list[str]:
    """Every setting that the parser knows, as its own error text lists them."""
    found = []
    for table in tables:
        with pytest.raises(UsageError) as error:
            make_lab("x", table)
        found += error.value.next_step.removeprefix("there are ").split(", ")
    return sorted(set(found))


NODE_KEYS = settings_of({**DEFAULT, "comms_hub": {"?": 0}}, {**DEFAULT, "device": [{"?": 0}]})

NODE = st.fixed_dictionaries(
    {
        "board": mostly(st.sampled_from(board_names())),
        "model": mostly(st.sampled_from(model_names())),
        "eui": mostly(EUI),
    },
    optional={
        "name": mostly(st.sampled_from(["PPMID", "a-b_c", "hub"])),
        "baud": mostly(st.sampled_from([300, 115200, 921600])),
        "store": mostly(st.integers(0, 1 << 21)),
        "size_behaviour": mostly(st.sampled_from(["refuse", "overflow", "truncate", "silent"])),
        **{
            key: ANYTHING
            for key in NODE_KEYS
            if key not in ("board", "model", "eui", "name", "baud", "store", "size_behaviour")
        },
    },
)
IMPAIRMENTS = st.dictionaries(
    st.sampled_from([field.name for field in dataclasses.fields(Impairments)]),
    st.floats(0, 1)
    | NUMBER
    | ANYTHING
    | st.lists(st.lists(NUMBER, min_size=2, max_size=2), max_size=2),
    max_size=3,
)
LAB = st.fixed_dictionaries(
    {"comms_hub": mostly(NODE)},
    optional={
        "wan_open": mostly(st.booleans()),
        "device": mostly(st.lists(mostly(NODE), max_size=3)),
        "seed": mostly(st.integers(0)),
        "wan": mostly(IMPAIRMENTS),
        "han": mostly(IMPAIRMENTS),
        "nonsense": ANYTHING,
    },
)


@given(LAB)
def test_any_table_makes_a_lab_or_a_usage_error(table: dict[str, Any]) -> None:
    with suppress(UsageError):
        config = make_lab("lab", table)
        assert isinstance(config, LabConfig)
        assert len({n.eui for n in (config.hub, *config.devices)}) == 1 + len(config.devices)


@given(EUI)
def test_eui_both_ways(text: str) -> None:
    assert str(Eui.parse(text)) == text
    assert Eui.parse(text.lower()) == Eui.parse(text)


@given(TEXT)
def test_eui_of_any_text(text: str) -> None:
    with suppress(UsageError):
        assert len(Eui.parse(text).octets) == 8


GOOD = """\
seed = 1
[comms_hub]
board = "esp32-devkitc"
model = "skyline-i510"
eui = "00-DB-12-34-56-78-90-A2"
"""
FILE = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda at, octets: (
            GOOD.encode()[: at % len(GOOD)] + octets + GOOD.encode()[at % len(GOOD) :]
        ),
        st.integers(0, 400),
        st.binary(max_size=3)
        | st.sampled_from([b"[", b"]", b"=", b'"', b"\n", b"{", b"'''", b"0x"]),
    ),
)


@given(FILE)
@example(b"seed = " + b"[" * 5000)
@example(b"seed = " + b"9" * 5000)
@example(b"seed = " + b"{a=" * 5000)
@example(b"[" + b"a." * 5000 + b"b]")
@example(b"comms_hub.board" + b".a" * 5000 + b" = 1")
@example(GOOD.replace("seed = 1", "seed = 0x" + "f" * 5000).encode())
@example(GOOD.encode() + b"baud = 0x" + b"f" * 5000)
@example(GOOD.encode() + b"name = [0x" + b"f" * 5000 + b"]")
@example(GOOD.encode() + b"[wan]\nloss = 0x" + b"f" * 5000)
@example(b"seed = 1979-13-45")
@example(b"\xef\xbb\xbfseed = 1")
def test_any_file_is_a_lab_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any-lab.toml"
    file.write_bytes(octets)
    with suppress(UsageError):
        assert isinstance(read_lab(file), LabConfig)


# -- impairments as the CLI takes them

RATES = (
    st.floats(0, 1).map(str)
    | st.sampled_from(["0.2", "nan", "inf", "-1", "1e400", "5+30", "+", ""])
    | TEXT
)
ITEM = st.builds(
    "{}.{}={}".format,
    mostly(st.sampled_from(WIRES)),
    mostly(st.sampled_from([field.name for field in dataclasses.fields(Impairments)])),
    RATES,
)


@given(st.lists(ITEM | TEXT, max_size=4).map(",".join))
def test_any_impairments_are_a_lab_or_a_usage_error(text: str) -> None:
    config = make_lab("lab", DEFAULT)
    try:
        impaired = config.impaired(text)
    except UsageError:
        return
    for wire in (impaired.wan, impaired.han):
        assert all(0 <= getattr(wire, rate) <= 1 for rate in ("loss", "flips", "reorder"))
    again = ",".join(f"wan.{part}" for part in str(impaired.wan).split(",") if part)
    assert dataclasses.replace(config.impaired(again).wan, pulled=()) == dataclasses.replace(
        rounded(impaired.wan), pulled=()
    )


def rounded(wire: Impairments) -> Impairments:
    """As text has it: six digits."""
    names = [f.name for f in dataclasses.fields(wire) if f.name != "pulled"]
    rounded: dict[str, Any] = {name: float(f"{getattr(wire, name):g}") for name in names}
    return dataclasses.replace(wire, **rounded)


# -- board files and Device Models


SOURCES = [
    *((load_board, Board, boards_dir() / f"{name}.toml") for name in board_names()),
    *(
        (load_model, DeviceModel, boards_dir() / "models" / f"{name}.toml")
        for name in model_names()
    ),
]


@given(
    st.sampled_from(SOURCES),
    st.integers(0, 3000),
    st.integers(0, 30),
    st.binary(max_size=3)
    | st.sampled_from(
        [b"[", b"=", b'"', b"\n", b"-1", b"true", b"x = 1\n", b"[x]\n", b"9" * 5000, b"[" * 5000]
    ),
)
def test_any_board_file_is_a_board_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory,
    source: tuple[Any, type, Path],
    at: int,
    cut: int,
    octets: bytes,
) -> None:
    load, kind, path = source
    good = path.read_bytes()
    at %= len(good)
    folder = tmp_path_factory.getbasetemp() / "any-boards"
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for file in (folder / "x.toml", folder / "models" / "x.toml"):
        file.write_bytes(good[:at] + octets + good[at + cut :])
    with pytest.MonkeyPatch.context() as patch, suppress(UsageError):
        patch.setattr(data, "boards_dir", lambda: folder)
        assert isinstance(load("x"), kind)
