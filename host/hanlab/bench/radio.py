"""The air of a lab: IEEE 802.15.4 at 2.4 GHz. Each PAN has a channel of its own, which its boards share.

Each board's radio does what a transceiver does by itself: it waits for a clear channel (unslotted
CSMA-CA), sends, acknowledges a unicast frame for its own address, drops what its FCS says is damaged, and
sends again what is not acknowledged. Which PAN it is in and which short address it has, it learns from what its
board sends; its extended address is the board's unique id. The firmware hands it COBS frames with the FCS in
place. Times are those of IEEE 802.15.4-2015 clause 10 (O-QPSK PHY, 250 kbit/s).
"""

from __future__ import annotations

import random
import struct
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from hanlab.bench.board import HAN, Transmit
from hanlab.bench.impair import Lane
from hanlab.bench.kernel import HERE, Kernel
from hanlab.bench.mac import BEACON, BEACON_REQUEST, BROADCAST, MacHeader, mac_header
from hanlab.impairments import PERFECT, Impairments

SYMBOL_US: Final = 16
OCTET_US: Final = 32
PHY_OCTETS: Final = 6
"""Preamble (4), start-of-frame delimiter, length."""
UNIT_BACKOFF_US: Final = 20 * SYMBOL_US
CCA_US: Final = 8 * SYMBOL_US
TURNAROUND_US: Final = 12 * SYMBOL_US
LONG_INTERFRAME_US: Final = 40 * SYMBOL_US
MIN_BE: Final = 3
"""macMinBE: the first back-off is 0 to 2**3 - 1 units."""
MAX_BE: Final = 5
MAX_RETRIES: Final = 3
"""macMaxFrameRetries."""
MAX_PSDU: Final = 127
COORDINATOR: Final = 0
"""A CH's short address."""
ACK_OCTETS: Final = 5
ACK_US: Final = (PHY_OCTETS + ACK_OCTETS) * OCTET_US
ACK_WAIT_US: Final = 54 * SYMBOL_US
"""macAckWaitDuration: after that a frame counts as not acknowledged."""
SCAN_US: Final = 960 * (2**5 + 1) * SYMBOL_US
"""How long a radio takes beacons after its board has sent a beacon request: a scan of duration 5."""

Capture = Callable[[int, bytes], None]
"""Takes each frame on the air: when it began (µs) and its PSDU, FCS included."""


class Radioed(Protocol):
    """A board, as its radio knows it."""

    name: str
    home: int | None
    """The PAN whose events its own are."""

    @property
    def unique_id(self) -> bytes:
        """Its EUI-64 (8 octets, most significant first)."""

    @property
    def running(self) -> bool:
        """It has power, and hears."""

    def connect(self, link: int, transmit: Transmit) -> None:
        """`transmit` takes what it sends."""

    def arrive(self, link: int, octets: bytes) -> None:
        """Hand it what its radio has received."""


@dataclass
class _Channel:
    """Of one PAN: when it is free again (µs), and its stations' chance."""

    random: random.Random
    free_at: int = 0


@dataclass(frozen=True)
class _Frame:
    psdu: bytes
    header: MacHeader = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", mac_header(self.psdu))

    @property
    def stays_in_pan(self) -> bool:
        """Only stations of one PAN have to do with it."""
        return isinstance(self.header.to, int) and self.header.to_pan != BROADCAST

    @property
    def air_us(self) -> int:
        return (PHY_OCTETS + len(self.psdu)) * OCTET_US


