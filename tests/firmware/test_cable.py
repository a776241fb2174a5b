# boards/ports/cable.py: two links on one stream, which are never taken for each other.
import asyncio
import sys

sys.path.append(sys.path[0] + "/../../boards/ports")

import cable

EUI = b"\x00\xdb\x12\x34\x56\x78\x90\xa2"
CARRIER = b"\x00\x05\x05\x07han\x00"
HELLO = b"\x00\x05\x05\x07han\x08" + EUI[1:] + b"\x00"
WAN = b"\x01\x05\x07\x00"  # no mark: the 05 is not behind a 00
HAN = b"\x03ab\x02c\x00"


class Stream:
    """Gives what `feed` got, a piece at a time, and keeps what is sent."""

    def __init__(self):
        self.pieces = []
        self.sent = b""
        self.more = asyncio.Event()

    def feed(self, octets, size=1000):
        self.pieces += [octets[i : i + size] for i in range(0, len(octets), size)]
        self.more.set()

    async def readinto(self, buf):
        while not self.pieces:
            self.more.clear()
            await self.more.wait()
        piece = self.pieces.pop(0)
        buf[: len(piece)] = piece
        return len(piece)

    async def write(self, octets):
        self.sent += bytes(octets)


class Clock:
    now = 0

    @classmethod
    def ticks_ms(cls):
        return cls.now

    @staticmethod
    def ticks_diff(a, b):
        return a - b


cable.time = Clock


async def taken(link):
    """What has arrived on a link by now."""
    buf = bytearray(1000)
    got = b""
    try:
        while True:
            got += bytes(buf[: await asyncio.wait_for_ms(link.readinto(buf), 80)])
    except asyncio.TimeoutError:
        return got


def ends(sizes=(2000, 2000)):
    stream = Stream()
    return (stream,) + cable.sides(stream, sizes, EUI)


async def test_each_side_gets_its_own_however_the_octets_come():
    sent = WAN + CARRIER + WAN + b"\x00\x05" + HAN + b"\x00\x05" + HAN + WAN
    for size in range(1, len(sent) + 1):
        stream, wan, han = ends()
        stream.feed(sent, size)
        assert await taken(han) == HAN + HAN, size
        # of each frame of the HAN the 00 in front stays: between frames it is nothing
        assert await taken(wan) == WAN + b"\x00" + WAN + b"\x00\x00" + WAN, size
        assert stream.sent == HELLO, size


async def test_nothing_goes_into_a_han_that_nobody_carries():
    stream, wan, han = ends()
    await han.write(HAN)
    assert stream.sent == b""
    stream.feed(CARRIER)
    await taken(wan)
    await han.write(b"\x00" + HAN)  # a board's first frame has a 00 in front
    assert stream.sent == HELLO + b"\x00\x05" + HAN
    Clock.now += cable.CARRIER_MS
    await han.write(HAN)
    assert stream.sent == HELLO + b"\x00\x05" + HAN


async def test_without_a_carrier_the_wan_is_as_it_is():
    """Also 00 05 in a message without a framing, and at its end: nobody waits for octets that never come."""
    for octets in (
        b"\x02\x00\x05abc",
        b"\x00\x05",
        b"\x00\x05\x05\x07hat",
        b"\x00\x05\x00\x05\x06",
    ):
        for size in range(1, len(octets) + 1):
            stream, wan, han = ends()
            stream.feed(octets, size)
            assert await taken(wan) == octets, (octets, size)
            assert await taken(han) == b""


async def test_a_frame_that_is_too_long_is_none():
    stream, wan, han = ends()
    stream.feed(CARRIER)
    await taken(wan)
    noise = b"\x00\x05" + bytes([1]) * 130 + b"\x00"
    stream.feed(noise + b"\x00\x05" + HAN)
    assert await taken(han) == HAN
    assert await taken(wan) == noise + b"\x00"
    await han.write(bytes([1]) * 130 + b"\x00")
    assert stream.sent == HELLO


async def test_a_full_ring_costs_its_own_side_alone():
    stream, wan, han = ends((64, 64))
    stream.feed(CARRIER + bytes([1]) * 100)
    await asyncio.sleep_ms(0)
    assert len(await taken(wan)) == 64
    assert wan.lost == 37  # the 00 in front of the carrier was there as well
    stream.feed(b"\x00\x05" + HAN)
    assert await taken(han) == HAN and han.lost == 0
