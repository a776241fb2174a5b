"""A board that is an emulated RP2040: what is on its UARTs, what its flash holds, its power."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hanlab.bench.board import HAN, OFF_US, WAN, BoardError, Provision, Transmit, last_lines
from hanlab.bench.flash import FlashRefused, NorFlash, PowerCut
from hanlab.bench.kernel import FOREVER, BenchError, Kernel
from hanlab.bench.rp2040.chip import Chip
from hanlab.bench.rp2040.filesystem import board_files, install
from hanlab.bench.rp2040.lockstep import Lockstep
from hanlab.bench.starts import Starts
from hanlab.boards.data import Board
from hanlab.files import board_log, file_stem

KIND: Final = "+rp2040"
"""In the names of its flash files, and in no board's name: another layout than that of a board in a VM."""
_DELIMITER: Final = 0
"""The octet that ends a frame on the HAN's UART (COBS)."""


class Rp2040Board:
    """One board on the bench, as `BenchBoard` says. `code` is what its UF2 puts into flash."""

    def __init__(
        self,
        kernel: Kernel,
        lockstep: Lockstep,
        name: str,
        facts: Board,
        code: bytes,
        folder: Path,
        provision: Provision,
    ) -> None:
        self.kernel = kernel
        self.name = name
        # Its UARTs have their own interrupt levels: what arrives is for them octet by octet.
        uart = dataclasses.replace(facts.uart, irq_level=1, irq_idle_bits=0)
        self.facts = dataclasses.replace(facts, uart=uart)
        self.home: int | None = None
        self.on_death: Callable[[BoardError], bool] | None = None
        stem = f"{file_stem(name)}{KIND}"
        path = folder / f"{stem}.flash"
        self._starts = Starts(folder, stem, is_new=not path.exists())
        install(path, facts.flash, board_files(provision.config, facts.chip, code))
        self.flash = NorFlash(path, facts.flash)
        self._lockstep = lockstep
        self._code = code
        self._provision = provision
        self._log = board_log(folder, name)
        self._log.unlink(missing_ok=True)
        self._wires: dict[int, Transmit] = {}
        self._links = {facts.uart.wan.uart: WAN, facts.uart.han.uart: HAN}
        self._numbers = {link: number for number, link in self._links.items()}
        self.chip: Chip | None = None
        """None: it is off."""
        self._began = 0  # when it was switched on (µs)
        self._power = 0  # which time of being switched on or off this is
        self._error: BenchError | None = None
        self._lost = 0
        kernel.explain_with(self.last_output)

    # -- wires

    def connect(self, link: int, transmit: Transmit) -> None:
        self._wires[link] = transmit

    def arrive(self, link: int, octets: bytes) -> None:
        if self.chip:
            self.chip.uarts[self._numbers[link]].receive(octets)

    def number_of(self, link: int) -> int:
        """Which of the chip's UARTs that link is."""
        return self._numbers[link]

    @property
    def lost(self) -> int:
        return self._lost + (sum(uart.lost for uart in self.chip.uarts) if self.chip else 0)

    # -- power

    @property
    def running(self) -> bool:
        return self.chip is not None

    @property
    def unique_id(self) -> bytes:
        return self._provision.unique_id

    @property
    def pid(self) -> int | None:
        return None

    @property
    def lifeline(self) -> socket.socket | None:
        return None

    @property
    def resets(self) -> int:
        """How often the chip has reset itself since it was switched on."""
        return self.chip.resets if self.chip else 0

    def power_on(self) -> None:
        self._start_in(0)

    def power_off(self) -> None:
        self._stop()

    def cut_power(self, off_us: int = OFF_US) -> None:
        self._stop()
        self._start_in(off_us)

    def close(self) -> None:
        self._stop()
        self.flash.close()

    def gone(self) -> None:
        """Never asked: it has no process."""

    def _start_in(self, us: int) -> None:
        power = self._power = self._power + 1

        def start() -> None:
            if self._power == power:
                self._start()

        self.kernel.at(self.kernel.now + us, start, None)

    def _start(self) -> None:
        entropy = self.kernel.random(f"board {self.name}, start {self._starts.next()}")
        self._began = self.kernel.now
        chip = Chip(
            self._code,
            _Flash(self),
            self.flash.facts.filesystem,
            self.flash.facts.sector,
            self._provision.unique_id,
            entropy,
            self._print,
        )
        self.chip = chip
        for number, link in self._links.items():
            if link in self._wires:
                chip.uarts[number].sent = _Sender(self, chip, link).take
        self._lockstep.join(self)

    def _stop(self) -> None:
        self._power += 1
        if self.chip:
            self._lost = self.lost
            self.chip = None
            self._lockstep.leave(self)

    # -- in lockstep

    @property
    def sleeps_until(self) -> float:
        assert self.chip is not None
        return self._began + self.chip.sleeps_until_us

    def run_to(self, when: int) -> None:
        if self.chip is None:
            return
        self.chip.run(when - self._began)
        if self._error:
            error, self._error = self._error, None
            raise error

    def sent(self, link: int, octets: bytes, octet_ns: float) -> None:
        """A run of octets has gone out, the last one just now."""
        assert self.chip is not None
        end = self._began + self.chip.now_us
        start = end - len(octets) * octet_ns / 1e3 if link == WAN else end
        self._wires[link](round(start), octets)

    # -- its flash

    def erase(self, address: int) -> int:
        return self._flash_work(lambda: self.flash.erase(address))

    def program(self, address: int, octets: bytes) -> int:
        return self._flash_work(lambda: self.flash.program(address, octets))

    def _flash_work(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except FlashRefused as e:
            return e.took_us  # what the chip's commands cannot say: MicroPython reads it back
        except PowerCut as e:
            assert self.chip is not None
            fails = round(self._began + self.chip.now_us) + e.took_us
            self.kernel.at(max(fails, self.kernel.now), self._power_fails(self._power), None)
        except BenchError as e:
            self._error = e
        return FOREVER // 1000

    def _power_fails(self, power: int) -> Callable[[], None]:
        def fail() -> None:
            if self._power == power:
                self.cut_power()

        return fail

    # -- what it prints

    def _print(self, octets: bytes) -> None:
        with self._log.open("ab") as log:
            log.write(octets.replace(b"\r\n", b"\n"))

    def last_output(self) -> str:
        return last_lines(self.name, self._log)


class _Flash:
    """The chip's view of the board's flash."""

    def __init__(self, board: Rp2040Board) -> None:
        self._board = board
        self.erase = board.erase
        self.program = board.program

    def read(self, address: int, length: int) -> bytes:
        return self._board.flash.read(address, length)


class _Sender:
    """Makes of a UART's octets what the wires take: on the HAN a frame, on the WAN what goes out without a gap."""

    def __init__(self, board: Rp2040Board, chip: Chip, link: int) -> None:
        self._board = board
        self._link = link
        self._uart = chip.uarts[board.number_of(link)]
        self._octets = bytearray()

    def take(self, octet: int) -> None:
        self._octets.append(octet)
        whole = octet == _DELIMITER if self._link == HAN else not self._uart.is_sending
        if whole:
            octets = bytes(self._octets)
            self._octets.clear()
            self._board.sent(self._link, octets, self._uart.octet_ns)
