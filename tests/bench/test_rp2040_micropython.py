"""MicroPython's own rp2 port on the emulated RP2040, with a few lines of Python on it: needs HANLAB_UF2."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from test_rp2040_chip import OCTET_US

from hanlab.bench.flash import NorFlash
from hanlab.bench.rp2040.chip import Chip, read_uf2
from hanlab.bench.rp2040.filesystem import install
from hanlab.boards.data import load_board
from hanlab.boards.uf2 import DOWNLOAD, UF2

FACTS = load_board("pico")
LONG_S = 3.0
"""Simulated seconds in which each of these is done."""


_BEGINS = "import time\ntime.sleep_ms(100)\n"
"""Nobody is at its USB before: what is printed then is lost, as on a real one."""


class Running:
    """A chip that runs a main.py."""

    def __init__(self, folder: Path, main: str, *, seed: int = 1) -> None:
        self._text = bytearray()
        path = folder / "flash"
        install(path, FACTS.flash, {"main.py": (_BEGINS + main).encode()})
        self.flash = NorFlash(path, FACTS.flash)
        self.sent = bytearray()
        self.chip = Chip(
            read_uf2(Path(os.environ[UF2]).read_bytes()),
            self.flash,
            FACTS.flash.filesystem,
            FACTS.flash.sector,
            b"\x00\xdb\x12\x34\x56\x78\x90\xa4",
            random.Random(seed),
            self._text.extend,
        )
        self.chip.uarts[0].sent = self.sent.append

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            assert self.chip.now_us < LONG_S * 1e6, f"never; it printed\n{self.printed}"
            self.chip.run(self.chip.now_us + 1000)

    def until_printed(self, what: str) -> None:
        self.until(lambda: what in self.printed)

    @property
    def printed(self) -> str:
        return self._text.decode(errors="replace")


Run = Callable[..., Running]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    if not os.environ.get(UF2):
        pytest.skip(f"{UF2} names no MicroPython for a Pico: {DOWNLOAD} has RPI_PICO's .uf2")

    def run_(main: str, **more: int) -> Running:
        return Running(tmp_path, main, **more)

    return run_


def test_heap_and_identity(run: Run) -> None:
    """The figures of boards/pico.toml."""
    pico = run(
        "import gc, machine, time\n"
        "print('at', time.ticks_ms(), 'ms;', gc.mem_free() + gc.mem_alloc(), machine.unique_id().hex())\n"
        "print(machine.reset_cause() == machine.PWRON_RESET, 'done')"
    )
    pico.until_printed("done")
    print(pico.printed)
    assert f"; {FACTS.memory.heap} 00db1234567890a4" in pico.printed.replace(" ms", "")
    assert "True done" in pico.printed


ECHO = """
import machine
uart = machine.UART(0, 115200, rxbuf=4096, timeout=0)
uart.irq(lambda _: None, machine.UART.IRQ_RXIDLE)
print("listens")
got = b""
while len(got) < {n}:
    got += uart.read() or b""
while got:
    got = got[uart.write(got) or 0 :]  # it takes what there is room for
print("done")
"""


def test_machine_uart_takes_a_kilobyte_and_sends_it_back(run: Run) -> None:
    """Far more than its FIFOs and its transmit ring hold, at the line's full rate each way."""
    pico = run(ECHO.format(n=1024))
    pico.until_printed("listens")
    text = random.Random(1).randbytes(1024)
    began = pico.chip.now_us
    pico.chip.uarts[0].receive(text)
    pico.until(lambda: len(pico.sent) == 1024)
    assert pico.sent == text
    assert pico.chip.uarts[0].lost == 0
    assert 2 * 1024 * OCTET_US < pico.chip.now_us - began < 2.2 * 1024 * OCTET_US


def test_what_arrives_during_an_erase_has_the_fifo_alone(run: Run) -> None:
    pico = run(
        "import machine, rp2\n"
        "uart = machine.UART(0, 115200, rxbuf=4096, timeout=0)\n"
        "print('erases')\n"
        "rp2.Flash().ioctl(6, 351)\n"
        "print('left', uart.any(), 'done')"
    )
    pico.until_printed("erases")
    pico.until(lambda: pico.flash.operations == 1)
    pico.chip.uarts[0].receive(bytes(200))
    pico.until_printed("done")
    assert "left 32 done" in pico.printed
    assert pico.chip.uarts[0].lost == 200 - 32


def test_files_last_and_flash_work_takes_its_time(run: Run) -> None:
    program = (
        "import os\n"
        "there = 'hanlab' in os.listdir() and os.listdir('hanlab')\n"
        "if not there: os.mkdir('hanlab')\n"
        "t = time.ticks_us()\n"
        "with open('hanlab/kept', 'wb') as f: f.write(bytes(4096))\n"
        "print('there', there, 'took', time.ticks_diff(time.ticks_us(), t), 'us')"
    )
    pico = run(program)
    pico.until_printed(" us")
    assert "there False" in pico.printed
    took = int(pico.printed.split("took ")[1].split()[0])
    assert took > FACTS.flash.erase_us + 16 * FACTS.flash.program_us
    pico.flash.close()
    again = run(program)
    again.until_printed(" us")
    assert "there ['kept']" in again.printed


def test_the_watchdog_and_a_reset_start_it_again(run: Run) -> None:
    pico = run(
        "import machine\n"
        "uart = machine.UART(0, 115200)\n"
        "cause = machine.reset_cause()\n"
        "scratch = machine.mem32[0x4005800C]\n"
        "uart.write(b'P' if cause == machine.PWRON_RESET else b'W' if scratch == 1 else b'R')\n"
        "while not uart.txdone(): pass\n"
        "machine.mem32[0x4005800C] = scratch + 1\n"
        "if scratch == 0:\n"
        "    machine.WDT(timeout=50)\n"
        "    while True: pass\n"
        "if scratch == 1: machine.reset()\n"
    )
    pico.until(lambda: len(pico.sent) == 3)
    assert (bytes(pico.sent), pico.chip.resets) == (b"PWR", 2)


def test_its_chance_is_the_seeds_and_its_time_the_same_each_time(run: Run, tmp_path: Path) -> None:
    def drawn(seed: int) -> tuple[str, float]:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        pico = Running(folder, "import os\nprint(os.urandom(16).hex(), 'done')", seed=seed)
        pico.until_printed("done")
        return pico.printed, pico.chip.now_us

    first = drawn(1)
    assert drawn(1) == first
    assert drawn(2)[0] != first[0]
