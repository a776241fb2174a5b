"""An emulated RP2040 as a board of a lab: wires, power, flash that fails. Its chip sleeps; tests write registers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from labs import OpenLab
from test_rp2040_chip import (
    OCTET_US,
    SECTOR,
    UART,
    erase,
    flash_command,
    open_uart,
    uf2_block,
    write,
)

from hanlab.bench.board import HAN, OFF_US, WAN
from hanlab.bench.flash import Effect
from hanlab.bench.kernel import BenchError
from hanlab.bench.rp2040.board import Rp2040Board
from hanlab.bench.rp2040.chip import FLASH, Chip
from hanlab.bench.uart import ADAPTER_LATENCY_US
from hanlab.lab import Lab

LAST = FLASH - SECTOR
"""Where the flash's last sector is, on which a new filesystem has nothing."""
UART1 = 0x40038000


@pytest.fixture
def lab(open_lab: OpenLab, tmp_path: Path) -> Lab:
    """Its CH is a chip that sleeps, and has been on for a millisecond."""
    path = tmp_path / "sleeps.uf2"
    path.write_bytes(uf2_block(0x10000000, b"\x30\xbf\xfd\xe7"))
    made = open_lab({"board": f"rp2040:{path}"})
    made.run(asyncio.sleep(0.001))
    return made


@pytest.fixture
def board(lab: Lab) -> Rp2040Board:
    found = lab.board(lab.hub)
    assert isinstance(found, Rp2040Board)
    return found


def chip_of(board: Rp2040Board) -> Chip:
    assert board.chip is not None
    return board.chip


# -- wires


def test_what_it_sends_reaches_the_host_when_it_has_come(lab: Lab, board: Rp2040Board) -> None:
    """Three octets without a gap, then the adapter's millisecond."""
    open_uart(chip_of(board))
    port = lab.desk.ports["hub"]
    began = lab.clock_us
    for octet in b"abc":
        write(chip_of(board), UART, octet)

    async def read() -> tuple[bytes, int]:
        return await port.read(), lab.clock_us

    octets, when = lab.run(read())
    assert octets == b"abc"
    assert when - began == pytest.approx(3 * OCTET_US + ADAPTER_LATENCY_US, abs=2)


def test_what_the_host_sends_arrives_octet_by_octet(lab: Lab, board: Rp2040Board) -> None:
    uart = open_uart(chip_of(board))
    lab.desk.ports["hub"].write(bytes(100))
    lab.run(asyncio.sleep((ADAPTER_LATENCY_US + 40.5 * OCTET_US) / 1e6))
    assert uart.lost == board.lost == 40 - 32
    lab.run(asyncio.sleep(0.1))
    assert board.lost == 100 - 32
    lab.power_cycle(lab.hub)
    lab.run(asyncio.sleep(OFF_US / 1e6 + 0.001))
    assert chip_of(board).uarts[0].lost == 0
    assert board.lost == 100 - 32


def test_its_second_uart_is_the_han_and_a_frame_ends_with_a_zero(
    lab: Lab, board: Rp2040Board
) -> None:
    taken: list[tuple[int, bytes]] = []
    board.connect(HAN, lambda when, octets: taken.append((when, octets)))
    lab.power_cycle(lab.hub)
    lab.run(asyncio.sleep(OFF_US / 1e6 + 0.001))
    chip = chip_of(board)
    for offset, value in ((0x24, 26), (0x28, 3), (0x2C, 0x70), (0x30, 0x301)):
        write(chip, UART1 + offset, value)
    began = lab.clock_us
    for octet in b"ab\0cd":
        write(chip, UART1, octet)
    lab.run(asyncio.sleep(0.001))
    assert [octets for _, octets in taken] == [b"ab\0"]
    assert taken[0][0] - began == pytest.approx(3 * OCTET_US, abs=2)
    board.arrive(HAN, b"x")
    board.arrive(WAN, b"")
    lab.run(asyncio.sleep(0.001))
    assert chip.rp2040.read_uint32(UART1) == ord("x")


# -- power and flash


def test_the_power_fails_in_the_middle_of_an_erase(lab: Lab, board: Rp2040Board) -> None:
    before = chip_of(board)
    board.flash.fault = lambda operation: Effect.CUT_TORN
    erase(before, FLASH - board.flash.facts.filesystem)
    board.flash.fault = None
    half_us = board.flash.facts.erase_us // 2
    lab.run(asyncio.sleep((half_us - 2) / 1e6))
    assert board.chip is before
    lab.run(asyncio.sleep(4 / 1e6))
    assert not board.running
    lab.run(asyncio.sleep((OFF_US - 10) / 1e6))
    assert not board.running
    lab.run(asyncio.sleep(20 / 1e6))
    assert chip_of(board) is not before
    left = board.flash.read(0, 16)
    start = 0x10000000 + FLASH - board.flash.facts.filesystem
    assert bytes(chip_of(board).rp2040.read_uint8(start + n) for n in range(16)) == left


def test_a_flash_that_does_nothing_takes_its_time_all_the_same(
    lab: Lab, board: Rp2040Board
) -> None:
    chip = chip_of(board)
    start = FLASH - board.flash.facts.filesystem
    content = board.flash.read(0, 16)
    board.flash.fault = lambda operation: Effect.REFUSED
    erase(chip, start)
    board.flash.fault = None
    assert chip.sleeps_until_us == pytest.approx(chip.now_us + board.flash.facts.erase_us)
    assert board.flash.read(0, 16) == content
    assert bytes(chip.rp2040.read_uint8(0x10000000 + start + n) for n in range(16)) == content


def test_octets_programmed_where_nothing_was_erased_fail_the_run(
    lab: Lab, board: Rp2040Board
) -> None:
    chip = chip_of(board)
    address = LAST.to_bytes(3)
    for octets in (b"\x00", b"\xff"):
        flash_command(chip, b"\x06")
        flash_command(chip, b"\x02" + address + octets)
    with pytest.raises(BenchError, match="that sector was not erased before"):
        lab.run(asyncio.sleep(0.1))
