"""An emulated board: a real MicroPython VM in lockstep with the bench.

The VM (boards/ports/unix.py) runs until no task is ready, sends what it has to send and when it wants
to wake, and blocks. The bench answers when that time has come or something has arrived, and says what
time it is. So a board costs no time on the bench's clock except what its chip is known to take: flash
work takes the chip's milliseconds, and where that holds the interrupts, UART octets are lost meanwhile.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from hanlab.bench.flash import FlashRefused, NorFlash, PowerCut
from hanlab.bench.kernel import BenchError, Kernel
from hanlab.bench.starts import Starts
from hanlab.boards.compiled import runnable
from hanlab.boards.data import Board
from hanlab.boards.vm import Vm
from hanlab.files import board_log, file_stem
from hanlab.resources import boards_dir, firmware_dir

WAN: Final = 0
HAN: Final = 1
BLE: Final = 2
"""What the board's radio is told, and tells: boards/ports/bluetooth.py has the words."""

_HEAD: Final = struct.Struct("<BII")
_REPLY: Final = struct.Struct("<QI")
_ARRIVAL: Final = struct.Struct("<BH")

_HUNG_S: Final = 30.0
"""Wall time after which a VM that computes without ever waiting counts as hung."""

OFF_US: Final = 100_000
"""How long a board is off when its power fails (µs)."""

_CODE: Final = 96 * 1024
"""Octets of the compiled firmware on a heap with 32-bit objects, the CH's: 98,200 were seen."""

_RADIO_CODE: Final = 4096
"""Octets of boards/ports/bluetooth.py there, which a chip has in C: 3,984 were seen."""

_NO_FILESYSTEM: Final = 3
"""Exit code of boards/ports/unix.py where the flash holds something, but no littlefs."""

Transmit = Callable[[int, bytes], None]
"""Takes what a board sent: the time (µs) and the octets."""


class BoardError(BenchError):
    """A board died or hung; shows its last output."""


@dataclass(frozen=True)
class Provision:
    """What makes a board this board: its configuration (board.json on its flash) and its id."""

    config: dict[str, Any] = field(repr=False)  # it has keys in it
    unique_id: bytes


