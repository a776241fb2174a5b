# One cable for both of a board's links: WAN and HAN side by side on one stream of octets.
#
# A HAN frame stands between WAN frames as 00 05, its COBS, 00. No SMP frame begins with 05, and the 00 before it ends
# nothing that has not ended: so what a standard SMP client sends and gets stays as it is. The HAN is there only while a
# laptop carries it: it says so at least every CARRIER_MS by the frame below, which the board answers with its EUI-64
# behind it. Without that HAN frames go nowhere, and 00 05 in a WAN frame that has no framing of its own means nothing.
import asyncio
import time

from micropython import RingIO, const

MARK = b"\x00\x05"
CARRIER = b"\x07han"  # frame type 7, which no frame of 802.15.4 has
CARRIER_MS = const(3_000)

_CARRIER = b"\x05" + CARRIER + b"\x00"  # in COBS, as it stands behind its mark
_PSDU_COBS = const(129)  # of 127 octets, with the 00 that ends it
_PORTION = const(256)
_HELD_MS = const(50)


class Side:
    """A link of the two: what has arrived for it waits in a ring."""

    def __init__(self, cable, size, send):
        self._cable = cable
        self._ring = RingIO(size)
        self._arrived = asyncio.Event()
        self.write = send
        self.lost = 0  # octets that found the ring full

    def feed(self, octets):
        taken = self._ring.write(octets) or 0
        self.lost += len(octets) - taken
        self._arrived.set()

    async def readinto(self, buf):
        self._cable.begin()
        while not self._ring.any():
            self._arrived.clear()
            await self._arrived.wait()
        return self._ring.readinto(buf)


class Cable:
    """stream: `async readinto(buf) -> n` and `async write(buf)`; sizes: octets of the rings of WAN and HAN; eui: the
    board's, 8 octets."""

    def __init__(self, stream, sizes, eui):
        self._stream = stream
        self.wan = Side(self, sizes[0], self._write)
        self.han = Side(self, sizes[1], self._write_han)
        self._hello = MARK + _cobs(CARRIER + eui) + b"\x00"
        self._out = bytearray(len(MARK) + _PSDU_COBS)
        self._out[: len(MARK)] = MARK
        self._sending = asyncio.Lock()
        self._task = None
        self._heard = None  # when the carrier was (ticks)
        self._zero = True  # the last octet of the WAN was a 00
        # The HAN frame that is coming in, behind its mark; None: none is.
        self._fill = None
        self._frame = bytearray(_PSDU_COBS)
        self._frame_view = memoryview(self._frame)

    def begin(self):
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    @property
    def carried(self):
        """A laptop carries the HAN."""
        if self._heard is not None:
            # negative: longer ago than ticks can tell
            if 0 <= time.ticks_diff(time.ticks_ms(), self._heard) < CARRIER_MS:
                return True
            self._heard = None
        return False

    async def _write(self, octets):
        async with self._sending:
            await self._stream.write(octets)

    async def _write_han(self, octets):
        start = 0
        while start < len(octets) and not octets[start]:  # it may begin with a 00
            start += 1
        n = len(octets) - start
        if not n or n > _PSDU_COBS or not self.carried:
            return
        async with self._sending:
            end = len(MARK) + n
            self._out[len(MARK) : end] = octets[start:]
            await self._stream.write(memoryview(self._out)[:end])

    async def _run(self):
        buf = bytearray(_PORTION)
        view = memoryview(buf)
        while True:
            n = await self._next(buf)
            if self._sort(buf, view, n):
                await self._write(self._hello)

    async def _next(self, buf):
        """What arrives next; what may be a carrier's beginning, and ends a WAN message, is not held for long."""
        if self._fill is not None and not self.carried:
            try:
                return await asyncio.wait_for_ms(self._stream.readinto(buf), _HELD_MS)
            except asyncio.TimeoutError:
                self._give_back(b"")
        return await self._stream.readinto(buf)

    def _sort(self, buf, view, n):
        """Give buf[:n] to whom it belongs: whether the carrier was among it."""
        asked = False
        at = 0
        while at < n:
            if self._fill is not None:
                end = buf.find(b"\x00", at, n)
                stop = n if end < 0 else end + 1
                asked |= self._collect(view[at:stop], end >= 0)
            elif self._zero and buf[at] == MARK[1]:
                self._fill = 0
                stop = at + 1
            else:
                mark = buf.find(MARK, at, n)
                stop = n if mark < 0 else mark + 1
                self.wan.feed(view[at:stop])
                self._zero = buf[stop - 1] == 0
            at = stop
        return asked

    def _collect(self, octets, ends):
        """More of what stands behind a mark: whether it is the carrier."""
        fill = self._fill + len(octets)
        if fill > _PSDU_COBS:  # no frame is that long
            return self._give_back(octets)
        self._frame[self._fill : fill] = octets
        self._fill = fill
        carried = self.carried
        if not carried and self._frame[:fill] != _CARRIER[:fill]:
            return self._give_back(b"")
        if not ends:
            return False
        self._fill = None
        if fill == len(_CARRIER) and self._frame[:fill] == _CARRIER:
            self._heard = time.ticks_ms()
            return True
        self.han.feed(self._frame_view[:fill])
        return False

    def _give_back(self, octets):
        """It was of the WAN after all."""
        self.wan.feed(MARK[1:])
        self.wan.feed(self._frame_view[: self._fill])
        self.wan.feed(octets)
        last = octets[-1] if octets else self._frame[self._fill - 1] if self._fill else MARK[1]
        self._zero = last == 0
        self._fill = None
        return False


def sides(stream, sizes, eui):
    """The links of WAN and HAN on one cable; see Cable."""
    cable = Cable(stream, sizes, eui)
    return cable.wan, cable.han


def _cobs(octets):
    """For less than 254 octets."""
    coded = b""
    for part in octets.split(b"\x00"):
        coded += bytes((len(part) + 1,)) + part
    return coded
