"""An emulated RP2040 whose USB is at this computer: each of its CDC interfaces is a PTY, as /dev/ttyACM0 would be.

It is never quicker than the wall clock, and a good deal slower while it computes: `now_us` is its own time.
"""

from __future__ import annotations

import os
import pty
import random
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rp2040py.usb.interfaces import (
    DataDirection,
    DescriptorType,
    ISetupPacketParams,
    SetupRecipient,
    SetupType,
)
from rp2040py.usb.setup import (
    create_setup_packet,
    get_descriptor_packet,
    set_device_address_packet,
    set_device_configuration_packet,
)

from hanlab.bench.flash import NorFlash
from hanlab.bench.rp2040.chip import Chip, read_uf2
from hanlab.boards.data import load_board

SLICE_US: Final = 500
_PULLUP: Final = 1 << 16
"""In SIE_CTRL: the device is on the bus (RP2040 datasheet 4.1.4)."""
_CONFIG: Final = 9
_LINE_STATE: Final = 0x22
_ON: Final = 3
"""DTR and RTS."""


@dataclass
class Interface:
    """A CDC interface: its numbers on the bus, and the PTY behind which it is."""

    control: int
    out: int = -1
    in_: int = -1
    to_chip: bytearray = field(default_factory=bytearray)
    armed: list[int] = field(default_factory=list)
    """How many octets the chip takes next."""


class UsbHost:
    """Enumerates whatever CDC interfaces there are, again after each disconnection."""

    def __init__(self, usb: Any, received: Callable[[int, bytes], None]) -> None:
        self.interfaces: list[Interface] = []
        self.ready = False
        self._usb = usb
        self._received = received
        self._pullup = False
        self._descriptors = bytearray()
        self._length = 0
        self._todo: list[bytes] = []
        usb.on_usb_enabled = None
        usb.on_reset_received = lambda: usb.send_setup_packet(set_device_address_packet(1))
        usb.on_endpoint_write = self._written
        usb.on_endpoint_read = self._read
        usb.on_reset = self._forget
        stock = usb._handle_sie_ctrl_write

        def sie_ctrl(value: int) -> None:
            stock(value)
            if bool(value & _PULLUP) != self._pullup:
                self._forget()
                self._pullup = bool(value & _PULLUP)
                if self._pullup:
                    usb.reset_device()

        usb._handle_sie_ctrl_write = sie_ctrl

    def _forget(self) -> None:
        self._pullup = False
        self.ready = False
        self.interfaces = []
        self._descriptors.clear()
        self._length = 0
        self._todo.clear()

    def _written(self, endpoint: int, octets: bytes) -> None:
        if endpoint == 0:
            self._control(bytes(octets))
            return
        for number, interface in enumerate(self.interfaces):
            if interface.in_ == endpoint and octets:
                self._received(number, bytes(octets))

    def _control(self, octets: bytes) -> None:
        if not octets:
            if not self._length:
                self._usb.send_setup_packet(
                    get_descriptor_packet(DescriptorType.CONFIGRATION, _CONFIG)
                )
            elif self._todo:
                self._usb.send_setup_packet(self._todo.pop(0))
            else:
                self.ready = bool(self.interfaces)
            return
        if not self._length:
            self._length = int.from_bytes(octets[2:4], "little")
            self._usb.send_setup_packet(
                get_descriptor_packet(DescriptorType.CONFIGRATION, self._length)
            )
            return
        self._descriptors += octets
        if len(self._descriptors) == self._length:
            self.interfaces = _interfaces(bytes(self._descriptors))
            self._todo = [_line_state(interface.control) for interface in self.interfaces]
            self._usb.send_setup_packet(set_device_configuration_packet(1))

    def _read(self, endpoint: int, size: int) -> None:
        for interface in self.interfaces:
            if interface.out == endpoint:
                interface.armed.append(size)

    def feed(self) -> None:
        """Hand over what is there for the chip, where it takes something."""
        for interface in self.interfaces:
            if self.ready and interface.armed and interface.to_chip:
                size = interface.armed.pop(0)
                self._usb.endpoint_read_done(interface.out, bytes(interface.to_chip[:size]))
                del interface.to_chip[:size]


def _interfaces(descriptors: bytes) -> list[Interface]:
    found: list[Interface] = []
    at = 0
    data = False
    while at < len(descriptors):
        length, kind = descriptors[at : at + 2]
        if kind == DescriptorType.INTERFACE:
            data = descriptors[at + 5] == 0x0A
            if descriptors[at + 5] == 0x02:
                found.append(Interface(descriptors[at + 2]))
        elif kind == DescriptorType.ENDPOINT and data:
            address = descriptors[at + 2]
            if address & 0x80:
                found[-1].in_ = address & 0xF
            else:
                found[-1].out = address
        at += length
    return found


def _line_state(interface: int) -> bytes:
    return bytes(
        create_setup_packet(
            ISetupPacketParams(
                data_direction=DataDirection.HOST_TO_DEVICE,
                type=SetupType.CLASS,
                recipient=SetupRecipient.INTERFACE,
                b_request=_LINE_STATE,
                w_value=_ON,
                w_index=interface,
                w_length=0,
            )
        )
    )


class UsbPico:
    """A Raspberry Pi Pico in a thread of its own; `devices` are the PTYs of its REPL and its cable."""

    def __init__(self, uf2: Path, flash: Path) -> None:
        facts = load_board("pico").flash
        self.flash = NorFlash(flash, facts)
        self._pairs = [pty.openpty() for _ in range(2)]
        for host, slave in self._pairs:
            tty.setraw(slave)
            os.set_blocking(host, False)
        self.devices = [os.ttyname(slave) for _, slave in self._pairs]
        self.chip = Chip(
            read_uf2(uf2.read_bytes()),
            self.flash,
            facts.filesystem,
            facts.sector,
            b"\xe6\x61\x41\x04\x03\x12\x34\x56",
            random.Random(1),
            lambda octets: None,
        )
        self.host = UsbHost(self.chip.rp2040.usb_ctrl, self._received)
        self._stopping = threading.Event()
        self.seen: list[bytes] = [b"", b""]
        """What has come from each interface."""
        self.seen_at: list[float] = [0.0, 0.0]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def now_us(self) -> float:
        return self.chip.now_us

    @property
    def interfaces(self) -> int:
        return len(self.host.interfaces) if self.host.ready else 0

    def _received(self, number: int, octets: bytes) -> None:
        self.seen[number] += octets
        self.seen_at[number] = self.chip.now_us
        with suppress(OSError):
            os.write(self._pairs[number][0], octets)

    def _run(self) -> None:
        began, ahead = time.monotonic(), 0.0
        while not self._stopping.is_set():
            for number, (host, _) in enumerate(self._pairs):
                with suppress(OSError):
                    octets = os.read(host, 4096)
                    if self.host.ready and number < len(self.host.interfaces):
                        self.host.interfaces[number].to_chip += octets
            self.host.feed()
            self.chip.run(self.chip.now_us + SLICE_US)
            # no quicker than the wall clock, and what it was slower is not made up for
            now = time.monotonic() - began
            ahead = max(ahead + SLICE_US / 1e6, now) if ahead < now else ahead + SLICE_US / 1e6
            if ahead > now:
                time.sleep(ahead - now)

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.flash.close()
        for pair in self._pairs:
            for fd in pair:
                os.close(fd)
