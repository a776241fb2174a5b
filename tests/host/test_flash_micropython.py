"""MicroPython itself onto a chip: files, drives and tools, with stand-ins for the tools; and what mpremote refuses."""

from __future__ import annotations

import dataclasses
import os
import struct
import sys
from pathlib import Path
from typing import Self

import pytest

from hanlab.boards.data import load_board
from hanlab.errors import UsageError
from hanlab.flashing import micropython, plugged, repl
from hanlab.flashing.plugged import Plugged

PICO = load_board("pico")
ESP32 = load_board("esp32-devkitc")
RP2040, RP2350 = 0xE48BFF56, 0xE48BFF59
MOUNTED = Plugged("/dev/ttyACM0", 0x2E8A, 5, "E661")


def uf2(folder: Path, family: int = RP2040, blocks: int = 300) -> Path:
    head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000, 256, 0, blocks, family)
    path = folder / f"RPI_PICO-{family:x}.uf2"
    path.write_bytes((head + bytes(512 - len(head))) * blocks)
    return path


def esp(folder: Path, chip: int = 0) -> Path:
    path = folder / f"ESP32_GENERIC-{chip}.bin"
    path.write_bytes(b"\xe9" + bytes(11) + struct.pack("<H", chip) + bytes(1000))
    return path


class Told:
    def __init__(self) -> None:
        self.octets: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.octets.append((done, total))


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The drive of an RP2040 in BOOTSEL mode; once something is on it, its MicroPython has a port."""
    made = tmp_path / "RPI-RP2"
    made.mkdir()
    (made / "INFO_UF2.TXT").write_text(
        "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"
    )
    monkeypatch.setattr(micropython, "_mounted", lambda: [made, tmp_path])

    def wait_for(wanted: object, within_s: float) -> Plugged | None:
        return MOUNTED if len(list(made.iterdir())) == 2 else None

    monkeypatch.setattr(micropython, "wait_for", wait_for)
    return made


def test_a_uf2_file_is_copied_to_the_drive(tmp_path: Path, drive: Path) -> None:
    file, told = uf2(tmp_path), Told()
    assert micropython.install(file, PICO, None, told, running=False) == MOUNTED
    assert (drive / file.name).read_bytes() == file.read_bytes()
    assert told.octets[0] == (0, 153_600)
    assert told.octets[-1] == (153_600, 153_600)
    assert len(told.octets) > 3


def test_a_running_micropython_goes_to_bootsel_by_itself(
    tmp_path: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = (drive / "INFO_UF2.TXT").read_text()
    (drive / "INFO_UF2.TXT").unlink()
    asked = []

    def run(device: str, commands: list[list[str]]) -> str:
        asked.append((device, *commands[0]))
        (drive / "INFO_UF2.TXT").write_text(info)
        return ""

    monkeypatch.setattr(repl, "run", run)
    micropython.install(uf2(tmp_path), PICO, MOUNTED, Told(), running=True)
    assert asked == [("/dev/ttyACM0", "bootloader")]


def test_files_for_another_chip_are_refused(tmp_path: Path) -> None:
    micropython.check_file(uf2(tmp_path), PICO)
    micropython.check_file(esp(tmp_path), ESP32)
    for file, board, says in (
        (uf2(tmp_path, RP2350), PICO, "is for RP2350"),
        (uf2(tmp_path, 0x1234), PICO, "is for another chip"),
        (esp(tmp_path), PICO, "is no .uf2 file"),
        (esp(tmp_path, 9), ESP32, "is for ESP32S3"),
        (uf2(tmp_path), ESP32, "is no .bin file"),
        (tmp_path / "none.uf2", PICO, "cannot be read"),
    ):
        with pytest.raises(UsageError, match=says) as wrong:
            micropython.check_file(file, board)
        assert f"download/{board.micropython}/" in wrong.value.next_step


def test_what_stands_in_the_way_of_a_uf2(
    tmp_path: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = uf2(tmp_path)
    info = drive / "INFO_UF2.TXT"
    text = info.read_text()
    info.write_text(text.replace("RPI-RP2", "RP2350"))
    with pytest.raises(UsageError, match="has RP2350, and a Raspberry Pi Pico has RP2040") as wrong:
        micropython.install(file, PICO, None, Told(), running=False)
    assert wrong.value.next_step.startswith("the right board")
    (tmp_path / "INFO_UF2.TXT").write_text(text)
    with pytest.raises(UsageError, match="2 boards are in BOOTSEL mode") as wrong:
        micropython.install(file, PICO, None, Told(), running=False)
    assert wrong.value.next_step == "one at a time"
    (tmp_path / "INFO_UF2.TXT").unlink()
    info.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no BOOTSEL drive is mounted") as wrong:
        micropython.install(file, PICO, None, Told(), running=False)
    assert wrong.value.next_step.startswith("hold BOOTSEL")
    assert "picotool" in wrong.value.next_step
    script(tmp_path / "picotool", "print('No accessible RP2040'); raise SystemExit(1)")
    with pytest.raises(UsageError, match="picotool: No accessible RP2040"):
        micropython.install(file, PICO, None, Told(), running=False)
    script(tmp_path / "picotool", "import sys; assert sys.argv[1:3] == ['load', '-x']")
    with pytest.raises(UsageError, match="no port appeared within") as wrong:
        micropython.install(file, PICO, None, Told(), running=False)
    assert wrong.value.next_step.startswith("take its cable out and in")


def test_a_drive_that_goes_while_it_is_written(
    tmp_path: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UsageError, match="is gone after 0 of 153,600 octets") as wrong:
        micropython.install(uf2(tmp_path), PICO, None, Told(), running=False)
    assert wrong.value.next_step.startswith("hold BOOTSEL")
    small = uf2(tmp_path, blocks=4)  # with the last block the chip restarts: that is no error
    assert micropython.install(small, PICO, None, Told(), running=False) == MOUNTED


def script(path: Path, text: str) -> list[str]:
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return [str(path)]


ESPTOOL = """
import sys
print("Connecting....")
assert sys.argv[1:5] == ["--chip", "esp32", "--port", "/dev/ttyUSB0"], sys.argv
assert sys.argv[7] == "write-flash" and ("--erase-all" in sys.argv) == {erase}, sys.argv
assert sys.argv[-2] == "0x1000"
for n in (0, 50, 100):
    print(f"Writing at 0x00001000 [===>   ] {{n}}.0% 1/2 bytes...", end="\\r")
