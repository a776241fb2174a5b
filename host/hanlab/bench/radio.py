"""The HAN's air: an IEEE 802.15.4 channel at 2.4 GHz that several boards share.

Each board's radio does what a transceiver does by itself: it waits for a clear channel (unslotted
CSMA-CA), sends, and acknowledges a unicast frame for its own address. The firmware hands it COBS
frames with the FCS in place. Times are those of IEEE 802.15.4-2015 clause 10 (O-QPSK PHY, 250 kbit/s).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Final

from hanlab.bench.board import HAN, EmulatedBoard
from hanlab.bench.kernel import Kernel

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
MAX_PSDU: Final = 127
ACK_OCTETS: Final = 5

_ACK_REQUEST: Final = 0x20
_BROADCAST: Final = 0xFFFF

Capture = Callable[[int, bytes], None]
"""Takes each frame on the air: when it began (µs) and its PSDU, FCS included."""


class Air:
    """The shared channel; `attach` a board, `capture` to see every frame."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._random = kernel.random("air")
        self._free_at = 0
        self._stations: list[_Station] = []
        self._captures: list[Capture] = []
        self.frames = 0

    def attach(self, board: EmulatedBoard) -> None:
        self._stations.append(_Station(self, board))

    def capture(self, capture: Capture) -> None:
        self._captures.append(capture)

    def send_at(self, when: int, station: _Station, psdu: bytes) -> None:
        """Have `station` send a frame: on the air as soon after `when` (µs) as the channel is clear."""
        self._kernel.at(when, partial(self._send, station, psdu))

    def _send(self, station: _Station, psdu: bytes) -> None:
        backoff = self._random.randrange(1 << MIN_BE) * UNIT_BACKOFF_US + CCA_US
        begin = max(self._kernel.now, self._free_at) + backoff + TURNAROUND_US
        end = begin + (PHY_OCTETS + len(psdu)) * OCTET_US
        heard_by = [s for s in self._stations if s is not station]
        self._free_at = end + LONG_INTERFRAME_US
        self.frames += 1
        self._kernel.at(begin, partial(self._captured, psdu))
        if any(_wants_ack_from(psdu, s.address) for s in heard_by):
            ack_begin = end + TURNAROUND_US
            self._free_at = ack_begin + (PHY_OCTETS + ACK_OCTETS) * OCTET_US + LONG_INTERFRAME_US
            self._kernel.at(ack_begin, partial(self._captured, _ack(psdu[2])))
        for receiver in heard_by:
            self._kernel.at(end, partial(receiver.receive, psdu))

    def _captured(self, psdu: bytes) -> None:
        for capture in self._captures:
            capture(self._kernel.now, psdu)


class _Station:
    """One board's radio."""

    def __init__(self, air: Air, board: EmulatedBoard) -> None:
        self._air = air
        self._board = board
        self._coded = bytearray()
        self.address: int | None = None  # learnt from the frames that the board sends
        self.rejected = 0  # what the board handed over that is no frame
        board.connect(HAN, self._from_board)

    def _from_board(self, when: int, octets: bytes) -> None:
        self._coded += octets
        while (end := self._coded.find(0)) >= 0:
            psdu = cobs_decode(bytes(self._coded[:end]))
            del self._coded[: end + 1]
            if psdu is None or not 5 <= len(psdu) <= MAX_PSDU:
                self.rejected += 1
                continue
            if len(psdu) > 9:
                self.address = struct.unpack_from("<H", psdu, 7)[0]
            self._air.send_at(when, self, psdu)
        if len(self._coded) > 2 * MAX_PSDU:
            self._coded.clear()
            self.rejected += 1

    def receive(self, psdu: bytes) -> None:
        self._board.deliver(HAN, cobs_encode(psdu) + b"\0")


def _wants_ack_from(psdu: bytes, address: int | None) -> bool:
    if address is None or len(psdu) < 9 or not psdu[0] & _ACK_REQUEST:
        return False
    destination = struct.unpack_from("<H", psdu, 5)[0]
    return bool(destination == address and destination != _BROADCAST)


def _ack(sequence: int) -> bytes:
    frame = bytes((0x02, 0x00, sequence))
    return frame + struct.pack("<H", fcs16(frame))


def fcs16(octets: bytes) -> int:
    """The frame check sequence of IEEE 802.15.4: ITU-T CRC-16, reflected, initial value 0."""
    crc = 0
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc


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
