"""`hanlab flash` on an emulated RP2040 with MicroPython's own rp2 port, and its cable: needs HANLAB_UF2.

The cable wants micropython-lib's usb-device-cdc as well: HANLAB_LIBRARY names a checkout of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab_file import lab_toml
from rp2040_usb import UsbPico as Pico
from smpclient.requests.os_management import MemoryPoolStatisticsRead

from hanlab.bench.cable import CARRIER, MARK
from hanlab.bench.radio import cobs_decode, cobs_encode
from hanlab.bench.rp2040.filesystem import install
from hanlab.boards.data import load_board
from hanlab.boards.uf2 import DOWNLOAD, UF2
from hanlab.flashing import hello
from hanlab.flashing import wanted as wanted_module
from hanlab.flashing.flash import Done, Job, flash
from hanlab.flashing.look import BOARD_JSON, Found
from hanlab.flashing.wanted import wanted
from hanlab.keys import LabKeys
from hanlab.lab.board_json import board_json
from hanlab.lab.config import LabConfig, read_lab
from hanlab.wan.client import WanClient
from hanlab.wan.serial_port import SerialPort

LIBRARY = "HANLAB_LIBRARY"
KIND = os.environ.get("HANLAB_FIRMWARE", "mpy")
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not os.environ.get(UF2),
        reason=f"{UF2} names no MicroPython for a Pico: {DOWNLOAD} has RPI_PICO's .uf2",
    ),
]
BARE = Found(
    *("rp2", (1, 28, 0), "Raspberry Pi Pico with RP2040", "RPI_PICO", 4870, "", False, False),
    *(4096, 352, 350, {}),
)
PATIENCE_S = 200
"""It computes some twenty times slower than a chip."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Pico]]:
    """Switches a Pico on, which has those files on it."""
    started: list[Pico] = []

    def start_(files: dict[str, bytes]) -> Pico:
        path = tmp_path / "flash"
        install(path, load_board("pico").flash, files)
        started.append(Pico(Path(os.environ[UF2]), path))
        return started[-1]

    yield start_
    for pico in started:
        pico.close()


def files_of(lab: LabConfig, *, usb: bool = False) -> dict[str, bytes]:
    library = Path(os.environ[LIBRARY]) if usb and KIND != "frozen" else None
    config = board_json(lab, lab.node("PPMID"), LabKeys(lab.seed))
    bare = dataclasses.replace(BARE, frozen=KIND == "frozen")
    want = wanted(bare, config, usb=usb, library=library, sources=KIND == "py")
    return {BOARD_JSON: want.board_json, **want.files}


def read(folder: Path, **text: str) -> LabConfig:
    path = folder / "lab.toml"
    path.write_text(lab_toml(top='keys = "seed"', **text))
    return read_lab(path)


@pytest.fixture
def wired(tmp_path: Path) -> LabConfig:
    """Its PPMID's REPL is all that the computer sees of it."""
    return read(tmp_path, of_hub='wired = true\nport = "/dev/ttyUSB9"')


class Timed:
    """When (chip's µs) the first of the progress came."""

    def __init__(self, pico: Pico) -> None:
        self.first_us: float | None = None
        self._pico = pico

    def step(self, head: str, rest: str) -> None:
        pass

    def progress(self, done: int, total: int, what: str) -> None:
        if done and self.first_us is None:
            self.first_us = self._pico.now_us


def do(lab: LabConfig, pico: Pico, show: Timed) -> Done:
    return flash(Job(lab, lab.node("PPMID"), LabKeys(lab.seed), pico.devices[0]), show)


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_unchanged_board_is_done_within_2_s(
    start: Callable[..., Pico], wired: LabConfig
) -> None:
    """Of the chip's time, from the first octet until it restarts."""
    pico = start(files_of(wired))
    until(lambda: pico.now_us > 1_500_000)  # its firmware runs
    began = pico.now_us
    done = do(wired, pico, Timed(pico))
    until(lambda: pico.chip.resets == 1)
    took = (pico.now_us - began) / 1e6
    print(f"flash of an unchanged board: {took:.2f} s of the RP2040's time")
    assert done.plan.is_empty
    assert done.plan.unchanged > 90_000
    assert took < 2


def test_a_bare_board_is_flashed(
    start: Callable[..., Pico], wired: LabConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a small firmware; the whole one takes the emulator minutes."""
    small = {"main.py": b"x = 1\n", "chip.mpy": b"c" * 700, "smets1/wan/a.mpy": b"a" * 700}
    monkeypatch.setattr(wanted_module, "firmware_files", lambda architecture: small)
    pico = start({})
    until(lambda: pico.interfaces == 1)
    began, show = pico.now_us, Timed(pico)
    done = do(wired, pico, show)
    assert len(done.plan.copy) == 4
    assert show.first_us is not None
    print(f"a file is there after {(show.first_us - began) / 1e6:.2f} s of the RP2040's time")
    assert show.first_us - began < 1e6
    until(lambda: pico.chip.resets == 1)
    assert do(wired, pico, show).plan.is_empty


@pytest.mark.skipif(not os.environ.get(LIBRARY), reason=f"{LIBRARY} names no micropython-lib")
def test_one_cable_on_a_chip_that_has_usb(start: Callable[..., Pico], tmp_path: Path) -> None:
    """The firmware adds a second CDC interface, on which the HAN's carrier and SMP are answered; the REPL stays.

    HANLAB_FIRMWARE: mpy, py, or frozen for a MicroPython that has the firmware in it.
    """
    lab = read(tmp_path, of_device='port = "/dev/ttyACM9"')
    pico = start(files_of(lab, usb=True))
    until(lambda: pico.interfaces == 2)
    asking = os.open(pico.devices[1], os.O_WRONLY | os.O_NOCTTY)
    os.write(asking, MARK + cobs_encode(CARRIER) + b"\0")
    until(lambda: CARRIER in pico.seen[1])
    os.close(asking)
    first = pico.seen_at[1] / 1e6
    free, total = asyncio.run(heap(pico.devices[1]))
    print(
        f"{KIND}: first frame {first:.2f} s after power on, {free:,} of {total:,} octets of heap free"
    )
    frame = cobs_decode(pico.seen[1][len(MARK) :].split(b"\0")[0])
    assert frame == CARRIER + lab.node("PPMID").eui.octets
    who = hello.ask(pico.devices[1], 921_600, PATIENCE_S)
    assert who
    assert (who.role, who.eui) == ("ppmid", "00-DB-12-34-56-78-90-A4")
    assert who.machine == "Raspberry Pi Pico with RP2040"


async def heap(device: str) -> tuple[int, int]:
    port = SerialPort(device, 921_600, asyncio.get_running_loop())
    client = WanClient(port, octets_s=port.octets_s)
    try:
        async with asyncio.timeout(PATIENCE_S):
            there = (await client.read(MemoryPoolStatisticsRead)).model_dump()["heap"]
        return there["nfree"] * there["blksize"], there["nblks"] * there["blksize"]
    finally:
        await client.close()
        port.close()