print("Hash of data verified.")
"""


@pytest.mark.parametrize("running", [False, True])
def test_a_bin_file_goes_by_esptool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    """What the board has stored stays where a MicroPython runs already."""
    tool = script(tmp_path / "esptool", ESPTOOL.format(erase=not running))
    monkeypatch.setattr(repl, "tool", lambda name: tool)
    port, told = Plugged("/dev/ttyUSB0", 0x10C4, 0xEA60), Told()
    assert micropython.install(esp(tmp_path), ESP32, port, told, running=running) == port
    assert told.octets == [(0, 1014), (0, 1014), (507, 1014), (1014, 1014), (1014, 1014)]
    fails = script(tmp_path / "esptool", "print('Wrong boot mode'); raise SystemExit(2)")
    monkeypatch.setattr(repl, "tool", lambda name: fails)
    with pytest.raises(UsageError, match="esptool: Wrong boot mode") as wrong:
        micropython.install(esp(tmp_path), ESP32, port, told, running=running)
    assert "BOOT button" in wrong.value.next_step
    with pytest.raises(UsageError, match="no port is there") as wrong:
        micropython.install(esp(tmp_path), ESP32, None, told, running=running)
    assert "hanlab ports" in wrong.value.next_step


MPFLASH = """
import pathlib, sys
assert sys.argv[1:3] == ["--no-interactive", "--dir"]
assert sys.argv[4:] == ["download", "--version", "stable", "--board", "RPI_PICO"], sys.argv
folder = pathlib.Path(sys.argv[3]) / "rp2"
folder.mkdir()
(folder / "RPI_PICO-v1.28.0.uf2").write_text("")
"""


def test_mpflash_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = script(tmp_path / "mpflash", MPFLASH)
    monkeypatch.setattr(repl, "tool", lambda name: tool)
    assert micropython.download(PICO, tmp_path / "got").name == "RPI_PICO-v1.28.0.uf2"
    script(tmp_path / "mpflash", "print('no network'); raise SystemExit(1)")
    with pytest.raises(UsageError, match="RPI_PICO: no network") as wrong:
        micropython.download(PICO, tmp_path / "none")
    assert "download/RPI_PICO/" in wrong.value.next_step


def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(repl, "find_spec", lambda name: None)
    for name, step in repl.INSTALL.items():
        with pytest.raises(UsageError, match=f"{name} is not installed") as wrong:
            repl.tool(name)
        assert wrong.value.next_step == step


@pytest.mark.parametrize(
    ("prints", "says", "step"),
    [
        ("print('mpremote: failed to access X')", "another program has taken", "end it"),
        ("print('OSError: [Errno 28] ENOSPC')", "filesystem is full", "mpremote resume df"),
        ("print('TransportError: could not enter raw repl')", "no MicroPython's REPL", "press"),
        ("print('OSError: [Errno 5] Input/output error')", "is gone: the cable", "plug it in"),
        ("print('mpremote: cp: no')", "mpremote could not do it: mpremote: cp: no", "again"),
        (
            "print('mpremote: [Errno -2] Name or service not known requesting a/usb-device-cdc')",
            "usb-device-cdc, which a Pico needs, is not to be had from here",
            "--library FOLDER",
        ),
        ("import time; print('…', flush=True); time.sleep(600)", "said nothing for", "take its"),
    ],
)
def test_what_mpremote_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str, says: str, step: str
) -> None:
    tool = script(tmp_path / "mpremote", f"{prints}\nraise SystemExit(1)")
    monkeypatch.setattr(repl, "tool", lambda name: tool)
    monkeypatch.setattr(repl, "_TRY_S", 0.0)
    with pytest.raises(UsageError, match=says) as wrong:
        repl.run(str(tmp_path), [["reset"]], limit_s=0.6)
    assert wrong.value.next_step.startswith(step)


class Bridge:
    """An ESP32 behind a USB bridge: EN is low while RTS is on and DTR is not; its REPL listens after a reset alone."""

    def __init__(self) -> None:
        self.lines = {"dtr": True, "rts": True}
        self.low = self.reset = False
        self.heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ("dtr", "rts"):
            object.__setattr__(self, name, value)
            return
        self.lines[name] = bool(value)
        low = self.lines["rts"] and not self.lines["dtr"]
        self.reset = self.reset or (self.low and not low)
        self.low = low

    def write(self, octets: bytes) -> None:
        self.heard += octets

    def read(self, size: int) -> bytes:
        return b"\r\n>>> " if self.reset and b"\x03" in self.heard else b""


def test_an_esp32_is_reset_to_have_its_repl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its firmware has the REPL's pins; for half a second after a reset Ctrl-C keeps them."""
    bridge = Bridge()
    monkeypatch.setattr("hanlab.flashing.repl.serial.serial_for_url", lambda *a, **more: bridge)
    clock = iter(range(10_000))
    monkeypatch.setattr("hanlab.flashing.repl.time.monotonic", lambda: next(clock) / 10)
    monkeypatch.setattr("hanlab.flashing.repl.time.sleep", lambda seconds: None)
    with pytest.raises(UsageError, match="no MicroPython answers Ctrl-C"):
        repl.wake("/dev/ttyACM0", bridge=False)
    assert not bridge.reset
    repl.wake("/dev/ttyUSB0", bridge=True)
    assert bridge.reset
    assert bridge.lines == {"dtr": False, "rts": False}, "closing the port resets nothing"


def test_which_port_where_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from hanlab.flashing import which
    from hanlab.lab.config import read_lab

    node = dataclasses.replace(read_lab(None).node("PPMID"), port="/dev/serial/by-id/none")
    ports: list[Plugged] = []
    monkeypatch.setattr(which, "plugged", lambda: ports)
    monkeypatch.setattr(plugged, "plugged", lambda: ports)
    with pytest.raises(UsageError, match="no port is there that a Raspberry Pi Pico has") as wrong:
        which.repl_of(node, None)
    assert "hanlab ports" in wrong.value.next_step
    ports += [MOUNTED, Plugged("/dev/ttyUSB0", 0x10C4, 0xEA60)]
    assert which.repl_of(node, None) == MOUNTED
    ports.append(Plugged("/dev/ttyACM4", 0x2E8A, 5, "E662"))
    with pytest.raises(UsageError, match="which port has the Raspberry Pi Pico") as wrong:
        which.repl_of(node, None)
    assert wrong.value.next_step == "name it: hanlab flash /dev/ttyACM0, /dev/ttyACM4"
