"""The emulated RP2040's own models, without MicroPython: UART, flash, watchdog, and running up to a moment."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hanlab.bench.kernel import LOOKAHEAD_US, Kernel
from hanlab.bench.rp2040.chip import FLASH, Chip, read_uf2
from hanlab.bench.rp2040.lockstep import Lockstep
from hanlab.bench.rp2040.pl011 import Pl011

SECTOR = 4096
SIZE = 2 * SECTOR
ERASE_US, PROGRAM_US = 45_000, 400
UART, IO_QSPI_SS, SSI, WATCHDOG, ROSC = 0x40034000, 0x4001800C, 0x18000000, 0x40058000, 0x40060000
COUNT = 0x20000000
OCTET_US = 10e6 / 115_200

# ldr r0, =COUNT; again: ldr r1, [r0]; adds r1, #1; str r1, [r0]; b again
COUNTS = struct.pack("<6HI", 0x4802, 0x6801, 0x3101, 0x6001, 0xE7FB, 0x46C0, COUNT)
SLEEPS = struct.pack("<2H", 0xBF30, 0xE7FD)  # again: wfi; b again


@dataclass
class Filesystem:
    octets: bytearray = field(default_factory=lambda: bytearray(SIZE))

    def erase(self, address: int) -> int:
        self.octets[address : address + SECTOR] = b"\xff" * SECTOR
        return ERASE_US

    def program(self, address: int, octets: bytes) -> int:
        self.octets[address : address + len(octets)] = octets
        return PROGRAM_US

    def read(self, address: int, length: int) -> bytes:
        return bytes(self.octets[address : address + length])


def make_chip(code: bytes = SLEEPS, *, seed: int = 1) -> Chip:
    return Chip(
        code, Filesystem(), SIZE, SECTOR, bytes(range(8)), random.Random(seed), lambda _: None
    )


@pytest.fixture
def chip() -> Chip:
    return make_chip()


def write(chip: Chip, address: int, value: int) -> None:
    chip.rp2040.write_uint32(address, value)


def read(chip: Chip, address: int) -> int:
    return int(chip.rp2040.read_uint32(address))


def open_uart(chip: Chip, *, receive_level: int = 3) -> Pl011:
    """As machine.UART does: 115,200 baud of 48 MHz, 8N1, FIFOs on, all interrupts let through."""
    write(chip, UART + 0x24, 26)
    write(chip, UART + 0x28, 3)
    write(chip, UART + 0x2C, 0x70)
    write(chip, UART + 0x34, receive_level << 3)
    write(chip, UART + 0x38, 0x7FF)
    write(chip, UART + 0x30, 0x301)
    return chip.uarts[0]


def interrupts(chip: Chip) -> int:
    return read(chip, UART + 0x40)


# -- the UART


def test_octets_leave_one_after_the_other(chip: Chip) -> None:
    uart = open_uart(chip)
    sent: list[tuple[int, float]] = []
    uart.sent = lambda octet: sent.append((octet, chip.now_us))
    for octet in b"abc":
        write(chip, UART, octet)
    chip.run(1000)
    assert bytes(octet for octet, _ in sent) == b"abc"
    assert [when for _, when in sent] == pytest.approx([OCTET_US * n for n in (1, 2, 3)], rel=0.001)


def test_the_transmit_fifo_holds_32_and_one_is_on_its_way(chip: Chip) -> None:
    uart = open_uart(chip)
    sent: list[int] = []
    uart.sent = sent.append
    for octet in range(40):
        assert bool(read(chip, UART + 0x18) & 0x20) == (octet >= 33)  # full
        write(chip, UART, octet)
    chip.run(40 * OCTET_US)
    assert sent == list(range(33))


def test_the_transmit_interrupt_comes_when_the_fifo_has_run_low_and_goes(chip: Chip) -> None:
    """Stock `rp2040py` raises it for ever, on which machine.UART hangs."""
    open_uart(chip)
    assert interrupts(chip) == 0
    for octet in range(6):  # IFLS: the interrupt comes at 4
        write(chip, UART, octet)
    assert interrupts(chip) == 0
    chip.run(1.5 * OCTET_US)
    assert interrupts(chip) == 0x20
    write(chip, UART + 0x44, 0x20)
    assert interrupts(chip) == 0
    chip.run(10 * OCTET_US)
    assert interrupts(chip) == 0


@pytest.mark.parametrize(("field_", "octets"), [(0, 4), (1, 8), (2, 16), (3, 24), (4, 28)])
def test_the_receive_interrupt_comes_at_the_level_that_is_set(
    chip: Chip, field_: int, octets: int
) -> None:
    open_uart(chip, receive_level=field_).receive(bytes(octets))
    chip.run((octets - 1.5) * OCTET_US)
    assert interrupts(chip) == 0
    chip.run((octets - 0.5) * OCTET_US)
    assert interrupts(chip) == 0x10
    read(chip, UART)
    assert interrupts(chip) == 0


def test_what_is_left_raises_an_interrupt_after_32_bit_times_of_silence(chip: Chip) -> None:
    open_uart(chip).receive(b"xy")
    chip.run(OCTET_US + 3.1 * OCTET_US)
    assert interrupts(chip) == 0
    chip.run(OCTET_US + 3.3 * OCTET_US)
    assert interrupts(chip) == 0x40
    write(chip, UART + 0x44, 0x40)  # and again, as long as something is there
    assert interrupts(chip) == 0
    chip.run(10 * OCTET_US)
    assert interrupts(chip) == 0x40
    assert (read(chip, UART), read(chip, UART)) == (ord("x"), ord("y"))
    assert interrupts(chip) == 0


def test_octets_that_find_the_fifo_full_are_lost_and_counted(chip: Chip) -> None:
    uart = open_uart(chip)
    uart.receive(bytes(range(40)))
    chip.run(40 * OCTET_US)
    assert uart.lost == 8
    assert read(chip, UART) == 0x800  # the first octet, and that some were lost
    assert [read(chip, UART) for _ in range(31)] == list(range(1, 32))


def test_a_uart_that_is_off_hears_nothing(chip: Chip) -> None:
    chip.uarts[0].receive(b"abc")
    chip.run(1000)
    assert (chip.uarts[0].unheard, chip.uarts[0].lost) == (3, 0)


# -- flash


def flash_command(chip: Chip, octets: bytes, *, answers: int = 0) -> bytes:
    """As the boot ROM does it: chip select by hand, octet by octet through the SSI."""
    write(chip, SSI + 8, 1)
    write(chip, IO_QSPI_SS, 3 << 8)
    write(chip, IO_QSPI_SS, 2 << 8)
    answer = []
    for octet in octets + bytes(answers):
        write(chip, SSI + 0x60, octet)
        answer.append(read(chip, SSI + 0x60))
    write(chip, IO_QSPI_SS, 3 << 8)
    return bytes(answer[len(octets) :])


def erase(chip: Chip, address: int) -> None:
    flash_command(chip, b"\x06")
    flash_command(chip, b"\x20" + address.to_bytes(3))


def test_flash_work_takes_the_chips_time_and_the_processor_waits() -> None:
    chip = make_chip(COUNTS)
    chip.run(1000)
    erase(chip, FLASH - SECTOR)
    counted = read(chip, COUNT)
    assert counted > 1000
    chip.run(1000 + ERASE_US - 1)
    assert read(chip, COUNT) <= counted + 1
    chip.run(1000 + ERASE_US + 1000)
    assert read(chip, COUNT) > counted + 1000


def test_what_arrives_during_flash_work_has_the_fifo_alone() -> None:
    chip = make_chip(COUNTS)
    uart = open_uart(chip)
    erase(chip, FLASH - SECTOR)
    uart.receive(bytes(100))
    chip.run(ERASE_US)
    assert uart.lost == 100 - 32


def test_the_processor_sees_what_the_flash_holds_then(chip: Chip) -> None:
    erase(chip, FLASH - SECTOR)
    flash_command(chip, b"\x06")
    flash_command(chip, b"\x02" + (FLASH - SECTOR).to_bytes(3) + b"firm")
    assert read(chip, 0x10000000 + FLASH - SECTOR).to_bytes(4, "little") == b"firm"
    chip.run(ERASE_US + PROGRAM_US - 1)
    assert chip.sleeps_until_us == pytest.approx(ERASE_US + PROGRAM_US)


def test_nothing_is_written_without_write_enable(chip: Chip) -> None:
    flash_command(chip, b"\x20" + (FLASH - SECTOR).to_bytes(3))
    assert read(chip, 0x10000000 + FLASH - SECTOR) == 0


def test_the_flash_has_the_boards_unique_id(chip: Chip) -> None:
    assert flash_command(chip, b"\x4b" + bytes(4), answers=8) == bytes(range(8))


# -- the chip


def test_it_runs_up_to_a_moment_and_no_further() -> None:
    chip = make_chip(COUNTS)
    for until in (100.0, 100.5, 101.0, 5000.0):
        chip.run(until)
        assert until <= chip.now_us < until + 0.1


def test_a_processor_that_waits_says_until_when(chip: Chip) -> None:
    chip.run(10)
    assert chip.sleeps_until_us == float("inf")
    open_uart(chip).receive(b"ab")
    assert chip.sleeps_until_us == pytest.approx(10)
    chip.run(20)
    assert chip.sleeps_until_us == pytest.approx(10 + OCTET_US, rel=0.001)
    computes = make_chip(COUNTS)
    open_uart(computes).receive(b"ab")
    computes.run(20)
    assert computes.sleeps_until_us == computes.now_us


def test_the_watchdog_bites_one_that_is_not_fed() -> None:
    chip = make_chip(COUNTS)
    write(chip, WATCHDOG + 4, 2 * 1000)  # 1 ms: it counts two a microsecond
    write(chip, WATCHDOG, 1 << 30)
    chip.run(900)
    write(chip, WATCHDOG + 4, 2 * 1000)
    chip.run(1800)
    assert chip.resets == 0
    chip.run(5000)
    assert chip.resets == 1
    assert read(chip, WATCHDOG + 8) == 1  # by its timer


def test_a_reset_leaves_the_flash_and_clears_the_uart() -> None:
    chip = make_chip(COUNTS)
    uart = open_uart(chip)
    uart.receive(b"abc")
    chip.run(1000)
    erase(chip, FLASH - SECTOR)
    write(chip, 0x40010008, 0x1FFFC)  # PSM: all but the oscillators, as watchdog_reboot() has it
    write(chip, WATCHDOG, 1 << 31)
    chip.run(1100)
    assert chip.resets == 1
    assert not uart.enabled
    assert read(chip, 0x10000000 + FLASH - SECTOR) == 0xFFFFFFFF
    counted = read(chip, COUNT)
    chip.run(2100)
    assert read(chip, COUNT) > counted  # it runs


def test_its_chance_is_the_seeds() -> None:
    def bits(seed: int) -> list[int]:
        chip = make_chip(seed=seed)
        return [read(chip, ROSC + 0x1C) for _ in range(64)]

    assert bits(1) == bits(1) != bits(2)
    assert set(bits(1)) == {0, 1}


# -- UF2 files


def uf2_block(address: int, octets: bytes, flags: int = 0) -> bytes:
    head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, flags, address, len(octets), 0, 1, 0)
    return head + octets.ljust(476, b"\0") + struct.pack("<I", 0x0AB16F30)


def test_a_uf2_file_is_what_it_puts_into_flash() -> None:
    blocks = uf2_block(0x10000100, b"B" * 256) + uf2_block(0x10000000, b"A" * 256)
    assert read_uf2(blocks + uf2_block(0x10000200, b"C", flags=1)) == b"A" * 256 + b"B" * 256


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "nothing in it"),
        (b"#!/bin/sh\n", "no UF2 block at octet 0"),
        (uf2_block(0x10000000, b"A") + b"rest", "no UF2 block at octet 512"),
        (uf2_block(0x20000000, b"A"), "nothing in it"),
    ],
)
def test_what_is_no_uf2_file_is_refused(octets: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_uf2(octets)


# -- in lockstep


class Runner:
    """Stands in for a chip: notes how far it is run, and acts at given moments."""

    def __init__(self, kernel: Kernel, *, asleep: bool = False) -> None:
        self.kernel = kernel
        self.asleep = asleep
        self.now = kernel.now
        self.at: dict[int, Callable[[], None]] = {}
        self.stops: list[int] = []

    @property
    def sleeps_until(self) -> float:
        return min(self.at, default=1 << 40) if self.asleep else self.now

    def run_to(self, when: int) -> None:
        assert when >= self.now
        for moment in sorted(m for m in self.at if self.now <= m < when):
            self.at.pop(moment)()
        self.now = when
        self.stops.append(when)


def test_no_chip_runs_past_what_is_queued_or_the_hosts_turn() -> None:
    kernel = Kernel()
    lockstep = Lockstep(kernel)
    chips = [Runner(kernel), Runner(kernel)]
    for chip in chips:
        lockstep.join(chip)
    seen: list[list[int]] = []
    for when in (50, 51, 1234):
        kernel.at(when, lambda: seen.append([chip.now for chip in chips]))
    kernel.run_until_host_ready(2000)
    assert seen == [[50, 50], [51, 51], [1234, 1234]]
    assert [chip.now for chip in chips] == [2000, 2000]
    kernel.run_until_host_ready(2001)
    assert [chip.now for chip in chips] == [2001, 2001]


def test_a_chip_that_computes_is_never_further_ahead_than_anything_takes_to_reach_it() -> None:
    kernel = Kernel()
    chip = Runner(kernel)
    Lockstep(kernel).join(chip)
    kernel.run_until_host_ready(10_000)
    steps = [b - a for a, b in zip(chip.stops, chip.stops[1:], strict=False)]
    assert max(steps) == LOOKAHEAD_US


def test_what_one_chip_sends_reaches_another_at_its_microsecond() -> None:
    kernel = Kernel()
    lockstep = Lockstep(kernel)
    ping, pong = Runner(kernel), Runner(kernel, asleep=True)
    arrived: list[tuple[int, int]] = []
    for chip in (ping, pong):
        lockstep.join(chip)
    ping.at[77] = lambda: kernel.at(77 + 672, lambda: arrived.append((kernel.now, pong.now)))
    kernel.run_until_host_ready(5000)
    assert arrived == [(749, 749)]


def test_chips_that_all_sleep_are_let_sleep() -> None:
    kernel = Kernel()
    lockstep = Lockstep(kernel)
    chips = [Runner(kernel, asleep=True), Runner(kernel, asleep=True)]
    for chip in chips:
        lockstep.join(chip)
    kernel.run_until_host_ready(1_000_000)
    assert len(chips[0].stops) < 20
    assert chips[1].now == 1_000_000
