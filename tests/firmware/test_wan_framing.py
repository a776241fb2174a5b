import asyncio
from binascii import a2b_base64, b2a_base64

from smets1 import octets
from smets1.wan.framing import COBS, CONSOLE, RAW, FrameReader, FrameWriter

# Frames that smp 4.2 and smpclient 7.3 made: message, console framing, COBS framing
ECHO = (
    "0a00000900000700a161646548656c6c6f",
    b"\x06\x09ABMKAAAJAAAHAKFhZGVIZWxsb4N2\n",
    "020a0102090102070ca161646548656c6c6f837600",
)
ECHO_V1 = (
    "0200000900000800a161646548656c6c6f",
    b"\x06\x09ABMCAAAJAAAIAKFhZGVIZWxsb49V\n",
    "02020102090102080ca161646548656c6c6f8f5500",
)
PARAMS = (
    "0800000100000906a0",
    b"\x06\x09AAsIAAABAAAJBqDtgg==\n",
    "020801020101060906a0ed8200",
)
PARAMS_V1 = (
    "0000000100000a06a0",
    b"\x06\x09AAsAAAABAAAKBqCdLQ==\n",
    "010101020101060a06a09d2d00",
)
# off 0, 200 octets of data, len 1000, sha: more than one line, more than one COBS block
UPLOAD = (
    "0a00011200010b01a6636c656e1903e8636f6666006373686158202d711642b726b04401627ca9fbac32f5c8530fb190"
    "3cc4db02258717921a4881646461746158c8000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d"
    "1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d"
    "4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d"
    "7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacad"
    "aeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c765696d616765006775706772616465f4",
    b"\x06\x09ARwKAAESAAELAaZjbGVuGQPoY29mZgBjc2hhWCAtcRZCtyawRAFifKn7rDL1yFMPsZA8xNsCJYcXkhpIgWRkYXRhWMg"
    b"AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY\n"
    b"\x04\x14GRobHB0eHyAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1x"
    b"dXl9gYWJjZGVmZ2hpamtsbW5vcHFyc3R1\n"
    b"\x04\x14dnd4eXp7fH1+f4CBgoOEhYaHiImKi4yNjo+QkZKTlJWWl5iZmpucnZ6foKGio6SlpqeoqaqrrK2ur7CxsrO0tba3uLm"
    b"6u7y9vr/AwcLDxMXGx2VpbWFnZQBndXBn\n"
    b"\x04\x14cmFkZfSOXQ==\n",
    "020a03011210010b01a6636c656e1903e8636f66662e6373686158202d711642b726b04401627ca9fbac32f5c8530fb1"
    "903cc4db02258717921a4881646461746158c8ce0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c"
    "1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c"
    "4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c"
    "7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabac"
    "adaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c765696d6167650c6775706772616465f48e5d00",
)
VECTORS = [
    (bytes.fromhex(m), c, bytes.fromhex(b))
    for m, c, b in (ECHO, ECHO_V1, PARAMS, PARAMS_V1, UPLOAD)
]
HELLO, HELLO_CONSOLE, HELLO_COBS = VECTORS[0]
LONG, LONG_CONSOLE, LONG_COBS = VECTORS[4]


class Link:
    """A wire: gives `incoming` in pieces of at most `piece` octets, keeps what is sent. EOFError when dry."""

    def __init__(self, incoming=b"", piece=128):
        self.incoming = incoming
        self.piece = piece
        self.at = 0
        self.writes = []

    async def readinto(self, buf):
        n = min(len(buf), self.piece, len(self.incoming) - self.at)
        if n < 1:
            raise EOFError
        buf[:n] = self.incoming[self.at : self.at + n]
        self.at += n
        return n

    async def write(self, buf):
        self.writes.append(bytes(buf))

    @property
    def sent(self):
        return b"".join(self.writes)


def console(message, line=124):
    """The console framing of a message, lines of `line` base64 characters."""
    crc = octets.crc16_xmodem(message, 0, len(message))
    frame = (len(message) + 2).to_bytes(2, "big") + message + crc.to_bytes(2, "big")
    text = b2a_base64(frame)[:-1]
    lines = [text[i : i + line] + b"\n" for i in range(0, len(text), line)]
    return b"\x06\x09" + b"\x04\x14".join(lines)


