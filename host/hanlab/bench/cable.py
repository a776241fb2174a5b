"""The host's end of a board's one cable, on which WAN and HAN frames stand side by side.

The board's end, and what is on the wire, is boards/ports/cable.py. The laptop carries the HAN: what a board sends into
it goes to the bench's air, and what the air has for the board goes back, as if its radio were there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hanlab.bench.board import HAN, Transmit
from hanlab.bench.kernel import Kernel
from hanlab.bench.radio import cobs_decode, cobs_encode
from hanlab.bench.uart import HostPort, Line

MARK: Final = b"\0\5"
CARRIER: Final = b"\7han"
"""Frame type 7, which no frame of 802.15.4 has; a board answers it with its EUI-64 behind it."""
CARRIER_EVERY_US: Final = 1_000_000
SILENT_US: Final = 3_000_000
"""A board that has not answered for so long is off, or out of reach."""
_LONGEST: Final = 129
"""A PSDU of 127 octets in COBS, and the 00 that ends it."""
_EUI: Final = 8
_SAID: Final = 1024


class Sorter:
    """Tells HAN frames from what is the WAN's."""

    def __init__(self) -> None:
        self._zero = True
        """The last octet of the WAN was a 00."""
        self._frame: bytearray | None = None
        """The HAN frame that is coming in, behind its mark."""

    def sort(self, octets: bytes) -> Iterator[tuple[bool, bytes]]:
        """Each piece, and whether it is a HAN frame (its COBS, without the 00)."""
        at = 0
        while at < len(octets):
            if self._frame is not None:
                end = octets.find(0, at)
                stop = len(octets) if end < 0 else end + 1
                self._frame += octets[at:stop]
                if len(self._frame) > _LONGEST:  # no frame is that long
                    yield False, MARK[1:] + bytes(self._frame)
                    self._zero, self._frame = end >= 0, None
                elif end >= 0:
                    yield True, bytes(self._frame[:-1])
                    self._frame = None
            elif self._zero and octets[at] == MARK[1]:
                self._frame = bytearray()
                stop = at + 1
            else:
                mark = octets.find(MARK, at)
                stop = len(octets) if mark < 0 else mark + 1
                yield False, octets[at:stop]
                self._zero = octets[stop - 1] == 0
            at = stop


class CableEnd:
    """One board's cable: `wan` is the host's port of its WAN, and to the air it is the board itself."""

    def __init__(self, kernel: Kernel, name: str, unique_id: bytes) -> None:
        """`unique_id`: the EUI-64 of the board that has to be there (8 octets, most significant first)."""
        self.name = name
        self.unique_id = unique_id
        self.home: int | None = None
        self.wan = HostPort(kernel)
        self.found: bytes | None = None
        """The EUI-64 of the board that answers there."""
        self.said = b""
        """The last of what came before that, of no board perhaps."""
        self._kernel = kernel
        self._sorter = Sorter()
        self._line: Line | None = None
        self._transmit: Transmit | None = None
        self._heard = -SILENT_US

    # -- to whatever carries its octets

    def plug(self, line: Line) -> None:
        """From now on `line` carries it; the HAN is on it at once, and stays as long as the cable is plugged."""
        self._line = line
        self.wan.plug(line)
        self._kernel.at(self._kernel.now, lambda: self._tick(line), None)

    def unplug(self) -> None:
        """Somebody else has the board's cable from now on."""
        self._line = None

    def feed(self, octets: bytes) -> None:
        """Take what has arrived from the board."""
        for is_han, piece in self._sorter.sort(octets):
            if is_han:
                self._take(piece)
            else:
                self.wan.feed(piece)
                if self.found is None:
                    self.said = (self.said + piece)[-_SAID:]

    def _tick(self, line: Line) -> None:
        if line is self._line:
            line.from_host(MARK + cobs_encode(CARRIER) + b"\0")
            self._kernel.at(self._kernel.now + CARRIER_EVERY_US, lambda: self._tick(line), None)

    def _take(self, coded: bytes) -> None:
        frame = cobs_decode(coded) or b""
        if frame.startswith(CARRIER) and len(frame) == len(CARRIER) + _EUI:
            self.found = frame[len(CARRIER) :]
            self._heard = self._kernel.now
        elif self._transmit and self.running:
            self._transmit(self._kernel.now, coded + b"\0")

    # -- to the air

    @property
    def running(self) -> bool:
        """The board that has to be there answers."""
        return self.found == self.unique_id and self._kernel.now - self._heard < SILENT_US

    def connect(self, link: int, transmit: Transmit) -> None:
        """`transmit` takes what the board sends into the HAN."""
        assert link == HAN
        self._transmit = transmit

    def arrive(self, link: int, octets: bytes) -> None:
        """The air has a frame for the board."""
        assert link == HAN
        if self._line:
            self._line.from_host(MARK + octets)
