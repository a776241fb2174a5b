"""SMP's framings, as smp and smpclient implement them; both ends of a link use the same.

COBS with CRC-16 costs about 0.5 %, the console framing (base64 lines) about 37 %, none (raw) nothing: that is for
links which lose no octets while they last, as BLE.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Generator, Iterator
from typing import Final, Protocol

from smp import packet
from smp.exceptions import SMPDecodeError
from smp.header import Header
from smpclient.transport.serial.framing import SerialFraming
from smpclient.transport.serial.framing.cobs import Cobs

# Without a handler of anybody's, each damaged frame would be a line on standard error.
logging.getLogger("smpclient").addHandler(logging.NullHandler())

_MAX_NOISE: Final = 1 << 16
"""Octets without a line end after which what came is noise."""
_ANSWER_BITS: Final = 0b11011
"""Of an answer's first octet: the version, and the operation, 1 or 3."""
_MAX_ANSWER: Final = 1 << 13
"""Octets behind an answer's header: an echo is as long as the longest request."""


class Link(Protocol):
    """An octet stream to a board: a bench wire, a serial port."""

    def write(self, octets: bytes) -> None:
        """Queue octets for sending."""

    async def read(self) -> bytes:
        """What has arrived since the last read (at least one octet)."""


class Console:
    """The framing of SMP over a console: lines of base64 that begin 06 09 or 04 14."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._decoder: Generator[None, bytes, bytes] | None = None

    def encode(self, data: bytes) -> Iterator[bytes]:
        return packet.encode(data)

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _MAX_NOISE and b"\n" not in self._buffer:
            self._buffer.clear()

    def take(self) -> bytes | None:
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[: end + 1])
            del self._buffer[: end + 1]
            if packet.START_DELIMITER in line:
                line = line[line.index(packet.START_DELIMITER) :]
                self._decoder = packet.decode()
                next(self._decoder)
            elif self._decoder is None or not line.startswith(packet.CONTINUE_DELIMITER):
                continue
            try:
                self._decoder.send(line)
            except StopIteration as done:
                self._decoder = None
                return bytes(done.value)
            except (SMPDecodeError, ValueError, struct.error):  # struct: no room for a CRC
                self._decoder = None
        return None

    def reset(self) -> None:
        self._buffer.clear()
        self._decoder = None


class Raw:
    """No framing: a message after the other, each as long as its header says.

    What no answer can begin with is skipped: the rest of one whose beginning went with a lost link.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def encode(self, data: bytes) -> Iterator[bytes]:
        yield data

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> bytes | None:
        while len(self._buffer) >= Header.SIZE:
            first, flags, length = struct.unpack_from(">BBH", self._buffer)
            if first & ~_ANSWER_BITS or not first & 1 or flags or length > _MAX_ANSWER:
                del self._buffer[0]
                continue
            size = Header.SIZE + length
            if len(self._buffer) < size:
                return None
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            return message
        return None

    def reset(self) -> None:
        self._buffer.clear()


FRAMINGS: Final[dict[str, type[SerialFraming]]] = {"cobs": Cobs, "console": Console, "raw": Raw}
