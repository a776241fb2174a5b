"""Whoever sends what does not belong: on the air, on each board's wires, and back to the host.

All of it is drawn from one seed. Well-formed commands are among it, into the session of the client that is logged in:
as it would send them but for the seal, with a seal of another session's key, and its own, recorded, once more. Not
among it are answers to requests that the host has under way just now: who can give those can deny service.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

import cbor2
from intruder import answer_to
from smp.header import Header
from smpclient.requests.image_management import ImageErase, ImageUploadWrite
from smpclient.requests.os_management import ResetWrite

from hanlab.bench.board import HAN, WAN
from hanlab.bench.radio import MAX_PSDU, cobs_encode, fcs16
from hanlab.bench.uart import UartWire
from hanlab.keys import Secret
from hanlab.lab import Device, Lab
from hanlab.wan.auth import Session, wants_seal
from hanlab.wan.framing import FRAMINGS
from hanlab.wan.messages import GROUP, Activate, Distribute, Logout

GAP_S: Final = 0.003
"""From one hostile frame to the next, whatever the wire (s)."""
_KEPT: Final = 64
"""Good frames of each wire that are kept, to be mutated and replayed."""
_LONGEST: Final = 600
"""Octets of a run of noise on a wire."""
_AMID: Final = 0.02
"""How often, against the other kinds, noise strikes a WAN frame that is under way: that one is lost."""
_BUSY_US: Final = 30_000
"""A WAN line that still sends for so long (µs) takes no more: who only keeps it busy shows nothing."""
_BY_LOT: Final = 0x8000_0000
"""Frame counters from here on are drawn, not counted (FREE of firmware/smets1/han/counters.py)."""
_READ, _WRITE = 0, 2
_GARBAGE: Final[tuple[object, ...]] = (
    None,
    True,
    -1,
    0,
    1 << 63,
    (1 << 64) - 1,
    1.5,
    "",
    "\u00e9" * 40,
    b"",
    bytes(300),
    [],
    [[[[[[[[0]]]]]]]],
    list(range(80)),
    {},
    {"a": {"b": {"c": {}}}},
    cbor2.CBORTag(2, b"\xff" * 9),
)


_COMMANDS: Final[tuple[Callable[[int], bytes], ...]] = (
    lambda n: ImageErase(slot=1 + n % 40, sequence=n).BYTES,
    lambda n: ImageUploadWrite(off=0, data=bytes(600), len=600, sequence=n).BYTES,
    lambda n: ImageUploadWrite(off=1 << (n % 16), data=bytes(64), sequence=n).BYTES,
    lambda n: ResetWrite(sequence=n).BYTES,
    lambda n: Logout(sequence=n).BYTES,
    lambda n: Distribute(eui=bytes(8), hash=bytes(32), sequence=n).BYTES,
    lambda n: (
        Activate(
            eui=bytes(8), hash=bytes(32), counter=n, mac=bytes(32), dco_mac=bytes(32), sequence=n
        ).BYTES
    ),
)
"""Each write that needs a login, by its sequence number."""


_LIES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"rc": 11},
    {"job": 1},
    {"off": 5000},
    {"firmware": "IHDAE99", "file_version": 9, "model": "IHD"},
    {"job": 1, "state": "done", "status": 0},
    {"err": {"group": GROUP, "rc": 6}},
)
"""What a board might answer."""


class Hostile:
    """Sends `total` frames at a lab, one after the other, for as long as `run` is let run.

    `alien_frames` are PSDUs of a HAN with the same addresses and another network key. `sent` counts
    what was sent, by kind.
    """

    def __init__(self, lab: Lab, total: int, alien_frames: list[bytes], seed: int = 1) -> None:
        self.sent: Counter[str] = Counter()
        self.challenges = 0
        """Frames that were played again whose counter is by lot: challenges, which a board has to read."""
        self._desk = lab.desk
        self._devices = (lab.hub, *lab.devices)
        self._total = total
        self._aliens = alien_frames
        self._random = random.Random(seed)
        self._heard: deque[bytes] = deque(maxlen=_KEPT)
        self._requests: deque[bytes] = deque(maxlen=_KEPT)
        self._writes: deque[bytes] = deque(maxlen=_KEPT)  # those of them that change something
        self._write: dict[str, Callable[[bytes], None]] = {}  # to each board's WAN wire
        self._sequence = 0  # of the client's newest request
        self._sealed = ("", b"")  # the newest that is sealed, and to whom
        self._mine: deque[bytes] = deque(maxlen=_KEPT)  # sent to the air, so not overheard
        self._desk.air.capture(self._hear)
        for device in self._devices:
            self._listen(device)

    @property
    def done(self) -> bool:
        return self.sent.total() >= self._total

    async def run(self) -> None:
        """Send until all is sent, or cancelled."""
        kinds = list(KINDS)
        weights = [_AMID if "amid" in kind else 1 for kind in kinds]
        while not self.done:
            await asyncio.sleep(GAP_S)
            if not all(board.running for board in self._desk.boards.values()):
                continue  # what nobody hears does not count
            (kind,) = self._random.choices(kinds, weights)
            if KINDS[kind](self):
                self.sent[kind] += 1

    # -- what it overhears

    def _hear(self, when: int, psdu: bytes) -> None:
        if len(psdu) > 40 and psdu not in self._mine:  # shorter ones are acknowledgements
            self._heard.append(psdu)

    def _listen(self, device: Device) -> None:
        port = self._desk.ports[device.name]
        write = self._write[device.name] = port.write

        def heard(octets: bytes) -> None:
            framing = FRAMINGS["cobs"]()
            framing.feed(octets)
            if message := framing.take():
                self._requests.append(octets)
                self._sequence = message[6]
                if wants_seal(message):
                    self._sealed = device.name, message
                if message[0] & 7 == _WRITE and len(message) > Header.SIZE:
                    self._writes.append(octets)
            write(octets)

        port.write = heard  # type: ignore[method-assign]  # on this wire alone

    # -- the air

    def _octets(self, most: int, least: int = 1) -> bytes:
        return self._random.randbytes(self._random.randint(least, most))

    def _mutated(self, octets: bytes) -> bytes:
        """With a few bits changed, or octets gone or doubled."""
        changed = bytearray(octets)
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(changed))
            match self._random.randrange(6):
                case 0 if len(changed) > 8:
                    del changed[at]
                case 1:
                    changed[at:at] = changed[at : at + 1]
                case _:
                    changed[at] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _transmit(self, psdu: bytes | None) -> bool:
        if not psdu:
            return False
        psdu = psdu[:MAX_PSDU]
        self._mine.append(psdu)
        self._desk.air.transmit(psdu)
        return True

    def _one(self, of: deque[bytes] | list[bytes]) -> bytes | None:
        return self._random.choice(of) if of else None

    def _air_random(self) -> bool:
        return self._transmit(self._octets(MAX_PSDU))

    def _air_mutated(self) -> bool:
        frame = self._one(self._heard)
        return self._transmit(frame and self._mutated(frame))

    def _air_mended(self) -> bool:
        frame = self._one(self._heard)
        if not frame:
            return False
        body = self._mutated(frame[:-2])[: MAX_PSDU - 2]
        return self._transmit(body + struct.pack("<H", fcs16(body)))

    def _air_replayed(self) -> bool:
        frame = self._one(self._heard)
        if frame and struct.unpack_from("<I", frame, 18)[0] >= _BY_LOT:
            self.challenges += 1
        return self._transmit(frame)

    def _air_alien(self) -> bool:
        """With a frame counter that is new, so that nothing but the key is wrong."""
        frame = self._one(self._aliens)
        if not frame:
            return False
        counter = struct.pack("<I", self._random.randint(1 << 24, (1 << 32) - 1))
        body = frame[:18] + counter + frame[22:-2]
        return self._transmit(body + struct.pack("<H", fcs16(body)))

    def _air_cut(self) -> bool:
        frame = self._one(self._heard)
        return self._transmit(frame and frame[: self._random.randrange(1, len(frame))])

    # -- the wire between a board and its radio

    def _on_han_wire(self, octets: bytes) -> bool:
        device = self._random.choice(self._devices)
        self._desk.boards[device.name].arrive(HAN, octets)
        return True

    def _end(self) -> bytes:
        """Mostly the noise ends before the next frame begins, else that one is lost with it."""
        return b"\0" if self._random.random() < 0.9 else b""

    def _wire_random(self) -> bool:
        return self._on_han_wire(self._octets(_LONGEST) + self._end())

    def _wire_no_cobs(self) -> bool:
        octets = self._octets(140).replace(b"\0", b"\xff")
        return self._on_han_wire(b"\xfe" + octets + b"\0" * self._random.randint(1, 9))

    def _wire_endless(self) -> bool:
        run = bytes([self._random.randint(1, 255)]) * self._random.randint(1, _LONGEST)
        return self._on_han_wire(run + self._end())

    def _wire_mutated(self) -> bool:
        frame = self._one(self._heard)
        if not frame:
            return False
        return self._on_han_wire(self._mutated(cobs_encode(frame)) + b"\0")

    # -- a board's WAN link

    def _on_wan(self, octets: bytes) -> bool:
        device = self._random.choice(self._devices)
        wire = self._desk.ports[device.name]._wire
        assert isinstance(wire, UartWire)
        if wire.busy_us > _BUSY_US:
            return False
        self._write[device.name](octets)
        return True

    def _wan_random(self) -> bool:
        return self._on_wan(self._octets(100))

    def _wan_mutated(self) -> bool:
        frame = self._one(self._requests)
        return self._on_wan(self._mutated(frame)) if frame else False

    def _wan_half(self) -> bool:
        frame = self._framed(self._header(_READ, 0, 0, 100) + self._octets(100))
        return self._on_wan(frame[: self._random.randrange(1, len(frame))])

    def _wan_cbor(self) -> bool:
        group = self._random.choice((0, 1, GROUP, 2, 0xFFFF))
        op = self._random.choice((_READ, _READ, _WRITE))
        command = self._random.randint(0, 255) if op == _READ else self._random.randint(100, 255)
        keys = ("off", "data", "len", "sha", "slot", "eui", "hash", "counter", "since", "format", 7)
        body = {
            key: self._random.choice(_GARBAGE)
            for key in self._random.sample(keys, self._random.randint(0, 4))
        }
        octets = cbor2.dumps(body)
        if self._random.random() < 0.3:
            octets = self._mutated(octets)
        return self._on_wan(self._framed(self._header(op, group, command, len(octets)) + octets))

    def _wan_huge(self) -> bool:
        body = self._random.choice(
            (
                b"\x5b" + b"\xff" * 8,  # a byte string of 2**64 - 1 octets
                b"\x9b\x00\x00\x00\x01" + bytes(4),  # an array of 2**32 items
                b"\xbf" * 20,  # maps in maps without end
                b"\xa1\x61d\x7a\x7f\xff\xff\xff",
            )
        )
        length = self._random.choice((len(body), 0xFFFF, 0x7FFF, 600))
        frame = self._framed(self._header(_READ, GROUP, 6, length) + body)
        console = b"\x06\x09" + self._random.choice((b"//8A", b"f/8B", b"Af/A")) * 20 + b"\n"
        return self._on_wan(self._random.choice((frame, console)))

    def _wan_command(self) -> bool:
        return self._on_wan(self._cobs(self._random.choice(_COMMANDS)(self._free_sequence())))

    def _wan_false_seal(self) -> bool:
        message = self._random.choice(_COMMANDS)(self._free_sequence())
        session = Session(Secret(self._random.randbytes(32)))
        session._number = self._random.randrange(1 << 31)
        return self._on_wan(self._cobs(session.seal(message)))

    def _wan_replayed(self) -> bool:
        """A write of the host's, as it was: its number is used up. Not the one that is under way."""
        old = list(self._writes)[:-4]
        return self._on_wan(self._random.choice(old)) if old else False

    def _wan_amid(self) -> bool:
        device = self._random.choice(self._devices)
        self._desk.boards[device.name].arrive(WAN, self._octets(8))
        return True

    def _header(self, op: int, group: int, command: int, length: int) -> bytes:
        """An SMP header."""
        op |= self._random.choice((0, 8, 8, 16))  # SMP version 1, 2, or one that is not known yet
        return struct.pack(">BBHHBB", op, 0, length, group, self._free_sequence(), command)

    def _free_sequence(self) -> int:
        """One that the host has not in use."""
        return (self._sequence + self._random.randint(64, 192)) & 0xFF

    def _cobs(self, message: bytes) -> bytes:
        return b"".join(FRAMINGS["cobs"]().encode(message))

    def _framed(self, message: bytes) -> bytes:
        return b"".join(FRAMINGS[self._random.choice(("cobs", "console"))]().encode(message))

    # -- the host's end

    def _to_host(self, octets: bytes) -> bool:
        device = self._random.choice(self._devices)
        self._desk.ports[device.name].feed(octets)
        return True

    def _host_random(self) -> bool:
        return self._to_host(self._octets(100) + self._random.choice((b"", b"\0", b"\n")))

    def _host_answer(self) -> bool:
        group = self._random.choice((0, 1, GROUP, 0xFFFF))
        op = self._random.choice((1, 3, 5, 7))
        body = cbor2.dumps(self._random.choice(_GARBAGE))
        header = self._header(op, group, self._random.randint(0, 20), len(body))
        return self._to_host(self._framed(header + body))

    def _host_lie(self) -> bool:
        """An answer to what the host has just asked, in its session."""
        name, request = self._sealed
        if not request:
            return False
        lie = self._random.choice(_LIES)
        answer = answer_to(
            request, {**lie, **self._random.choice(({}, {"seal": self._octets(16, 16)}))}
        )
        self._desk.ports[name].feed(self._cobs(answer))
        return True


