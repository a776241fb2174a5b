"""The firmware on emulated RP2040s with MicroPython's own rp2 port."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from labs import OpenLab, make_image
from littlefs import LittleFS
from littlefs.context import UserContext
from test_rp2040_chip import uf2_block

from hanlab.bench import chips
from hanlab.bench.board import BoardError
from hanlab.bench.rp2040.filesystem import board_files
from hanlab.boards.uf2 import DOWNLOAD, UF2
from hanlab.cli import main
from hanlab.errors import UsageError
from hanlab.lab import Device, Lab, Progress
from hanlab.lab.config import read_lab


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A UF2 file whose chip sleeps."""
    path = tmp_path / "sleeps.uf2"
    path.write_bytes(uf2_block(0x10000000, b"\x30\xbf\xfd\xe7"))
    return path


# -- what is refused


def test_a_chip_needs_its_micropython(
    open_lab: OpenLab, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HANLAB_UF2", raising=False)
    with pytest.raises(UsageError, match="does not say which MicroPython") as wrong:
        open_lab({"board": "rp2040"})
    assert wrong.value.next_step.startswith('board = "rp2040:FILE.uf2"')
    open_lab({"board": f"rp2040:{file}"})
    monkeypatch.setenv("HANLAB_UF2", str(file))
    open_lab({"board": "rp2040"}, folder="other")


def test_the_default_lab_with_a_chip_needs_no_lab_toml(
    tmp_path: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(UF2, str(file))
    nodes = read_lab(Path("rp2040")).nodes
    assert {node.name: node.uf2 for node in nodes} == {"hub": None, "PPMID": file}
    words = ["hanlab", "--uf2", "of-the-command-line.uf2", "devices", "--lab", "rp2040"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "of-the-command-line.uf2 cannot be read" in capsys.readouterr().err


def test_a_uf2_file_that_is_none_is_refused(open_lab: OpenLab, tmp_path: Path, file: Path) -> None:
    with pytest.raises(UsageError, match="No such file") as wrong:
        open_lab({"board": f"rp2040:{tmp_path / 'slepes.uf2'}"})
    assert wrong.value.next_step == "check the name of the UF2 file"
    with pytest.raises(UsageError, match="no UF2 block at octet 0") as wrong:
        open_lab({"board": f"rp2040:{__file__}"})
    assert "micropython.org/download" in wrong.value.next_step
    open_lab({"board": f"rp2040:{file}"})


def test_what_is_not_installed_is_named(
    open_lab: OpenLab, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chips, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="hub is an emulated RP2040") as wrong:
        open_lab({"board": f"rp2040:{file}"})
    assert wrong.value.next_step == "pip install 'hanlab[rp2040]'"


def test_a_flash_file_that_holds_garbage(open_lab: OpenLab, file: Path, tmp_path: Path) -> None:
    lab = open_lab({"board": f"rp2040:{file}"})
    flash = lab.board(lab.hub).flash.path
    lab.close()
    flash.write_bytes(bytes(flash.stat().st_size))
    with pytest.raises(BoardError, match="no filesystem that can be read") as wrong:
        open_lab({"board": f"rp2040:{file}"})
    assert wrong.value.next_step == f"move {flash} aside to begin with an empty chip"
    flash.rename(tmp_path / "aside")
    open_lab({"board": f"rp2040:{file}"})


# -- what goes on it


def mounted(path: Path) -> LittleFS:
    context = UserContext(buffer=bytearray(path.read_bytes()))
    return LittleFS(context=context, block_size=4096, block_count=352, prog_size=256)


def test_a_chip_has_the_firmware_that_provision_puts_on_a_board_and_keeps_what_is_its_own(
    open_lab: OpenLab, file: Path
) -> None:
    lab = open_lab({"board": f"rp2040:{file}"})
    path = lab.board(lab.hub).flash.path
    lab.close()
    littlefs = mounted(path)
    provisioned = {name.partition("/")[0] for name in board_files({}, "RP2040", b"")}
    assert {"main.py", "smets1", "hanlab"} < provisioned == set(littlefs.listdir("/"))
    assert littlefs.listdir("/hanlab") == ["board.json"]
    with littlefs.open("hanlab/store.1", "wb") as kept, littlefs.open("smets1/octets.py", "w") as s:
        kept.write(b"image")
        s.write("stale")
    with littlefs.open("main.py", "w") as main:
        main.write("changed")
    littlefs.unmount()
    path.write_bytes(littlefs.context.buffer)
    open_lab({"board": f"rp2040:{file}"}).close()
    littlefs = mounted(path)
    assert littlefs.listdir("/hanlab") == ["board.json", "store.1"]
    assert "octets.py" not in littlefs.listdir("/smets1")
    with littlefs.open("main.py") as main:
        assert "run" in main.read()


def test_where_the_firmware_is_frozen_in_only_the_boards_own_goes_on_it(
    open_lab: OpenLab, tmp_path: Path
) -> None:
    """Files would be found before what is frozen; those of an earlier UF2 go."""
    plain, frozen = tmp_path / "plain.uf2", tmp_path / "frozen.uf2"
    code = b"\x30\xbf\xfd\xe7"
    plain.write_bytes(uf2_block(0x10000000, code))
    frozen.write_bytes(
        uf2_block(0x10000000, code + b"smets1/octets.py\0smets1/store/__init__.py\0")
    )
    for uf2, there in ((plain, True), (frozen, False)):
        lab = open_lab({"board": f"rp2040:{uf2}"})
        flash = lab.board(lab.hub).flash
        names = mounted(flash.path).listdir("/")
        lab.close()
        assert ("main.py" in names, "smets1" in names, "hanlab" in names) == (there, there, True)


# -- what they do

CHIP = {"board": "rp2040"}
LEAST_FREE = 60 * 1024
"""Octets of a Pico's heap that have to be free after boot."""
on_chips = pytest.mark.timeout(600)
"""A second in which an emulated chip computes takes some seven."""
Figure = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def needs_micropython(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("timeout") and not os.environ.get(UF2):
        pytest.skip(f"{UF2} names no MicroPython for a Pico: {DOWNLOAD} has RPI_PICO's .uf2")


@pytest.fixture
def figure(record_property: Figure) -> Figure:
    """Prints a figure, and puts it into a JUnit file."""

    def show(name: str, value: object) -> None:
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
        record_property(name, value)

    return show


def free_heap(lab: Lab, device: Device, figure: Figure, when: str) -> int:
    heap = lab.run(lab.heap(device))
    figure(f"{device.name}, octets of {heap.total:,} free {when}", heap.free)
    return heap.free


def lost(lab: Lab, figure: Figure) -> int:
    for device in lab.boards:
        figure(f"{device.name}, UART octets lost", lab.board(device).lost)
    return sum(lab.board(device).lost for device in lab.boards)


@on_chips
def test_an_update_from_one_chip_to_another(open_lab: OpenLab, figure: Figure) -> None:
    """11.2, 11.1 of 8 KiB, 11.3; what is free of their heaps, and that no octet is lost."""
    lab = open_lab({**CHIP, "store": 65536}, CHIP)
    ppmid = lab.devices[0]
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE05"
    figure("seconds from power-on to the PPMID's first 11.2", lab.clock_us / 1e6)
    code = board_files({}, "RP2040", b"")
    figure("code, octets", sum(len(file) for name, file in code.items() if "board" not in name))
    for device in lab.boards:
        assert free_heap(lab, device, figure, "after boot") >= LEAST_FREE
    image = make_image(8192)
    lab.run(lab.update_firmware(image, ppmid))
    figure("seconds to the end of the 11.1", lab.clock_us / 1e6)
    for device in lab.boards:
        free_heap(lab, device, figure, "after an 11.1")
    lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE06"
    assert lost(lab, figure) == 0


@on_chips
def test_a_chips_power_fails_in_mid_hand_over_and_its_flash_lasts(
    open_lab: OpenLab, figure: Figure
) -> None:
    lab = open_lab({**CHIP, "store": 65536}, CHIP)
    ppmid = lab.devices[0]
    lab.run(lab.wait_until_back(ppmid))
    image = make_image(2048)
    cut_at: list[int] = []

    def cut(step: Progress) -> None:
        if step.stage == "distribute" and step.done * 2 >= step.total and not cut_at:
            cut_at.append(step.done)
            lab.power_cycle(ppmid)

    lab.run(lab.update_firmware(image, ppmid, cut))
    figure("the power failed at octet", cut_at[0])
    assert 0 < cut_at[0] < len(image.to_bytes())
    lost(lab, figure)
    lab.close()

    lab = open_lab({**CHIP, "store": 65536}, CHIP)
    ppmid = lab.devices[0]
    held = lab.run(lab.store_of(ppmid, verify=True))
    assert [bytes(i.hash) for i in held.images if i.hash] == [image.manufacturer_image_hash]
    lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE06"


@on_chips
@pytest.mark.parametrize("chip", ["CH", "PPMID"])
def test_a_chip_and_a_board_in_a_vm_work_together(
    open_lab: OpenLab, figure: Figure, chip: str
) -> None:
    vm = {"board": "pico"}
    hub, device = (CHIP, vm) if chip == "CH" else (vm, CHIP)
    lab = open_lab({**hub, "store": 65536}, device)
    ppmid = lab.devices[0]
    image = make_image(2048)
    lab.run(lab.update_firmware(image, ppmid))
    lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE06"
    lost(
        lab, figure
    )  # some: a board in a VM answers at once, also while the chip's flash works; they are sent again