class EmulatedBoard:
    """One board on the bench. `power_on` starts it, `close` ends it; its flash file stays."""

    def __init__(
        self,
        kernel: Kernel,
        name: str,
        facts: Board,
        vm: Vm,
        folder: Path,
        provision: Provision,
        firmware: Path | None = None,
        *,
        on_cable: bool = False,
    ) -> None:
        """`on_cable`: its WAN and its HAN share the link `WAN`."""
        self.kernel = kernel
        self.name = name
        self.facts = facts
        stem = file_stem(name)
        flash = folder / f"{stem}.flash"
        self._starts = Starts(folder, stem, is_new=not flash.exists())
        self.flash = NorFlash(flash, facts.flash)
        self.lost = 0
        """UART octets lost because flash work held the interrupts (the hardware FIFO was full)."""
        self.steps = 0
        self.on_death: Callable[[BoardError], bool] | None = None
        """Asked when the VM has died or hangs: whether it starts again, as after a power failure."""
        self._vm = vm
        self._firmware = firmware or runnable(firmware_dir(), vm)
        self._on_cable = on_cable
        # USB waits where a UART's octets come on and on
        self._fifo = 1 << 30 if on_cable and facts.cable.kind == "usb" else facts.uart.fifo
        self._provision = provision
        self._ble = provision.config.get("port", {}).get("ble")
        self._log = board_log(folder, name)
        self._log.unlink(missing_ok=True)
        self.home: int | None = None
        """The PAN whose events its own are; None: it is on none, or who knows where."""
        self._wires: dict[int, Transmit] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._local = 0  # how far this board has come (µs); never before kernel.now while it runs
        self._step_at: int | None = None
        self._inbox: list[bytes] = []
        self._deaf: deque[tuple[int, int]] = deque()  # flash work with the interrupts off: from, to
        self._held: dict[int, bytearray] = {}  # what the UARTs' hardware FIFOs hold meanwhile
        kernel.explain_with(self.last_output)

    def connect(self, link: int, transmit: Transmit) -> None:
        """Plug a wire into one of the board's links; `transmit` takes what the board sends."""
        self._wires[link] = transmit

    # -- power

    @property
    def running(self) -> bool:
        """It is switched on and its firmware runs (it may be busy): not off, nor starting."""
        return self._process is not None

    @property
    def unique_id(self) -> bytes:
        """The board's own, its EUI-64 (8 octets, most significant first)."""
        return self._provision.unique_id

    @property
    def pid(self) -> int | None:
        """The VM's process; None: it is off."""
        return self._process.pid if self._process else None

    @property
    def lifeline(self) -> socket.socket | None:
        """Readable between two steps only if the VM has ended: then `gone` says how."""
        return self._socket

    def power_on(self) -> None:
        """Start the VM; it boots for as long as the board does."""
        self._start_at(self.kernel.now + self.facts.boot.time_us)

    def power_off(self) -> None:
        """Cut the power: the VM ends at once, wherever it is. `power_on` starts it again."""
        self._stop()

    def cut_power(self, off_us: int = OFF_US) -> None:
        """The power fails now, wherever the board is, and comes back after `off_us`."""
        self._stop()
        self._start_at(self.kernel.now + off_us + self.facts.boot.time_us)

    def close(self) -> None:
        """Power off for good; the flash file stays."""
        self._stop()
        self.flash.close()

    def _stop(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._inbox.clear()
        self._held.clear()
        self._deaf.clear()
        self._step_at = None

    def _start_at(self, when: int) -> None:
        self._local = when
        self._step_at = when
        self.kernel.at(when, lambda: self._boot(when), self.home)

    def _boot(self, when: int) -> None:
        if self._step_at != when:
            return  # switched off meanwhile
        ours, theirs = socket.socketpair()
        ours.settimeout(_HUNG_S)
        self._socket = ours
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *self._vm.command,
                        "-X",
                        f"heapsize={self._vm.heap_argument(self._heap())}",
                        str(boards_dir() / "ports" / "unix.py"),
                        str(theirs.fileno()),
                        str(self._firmware),
                    ],
                    pass_fds=(theirs.fileno(),),
                    process_group=0,  # a terminal's Ctrl-C is for hanlab, which then ends the board
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        except OSError as e:
            raise BoardError(
                f"board {self.name}: {self._vm.command[0]} does not start: {e.strerror}"
            ) from None
        finally:
            theirs.close()
        hello = json.dumps(
            {
                "seed": self._entropy(),
                "id": self._provision.unique_id.hex(),
                "rxbuf": [self.facts.uart.rxbuf, self.facts.uart.han_rxbuf],
                "cable": self._on_cable,
                "smp": [self.facts.smp.buf_size, self.facts.smp.buf_count],
                **({"ble": self._ble} if self._ble else {}),
                "flash": {
                    "path": str(self.flash.path),
                    "size": self.flash.facts.filesystem,
                    "sector": self.flash.facts.sector,
                },
                "config": self._provision.config,
            },
            sort_keys=True,
        ).encode()
        self._run(hello)

    def _entropy(self) -> int:
        """What the board's random numbers come from (30 bits): by the lab's seed, and fresh each time it starts."""
        start = self._starts.next()
        return self.kernel.random(f"board {self.name}, start {start}").getrandbits(30)

    def _heap(self) -> int:
        """The VM's heap (octets): the board's, and what the chip has elsewhere, rings or the firmware's code."""
        uart, memory = self.facts.uart, self.facts.memory
        rings = 0 if uart.rxbuf_in_heap else uart.rxbuf + uart.han_rxbuf
        radio = _RADIO_CODE - self.facts.radio.ble_heap if self._ble else 0
        return memory.heap + radio + rings + (_CODE if memory.frozen else 0)

    # -- what arrives

    def arrive(self, link: int, octets: bytes) -> None:
        """UART octets reach the board now: an interrupt takes them, or flash work is in the way."""
        if self._process is None:
            return
        now = self.kernel.now
        while self._deaf and self._deaf[0][1] <= now:
            self._deaf.popleft()
        if self._deaf and self._deaf[0][0] <= now:
            held = self._held.get(link)
            if held is None:
                held = self._held[link] = bytearray()
                self.kernel.at(self._deaf[0][1], lambda: self._hear_again(link), self.home)
            room = self._fifo - len(held)
            held += octets[:room]
            self.lost += max(0, len(octets) - room)
        else:
            self.deliver(link, octets)

    def _hear_again(self, link: int) -> None:
        held = self._held.pop(link, None)
        if held:
            self.arrive(link, bytes(held))  # the next flash operation may have begun already

    def deliver(self, link: int, octets: bytes) -> None:
        """Hand octets to the firmware as soon as it runs again."""
        if self._process is None:
            return
        self._inbox.append(_ARRIVAL.pack(link, len(octets)) + octets)
        self._wake_at(max(self.kernel.now, self._local))

    def _wake_at(self, when: int) -> None:
        if self._step_at is not None and self._step_at <= when:
            return
        self._step_at = when
        self.kernel.at(when, lambda: self._step(when), self.home)

    def _step(self, when: int) -> None:
        if self._step_at != when or self._process is None:
            return  # an earlier step took over
        self._local = when
        body = b"".join(self._inbox)
        self._inbox.clear()
        self._run(body)

    # -- lockstep

    def _run(self, body: bytes) -> None:
        """Let the VM run from now until it waits again; if it dies, `on_death` decides."""
        self.steps += 1
        self._step_at = None
        try:
            self._send(_REPLY.pack(self._local, len(body)) + body)
        except BoardError as e:
            self._dead(e)
        else:
            self.kernel.compute(partial(self._listen, self._socket))

    def _listen(self, link: socket.socket | None) -> None:
        """Take what the VM did, until it waits."""
        if link is not self._socket:
            return  # switched off meanwhile
        try:
            self._converse()
        except BoardError as e:
            self._dead(e)

    def gone(self) -> None:
        """The VM has ended between two steps, as its `lifeline` says; `on_death` decides.

        Raises:
            BoardError: it does not start again.
        """
        self._dead(self.died())

    def _dead(self, error: BoardError) -> None:
        if self.on_death is None or not self.on_death(error):
            raise error
        self.cut_power()

    def _converse(self) -> None:
        """Do what the VM asks for, until it waits."""
        deadline = time.monotonic() + _HUNG_S
        received = b""
        at = 0
        while True:
            while len(received) - at < _HEAD.size:
                received, at = received[at:] + self._receive(deadline), 0
            kind, argument, length = _HEAD.unpack_from(received, at)
            while len(received) - at < _HEAD.size + length:
                received, at = received[at:] + self._receive(deadline), 0
            octets = received[at + _HEAD.size : at + _HEAD.size + length]
            at += _HEAD.size + length
            match kind:
                case 0x57:  # W
                    if argument:
                        self._wake_at((self._local // 1000 + argument - 1) * 1000)
                    return
                case 0x54:  # T
                    if argument in self._wires:
                        self._wires[argument](self._local, octets)
                case 0x45 | 0x50:  # E, P
                    try:
                        if kind == 0x45:
                            self._busy(self.flash.erase(argument))
                        else:
                            self._busy(self.flash.program(argument, octets))
                    except FlashRefused as e:
                        self._busy(e.took_us, errno.EIO)
                    except PowerCut as e:
                        self._stop()
                        self._start_at(self._local + e.took_us + OFF_US + self.facts.boot.time_us)
                        return
                case 0x58:  # X
                    self._stop()
                    self._start_at(self._local + self.facts.boot.time_us)
                    return
                case _:
                    raise BoardError(f"board {self.name} sent an unknown message {kind:#x}")

    def _busy(self, duration: int, status: int = 0) -> None:
        if self.facts.flash.stops_uart:
            self._deaf.append((self._local, self._local + duration))
        self._local += duration
        self._send(_REPLY.pack(self._local, status))

    def _send(self, octets: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.sendall(octets)
        except OSError:
            raise self.died() from None

    def _receive(self, deadline: float) -> bytes:
        assert self._socket is not None
        try:
            got = self._socket.recv(65536)
            if time.monotonic() > deadline:  # it sends on and on, and never waits
                raise TimeoutError
        except TimeoutError:
            raise BoardError(
                f"board {self.name} has computed for {_HUNG_S:.0f} s without waiting: hung\n"
                + self.last_output()
            ) from None
        except OSError:
            got = b""
        if not got:
            raise self.died()
        return got

    def died(self) -> BoardError:
        """The error for a VM that ended by itself."""
        code: int | str = "?"
        if self._process:
            try:
                code = self._process.wait(timeout=_HUNG_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = f"none after {_HUNG_S:.0f} s"
        self._process = None
        if code == _NO_FILESYSTEM:
            return BoardError(
                f"board {self.name} ({self.facts.name}): {self.flash.path} holds no filesystem that "
                "can be read",
                next_step=f"move {self.flash.path} aside to begin with an empty board",
            )
        return BoardError(
            f"board {self.name} ({self.facts.name}) died at {self._local / 1e6:.6f} s of bench time, "
            f"exit code {code}\n{self.last_output()}"
        )

    def last_output(self) -> str:
        """The board's name and the last lines that its firmware printed."""
        return last_lines(self.name, self._log)


def last_lines(name: str, log: Path) -> str:
    """A board's name and the last lines that its firmware printed."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    shown = "\n".join(f"    {line}" for line in lines[-12:]) or "    (it printed nothing)"
    return f"  board {name} printed last:\n{shown}"