class Air:
    """`attach` a board, `capture` to see every frame of every PAN.

    `impairments` are those of each way between two boards; a unit is a frame for the receiver.
    """

    def __init__(self, kernel: Kernel, impairments: Impairments = PERFECT) -> None:
        self.kernel = kernel
        self.lanes: dict[tuple[str, str], Lane] = {}
        """What happened on the way from one board to another, by their names."""
        self.frames = 0
        self._impairments = impairments
        self._channels: dict[int | None, _Channel] = {}
        self._stations: list[_Station] = []
        self._in_pan: defaultdict[int | None, list[_Station]] = defaultdict(list)
        self._captures: list[Capture] = []
        self._pans: set[int | None] = set()
        """In which there was a board from the start."""

    def attach(self, board: Radioed, pan: int | None = None, address: int | None = None) -> None:
        """Give `board` a radio: in that PAN, with that short `address`, until the board sends as another."""
        self._stations.append(_Station(self, board, address))
        self._pans.add(pan)
        self.move(self._stations[-1], pan)

    def move(self, station: _Station, pan: int | None) -> None:
        """From now on `station` is in that PAN, and its board's events are of that home."""
        if station in self._in_pan[station.pan]:
            self._in_pan[station.pan].remove(station)
        self._in_pan[pan].append(station)
        station.enter(pan)

    def has(self, pan: int | None) -> bool:
        """It is one of this lab's."""
        return pan in self._pans

    def impair(self, impairments: Impairments) -> None:
        """From now on it is that bad, each way between two boards."""
        self._impairments = impairments
        stations = {station.name: station for station in self._stations}
        for (_, sink), lane in self.lanes.items():
            lane.impair(impairments, self._hearing(stations[sink]))

    def capture(self, capture: Capture) -> None:
        self._captures.append(capture)

    def transmit(self, psdu: bytes) -> None:
        """Somebody within range who is no board of this lab sends once, as soon as the channel is clear."""
        frame = _Frame(psdu)
        channel = self._channel(frame)
        begin = max(self.kernel.now, channel.free_at) + CCA_US + TURNAROUND_US
        end = begin + frame.air_us
        channel.free_at = end + LONG_INTERFRAME_US
        self._note(begin, psdu)
        for receiver in self._stations:
            self.kernel.at(end, partial(receiver.hear, end, psdu))

    def send(self, station: _Station, frame: _Frame, tries: int) -> None:
        """Have `station` send a frame as soon as the channel is clear; `tries` were in vain."""
        channel = self._channel(frame)
        be = min(MIN_BE + tries, MAX_BE)
        backoff = channel.random.randrange(1 << be) * UNIT_BACKOFF_US + CCA_US
        begin = max(self.kernel.now, channel.free_at) + backoff + TURNAROUND_US
        end = begin + frame.air_us
        channel.free_at = end + LONG_INTERFRAME_US
        if frame.header.wants_ack:
            channel.free_at += TURNAROUND_US + ACK_US
        self.frames += 1
        self._note(begin, frame.psdu)
        home = HERE if frame.stays_in_pan else None
        self.kernel.at(end, partial(self._landed, station, frame, tries), home)

    def _landed(self, station: _Station, frame: _Frame, tries: int) -> None:
        """The frame is through the air: who has it, and does the sender know?"""
        now = self.kernel.now
        psdu, header = frame.psdu, frame.header
        acknowledged = not header.wants_ack
        way: Lane | None = None
        there = self._in_pan[header.to_pan] if frame.stays_in_pan else self._stations
        for receiver in there:
            if receiver is station:
                continue
            if not receiver.is_meant(header, now):
                if receiver.overhears(header):
                    receiver.hear(now, psdu)  # it drops by itself what is not for it
                continue
            way = self._lane(station, receiver)
            intact = way.take(now, psdu, again=tries > 0, heard=receiver.is_on)
            if intact and not acknowledged:
                self._note(now + TURNAROUND_US, _ack(psdu[2]))
                acknowledged = not self._lane(receiver, station).loses(now)
                way.counters.acks_lost += not acknowledged
        if acknowledged:
            station.done(now)
        elif tries < MAX_RETRIES and station.is_on:
            self.kernel.at(now + ACK_WAIT_US, partial(self.send, station, frame, tries + 1))
        else:
            if way:
                way.counters.given_up += 1
            station.done(now + ACK_WAIT_US)

    def _channel(self, frame: _Frame) -> _Channel:
        """One for each PAN, so that what is busy in one home is no delay in another, nor another's chance."""
        pan = frame.header.pan
        channel = self._channels.get(pan)
        if channel is None:
            name = "air" if pan is None else f"air of PAN {pan:04X}"
            channel = self._channels[pan] = _Channel(self.kernel.random(name))
        return channel

    def _lane(self, source: _Station, sink: _Station) -> Lane:
        key = source.name, sink.name
        lane = self.lanes.get(key)
        if lane is None:
            hear = self._hearing(sink)
            lane = Lane(self.kernel, "han", *key, self._impairments, hear)
            self.lanes[key] = lane
        return lane

    def _hearing(self, sink: _Station) -> Callable[[int, bytes], None]:
        return sink.hear_checked if self._impairments.any else sink.hear

    def _note(self, when: int, psdu: bytes) -> None:
        """Show it to the captures at its time: no home's event, so that those of all homes come in order."""
        if self._captures:
            self.kernel.at(when, partial(self._captured, psdu), None)

    def _captured(self, psdu: bytes) -> None:
        for capture in self._captures:
            capture(self.kernel.now, psdu)