KINDS: Final[dict[str, Callable[[Hostile], bool]]] = {
    "air: random octets": Hostile._air_random,
    "air: a good frame, mutated": Hostile._air_mutated,
    "air: mutated, FCS mended": Hostile._air_mended,
    "air: replayed": Hostile._air_replayed,
    "air: another network key": Hostile._air_alien,
    "air: cut short": Hostile._air_cut,
    "HAN wire: random octets": Hostile._wire_random,
    "HAN wire: no COBS": Hostile._wire_no_cobs,
    "HAN wire: endless": Hostile._wire_endless,
    "HAN wire: a good frame, mutated": Hostile._wire_mutated,
    "WAN: random octets": Hostile._wan_random,
    "WAN: a good frame, mutated": Hostile._wan_mutated,
    "WAN: half a frame": Hostile._wan_half,
    "WAN: a header with any CBOR": Hostile._wan_cbor,
    "WAN: huge lengths": Hostile._wan_huge,
    "WAN: a command without a seal": Hostile._wan_command,
    "WAN: a command with a false seal": Hostile._wan_false_seal,
    "WAN: a recorded write": Hostile._wan_replayed,
    "WAN: noise amid a frame": Hostile._wan_amid,
    "to the host: random octets": Hostile._host_random,
    "to the host: stray answers": Hostile._host_answer,
    "to the host: faked answers": Hostile._host_lie,
}
"""How each kind is sent; False: nothing has been overheard yet that it could be made from."""
