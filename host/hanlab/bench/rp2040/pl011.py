"""The RP2040's UART, an ARM PL011 (RP2040 datasheet, 4.2): FIFOs, interrupts, octets that take their time.

`rp2040py` has one that moves octets in no time and whose transmit interrupt never ends, on which
MicroPython's `machine.UART` hangs; this one takes its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from rp2040py.peripherals.uart import RPUART, IUARTDMAChannels
from rp2040py.rp2040 import RP2040

FIFO: Final = 32
"""Octets of each FIFO."""
_LEVELS: Final = (4, 8, 16, 24, 28)
"""Octets at which a FIFO interrupts, by its field of IFLS: 1/8, 1/4, 1/2, 3/4, 7/8."""
_HALF: Final = 0x12
"""IFLS after a reset: both at 1/2."""
_TIMEOUT_BITS: Final = 32
"""Bit times without an octet after which what is in the receive FIFO raises an interrupt."""
_DEFAULT_NS: Final = 10 * 1e9 / 115_200

_DR, _RSR, _FR, _IFLS, _RIS, _MIS, _ICR = 0x00, 0x04, 0x18, 0x34, 0x3C, 0x40, 0x44
_RX, _TX, _RT, _OE = 1 << 4, 1 << 5, 1 << 6, 1 << 10
"""Interrupts: receive level, transmit level, receive time-out, overrun."""
_DR_OVERRUN: Final = 1 << 11


class Pl011(RPUART):
    """`receive` puts octets on its RX wire; `sent` gets each octet when its stop bit has gone out.

    All times are the chip's clock, `rp2040.clock`.
    """

    def __init__(self, rp2040: RP2040, name: str, irq: int, dreq: IUARTDMAChannels) -> None:
        super().__init__(rp2040, name, irq, dreq)
        self.sent: Callable[[int], None] = _nobody
        self.lost = 0
        """Octets that found the receive FIFO full."""
        self.unheard = 0
        """Octets that came while the UART was off."""
        self._clock = rp2040.clock
        self._wire: deque[int] = deque()
        self._wire_free_ns = 0.0
        self._received: deque[int] = deque()
        self._waiting: deque[int] = deque()
        self._shifting: int | None = None
        self._overrun = False
        self._ifls = _HALF
        self._landing = self._clock.create_alarm(self._land)
        self._timeout = self._clock.create_alarm(self._time_out)
        self._shifted = self._clock.create_alarm(self._octet_is_out)

    def reset(self) -> None:
        """Registers and FIFOs as after a reset; what is on the wire still comes."""
        super().reset()
        self._received.clear()
        self._waiting.clear()
        self._shifting = None
        self._overrun = False
        self._ifls = _HALF
        self._timeout.cancel()
        self._shifted.cancel()

    # -- the wire

    def receive(self, octets: bytes) -> None:
        """Octets on the RX wire from now on, one after the other: the first has arrived if the wire was idle."""
        idle = not self._wire
        self._wire.extend(octets)
        if idle and self._wire:
            self._landing.schedule(max(0.0, self._wire_free_ns - self._clock.nanos))

    @property
    def is_sending(self) -> bool:
        """An octet is going out."""
        return self._shifting is not None

    @property
    def octet_ns(self) -> float:
        """How long (ns) an octet takes: start bit, data, parity, stop bits."""
        lcr = self._line_ctrl_register
        bits = 1 + self.word_length + bool(lcr & 2) + (2 if lcr & 8 else 1)
        return bits * self._bit_ns if self.baud_divider else _DEFAULT_NS

    @property
    def _bit_ns(self) -> float:
        return 16 * self.baud_divider * 1e9 / self.rp2040.clk_peri

    def _land(self) -> None:
        octet = self._wire.popleft()
        self._wire_free_ns = self._clock.nanos + self.octet_ns
        if self._wire:
            self._landing.schedule(self.octet_ns)
        if not (self.enabled and self.rx_enabled):
            self.unheard += 1
            return
        if len(self._received) >= self._depth:
            self.lost += 1
            self._overrun = True
            self._interrupt_status |= _OE
        else:
            self._received.append(octet)
            if len(self._received) >= self._receive_level:
                self._interrupt_status |= _RX
        self._timeout.schedule(_TIMEOUT_BITS * self._bit_ns)
        self._tell()

    def _time_out(self) -> None:
        if self._received:
            self._interrupt_status |= _RT
            self._tell()

    def _shift(self) -> None:
        if self._shifting is None and self._waiting and self.enabled and self.tx_enabled:
            self._shifting = self._waiting.popleft()
            self._shifted.schedule(self.octet_ns)
            if len(self._waiting) == self._transmit_level:
                self._interrupt_status |= _TX

    def _octet_is_out(self) -> None:
        octet, self._shifting = self._shifting, None
        assert octet is not None
        self._shift()
        self._tell()
        self.sent(octet)

    # -- registers

    @property
    def _depth(self) -> int:
        return FIFO if self.fifos_enabled else 1

    @property
    def _receive_level(self) -> int:
        return _level(self._ifls >> 3) if self.fifos_enabled else 1

    @property
    def _transmit_level(self) -> int:
        return _level(self._ifls) if self.fifos_enabled else 0

    @property
    def flags(self) -> int:
        return (
            (1 << 7 if not self._waiting else 0)
            | (1 << 6 if len(self._received) >= self._depth else 0)
            | (1 << 5 if len(self._waiting) >= self._depth else 0)
            | (1 << 4 if not self._received else 0)
            | (1 << 3 if self._waiting or self.is_sending else 0)
        )

    def check_interrupts(self) -> None:
        self._tell()

    def _tell(self) -> None:
        self.rp2040.set_interrupt(self.irq, bool(self._interrupt_status & self._interrupt_mask))

    def read_uint32(self, offset: int) -> int:
        if offset == _DR:
            return self._read_octet()
        if offset == _RSR:
            return 8 if self._overrun else 0
        if offset == _IFLS:
            return self._ifls
        return super().read_uint32(offset)

    def _read_octet(self) -> int:
        if not self._received:
            return 0
        octet = self._received.popleft()
        if self._overrun:
            octet |= _DR_OVERRUN
            self._overrun = False
        if len(self._received) < self._receive_level:
            self._interrupt_status &= ~_RX
        if self._received:
            self._timeout.schedule(_TIMEOUT_BITS * self._bit_ns)
        else:
            self._interrupt_status &= ~_RT
            self._timeout.cancel()
        self._tell()
        return octet

    def write_uint32_atomic(self, offset: int, value: int, atomic_type: int) -> None:
        if offset in (_DR, _ICR):  # reading them first would change them
            self.raw_write_value = value
            self.write_uint32(offset, value)
        else:
            super().write_uint32_atomic(offset, value, atomic_type)

    def write_uint32(self, offset: int, value: int) -> None:
        if offset == _DR:
            if len(self._waiting) < self._depth:
                self._waiting.append(value & 0xFF)
            self._shift()
            if len(self._waiting) > self._transmit_level:
                self._interrupt_status &= ~_TX
            self._tell()
        elif offset == _RSR:
            self._overrun = False
        elif offset == _IFLS:
            self._ifls = value & 0x3F
        elif offset == _ICR:
            self._interrupt_status &= ~value
            if value & _RT and self._received:
                self._timeout.schedule(_TIMEOUT_BITS * self._bit_ns)
            self._tell()
        elif offset not in (_FR, _RIS, _MIS):
            super().write_uint32(offset, value)
            self._shift()


def _level(field: int) -> int:
    return _LEVELS[min(field & 7, len(_LEVELS) - 1)]


def _nobody(octet: int) -> None:
    pass