class _Station:
    """One board's radio: it sends one frame after the other, each up to `MAX_RETRIES` times again."""

    def __init__(self, air: Air, board: Radioed, address: int | None) -> None:
        self._air = air
        self._board = board
        self._coded = bytearray()
        self._queue: deque[_Frame] = deque()
        self._sending = False
        self._scans_until = 0
        self.name = board.name
        self.pan: int | None = None
        self.address = address
        self.rejected = 0  # what the board handed over that is no frame
        board.connect(HAN, self._from_board)

    def enter(self, pan: int | None) -> None:
        """Only the air calls this: it knows who is where."""
        self.pan = self._board.home = pan

    @property
    def is_on(self) -> bool:
        return self._board.running

    def is_meant(self, header: MacHeader, now: int) -> bool:
        """Whether its board is to have that frame."""
        if header.to is None:
            return header.kind == BEACON and now < self._scans_until
        if isinstance(header.to, bytes):
            return header.to == self._board.unique_id
        return header.to_pan in (self.pan, BROADCAST) and header.to in (self.address, BROADCAST)

    def overhears(self, header: MacHeader) -> bool:
        """Whether a frame for somebody else is on the air of its PAN."""
        return header.to is not None and header.to_pan == self.pan

    def _from_board(self, when: int, octets: bytes) -> None:
        self._coded += octets
        while (end := self._coded.find(0)) >= 0:
            psdu = cobs_decode(bytes(self._coded[:end]))
            del self._coded[: end + 1]
            if psdu is None or not 5 <= len(psdu) <= MAX_PSDU or not _is_intact(psdu):
                self.rejected += 1
                continue
            frame = _Frame(psdu)
            self._learn(frame, when)
            self._air.kernel.at(when, partial(self._send, frame))
        if len(self._coded) > 2 * MAX_PSDU:
            self._coded.clear()
            self.rejected += 1

    def _learn(self, frame: _Frame, when: int) -> None:
        """Where it is now. Whoever gets at a board's cable may send anything, and the board would be deaf from then on
        if that counted: so a CH is where it was put, and a device a device, in a PAN of this lab."""
        header = frame.header
        if (
            isinstance(header.sender, int)
            and COORDINATOR not in (header.sender, self.address)
            and self._air.has(header.sender_pan)
        ):
            self.address = header.sender
            if header.sender_pan != self.pan:
                self._air.move(self, header.sender_pan)
        if header.command(frame.psdu) == BEACON_REQUEST:
            self._scans_until = when + SCAN_US

    def _send(self, frame: _Frame) -> None:
        self._queue.append(frame)
        if not self._sending:
            self._next()

    def _next(self) -> None:
        self._sending = bool(self._queue)
        if self._sending:
            self._air.send(self, self._queue.popleft(), 0)

    def done(self, when: int) -> None:
        """The frame is acknowledged, or given up: the next one's turn, at `when` (µs)."""
        if not self.is_on:
            self._queue.clear()  # the radio has lost its power as well
        if self._queue:
            self._air.kernel.at(when, self._next)
        else:
            self._sending = False

    def hear(self, when: int, psdu: bytes) -> None:
        """Hand a frame to the board at `when` (µs), which is now or later."""
        if when > self._air.kernel.now:
            self._air.kernel.at(when, partial(self.hear, when, psdu))
        else:
            self._board.arrive(HAN, cobs_encode(psdu) + b"\0")

    def hear_checked(self, when: int, psdu: bytes) -> None:
        """As `hear`, for what may be damaged: the radio drops it by its FCS."""
        if _is_intact(psdu):
            self.hear(when, psdu)


def _is_intact(psdu: bytes) -> bool:
    return len(psdu) > 2 and fcs16(psdu[:-2]) == struct.unpack_from("<H", psdu, len(psdu) - 2)[0]


def _ack(sequence: int) -> bytes:
    frame = bytes((0x02, 0x00, sequence))
    return frame + struct.pack("<H", fcs16(frame))


def fcs16(octets: bytes) -> int:
    """The frame check sequence of IEEE 802.15.4: ITU-T CRC-16, reflected, initial value 0."""
    crc = 0
    for octet in octets:
        crc = crc >> 8 ^ _FCS[(crc ^ octet) & 0xFF]
    return crc


def _fcs_of(octet: int) -> int:
    crc = octet
    for _ in range(8):
        crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc


_FCS: Final = tuple(_fcs_of(octet) for octet in range(256))


def cobs_encode(octets: bytes) -> bytes:
    """COBS without the closing 0x00; for frames shorter than 254 octets."""
    return b"".join(bytes((len(part) + 1,)) + part for part in octets.split(b"\0"))


def cobs_decode(coded: bytes) -> bytes | None:
    """The frame, or None where `coded` is no COBS of a frame shorter than 254 octets."""
    parts: list[bytes] = []
    at = 0
    while at < len(coded):
        code = coded[at]
        if code == 0 or at + code > len(coded):
            return None
        parts.append(coded[at + 1 : at + code])
        at += code
    return b"\0".join(parts)