def cobs(message):
    frame = message + octets.crc16_xmodem(message, 0, len(message)).to_bytes(2, "big")
    out = bytearray(len(frame) + len(frame) // 254 + 2)
    return bytes(out[: octets.cobs_encode(frame, len(frame), out, 0) + 1])


def unframe(sent, framing):
    """The messages that a client reads in what was sent."""
    messages = []
    if framing == COBS:
        for frame in sent.split(b"\x00"):
            frame = bytearray(frame)
            n = octets.cobs_decode(frame, len(frame))
            if n > 0:
                messages.append(bytes(frame[: n - 2]))
                assert octets.crc16_xmodem(frame, 0, n) == 0
        return messages
    for start in sent.split(b"\x06\x09")[1:]:
        frame = b"".join(
            [a2b_base64(line) for line in start.replace(b"\x04\x14", b"").split(b"\n")]
        )
        assert int.from_bytes(frame[:2], "big") == len(frame) - 2
        assert octets.crc16_xmodem(frame, 2, len(frame)) == 0
        messages.append(frame[2:-2])
    return messages


async def read_all(incoming, piece=128, buf_size=512):
    """Every (message, framing) in `incoming`, and the reader."""
    reader = FrameReader(Link(incoming, piece), buf_size)
    got = []
    while True:
        try:
            message = await reader.read()
        except EOFError:
            return got, reader
        got.append((bytes(message), reader.framing))


def noise(seed, n):
    """n octets, the same every time."""
    out = bytearray(n)
    for i in range(n):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        out[i] = seed >> 16 & 0xFF
    return bytes(out)


async def test_frames_of_a_real_client_in_pieces_of_any_size():
    for piece in (1, 2, 3, 7, 31, 128, 1000):
        for message, as_console, as_cobs in VECTORS:
            got, reader = await read_all(as_console + as_cobs + as_console, piece)
            assert got == [(message, CONSOLE), (message, COBS), (message, CONSOLE)], piece
            assert reader.dropped == 0


async def test_the_helpers_here_frame_as_the_real_client_does():
    for message, as_console, as_cobs in VECTORS:
        assert console(message) == as_console
        assert cobs(message) == as_cobs


async def test_the_largest_message_fits_and_one_octet_more_does_not():
    body = noise(3, 600)
    for frame in (console, cobs):
        for size, fits in ((511, True), (512, True), (513, False)):
            message = (
                bytes((0x0A, 0, (size - 8) >> 8, (size - 8) & 255, 0, 1, 5, 1)) + body[: size - 8]
            )
            got, reader = await read_all(frame(message) + frame(HELLO), 128)
            assert [m for m, _ in got] == ([message, HELLO] if fits else [HELLO]), (frame, size)
            assert reader.dropped == (0 if fits else 1), reader.dropped


async def test_a_frame_far_longer_than_the_buffer():
    message = bytes((0x0A, 0, 0x1F, 0x38, 0, 1, 5, 1)) + b"\x55" * 0x1F38
    for frame in (console, cobs):
        got, reader = await read_all(frame(message) + frame(HELLO))
        assert [m for m, _ in got] == [HELLO]
        assert reader.dropped == 1


async def test_a_flipped_bit_anywhere_costs_that_frame_only():
    for framing, frame, good in (
        (CONSOLE, LONG_CONSOLE, HELLO_CONSOLE),
        (COBS, LONG_COBS, HELLO_COBS),
    ):
        for at in range(0, len(frame), 5):
            broken = bytearray(frame)
            broken[at] ^= 0x10
            got, _ = await read_all(bytes(broken) + good)
            # a line break may be lost without harm; the frame after it never is
            assert got[-1] == (HELLO, framing), at
            assert len(got) == 1 or got[0][0] == LONG, at


async def test_lost_octets_cost_that_frame_only():
    for framing, frame, good in (
        (CONSOLE, LONG_CONSOLE, HELLO_CONSOLE),
        (COBS, LONG_COBS, HELLO_COBS),
    ):
        for at in range(0, len(frame), 7):
            got, _ = await read_all(frame[:at] + frame[at + 3 :] + good + good, 50)
            assert got[-1] == (HELLO, framing), at


async def test_half_a_frame_of_a_client_that_died():
    for framing, half, good in (
        (CONSOLE, LONG_CONSOLE[:150], HELLO_CONSOLE),
        (CONSOLE, LONG_COBS[:3], HELLO_CONSOLE),
        (COBS, LONG_CONSOLE[:150], HELLO_COBS),
        (COBS, LONG_COBS[:150], HELLO_COBS),
    ):
        got, reader = await read_all(half + good)
        assert got == [(HELLO, framing)]
        assert reader.dropped <= 1


async def test_a_silent_line_ends_half_a_frame():
    # COBS broken off, then the other framing: only time tells that the rest will not come
    class Slow(Link):
        async def readinto(self, buf):
            if self.at:
                await asyncio.sleep_ms(30)
            return await Link.readinto(self, buf)

    reader = FrameReader(Slow(LONG_COBS[:128] + HELLO_CONSOLE, 128), 512)
    reader.quiet_ms = 10
    assert bytes(await reader.read()) == HELLO
    assert reader.dropped == 1


async def test_quiet_for_longer_than_ticks_can_tell():
    core = asyncio.core
    now = [0]
    core.ticks = lambda: now[0] & 0x3FFF_FFFF
    core.ticks_diff = lambda end, start: ((end - start + 0x2000_0000) & 0x3FFF_FFFF) - 0x2000_0000

    class Slow(Link):
        async def readinto(self, buf):
            if self.at:
                now[0] += 8 * 24 * 3600 * 1000
            return await Link.readinto(self, buf)

    reader = FrameReader(Slow(LONG_COBS[:128] + HELLO_CONSOLE, 128), 512)
    assert bytes(await reader.read()) == HELLO
    assert reader.dropped == 1


async def test_text_between_frames_is_skipped():
    boot = b"MPY: soft reboot\r\nCommunications Hub 0.1\r\n>>> "
    for framing, good in ((CONSOLE, HELLO_CONSOLE), (COBS, HELLO_COBS)):
        got, reader = await read_all(boot + good + boot + good, 20)
        assert got == [(HELLO, framing)] * 2
        assert reader.dropped == 0


async def test_thousands_of_random_octets_then_a_good_frame():
    for seed in range(12):
        for framing, good in ((CONSOLE, HELLO_CONSOLE), (COBS, HELLO_COBS)):
            got, _ = await read_all(noise(seed, 3000 + seed) + good, 1 + seed * 10)
            assert got == [(HELLO, framing)], (seed, framing)


async def test_raw_messages_in_pieces_of_any_size():
    messages = [m for m, _, _ in VECTORS] + [bytes.fromhex("0800000153310001a0")]
    for piece in (1, 2, 3, 8, 9, 128):
        got, reader = await read_all(b"".join(messages * 3), piece)
        assert got == [(m, RAW) for m in messages * 3], piece
        assert reader.dropped == 0


async def test_three_framings_on_one_line():
    for zeros in range(12):  # as some send between frames, or before the first
        gap = bytes(zeros)
        stream, wanted = b"", []
        for message, as_console, as_cobs in VECTORS:
            stream += gap + as_cobs + gap + message + as_console + as_cobs + message
            wanted += [(message, f) for f in (COBS, RAW, CONSOLE, COBS, RAW)]
        for piece in (1, 7, 128):
            got, reader = await read_all(stream, piece)
            assert got == wanted and reader.dropped == 0, (zeros, piece)


async def test_what_is_no_raw_request():
    for junk in (
        "0800000000000006",  # no payload: eight zeros would be one
        "080000010002000600a0",  # a group that is not here
        "080000010000000660",  # no map
        "080100010000000 6a0".replace(" ", ""),  # flags
        "0900000100000006a0",  # an answer
        "2800000100000006a0",  # reserved bits
        "08000800000000 06a0".replace(" ", ""),  # longer than the buffer
        "00" * 40,
    ):
        got, _ = await read_all(bytes.fromhex(junk) + HELLO_COBS + HELLO, 128)
        assert got == [(HELLO, COBS), (HELLO, RAW)], junk


async def test_half_a_raw_message_ends_when_the_line_is_quiet():
    class Slow(Link):
        async def readinto(self, buf):
            if self.at:
                await asyncio.sleep_ms(30)
            return await Link.readinto(self, buf)

    reader = FrameReader(Slow(LONG[:128] + HELLO, 128), 512)
    reader.quiet_ms = 10
    assert bytes(await reader.read()) == HELLO and reader.framing == RAW
    assert reader.dropped == 1


async def test_room_for_one_long_message():
    for framing in (RAW, COBS, CONSOLE):
        link = Link()
        writer = FrameWriter(link, 16)
        for n in (16, 3000, 16):
            if n > 16:
                writer.make_room(n)
            assert len(writer.body) == n
            writer.body[:] = noise(n, n)
            await writer.write(n, framing)
        sent = link.sent
        if framing == RAW:
            assert sent == noise(16, 16) + noise(3000, 3000) + noise(16, 16)
        else:
            assert unframe(sent, framing) == [noise(n, n) for n in (16, 3000, 16)]


async def test_nothing_but_frame_starts():
    for junk in (
        b"\x06\x09",
        b"\x06",
        b"\x04\x14",
        b"\x02\x0a",
        b"\x01\x01",
        b"\x00",
        b"\x02\x0a\x01\x03\x01",
    ):
        got, _ = await read_all(junk * 700 + b"\x00\n" + HELLO_CONSOLE + HELLO_COBS, 128)
        assert got[-1] == (HELLO, COBS), junk
        # 01 01 01 ... 00 is a frame: eight zeros, whose CRC is zero too
        assert all(m == HELLO or (junk == b"\x01\x01" and m == bytes(8)) for m, _ in got), junk


async def test_other_line_endings_and_lengths():
    frame = console(LONG, 76).replace(b"\n", b"\r\n")
    got, _ = await read_all(frame + console(LONG, 4) + console(LONG, 4000))
    assert got == [(LONG, CONSOLE)] * 3


async def test_answers_in_both_framings():
    for n in (9, 90, 91, 92, 93, 94, 254, 255, 508, 1023, 1024):
        for fill in (b"\x00", b"\xff", None):
            message = noise(n, n) if fill is None else fill * n
            for framing in (CONSOLE, COBS):
                link = Link()
                writer = FrameWriter(link, 1024)
                writer.body[:n] = message
                await writer.write(n, framing)
                assert unframe(link.sent, framing) == [message], (n, framing)
                if framing == CONSOLE:
                    assert link.sent == console(message)
                else:
                    assert link.sent == b"\x00" + cobs(message)
