# SMP's three serial framings. The first octets of a frame tell them apart:
#   console  06 09, base64 of (length, message, CRC-16/XMODEM), newline; more lines begin with 04 14
#   COBS     COBS of (message, CRC-16/XMODEM), 00. Its first octet is 01 or 02, because a message's
#            second octet (the flags) is 00.
#   raw      the message itself, as long as its header says. Its second octet is 00, which COBS never has, and its
#            length, group and first octet of CBOR have to be what they can be: a frame of the other two never looks
#            like that, and zeros between frames do not. It has no CRC, so what gets damaged is a damaged message.
# An answer goes back in the framing of its request. What is no frame, such as a boot message, is
# skipped; a frame that fails is dropped and the search goes on inside it, so half a frame from a client
# that died does not cost the next client's first one.
#
# One buffer a direction: octets are decoded where they arrived. Per-octet work is viper.
import asyncio.core as core
from array import array
from binascii import b2a_base64

from micropython import const

from smets1 import octets

CONSOLE = const(1)
COBS = const(2)
RAW = const(3)
_HUNT = const(0)  # between frames

_CRC = const(2)  # octets
_LENGTH = const(2)  # octets of the console framing's length field
_SPARE = const(64)  # room to read on when a console frame is nearly whole

# The console decoder's state between two pieces of a frame
_SRC = const(0)  # next octet to decode
_OUT = const(1)  # where its value goes
_BITS = const(2)  # bits that wait for more
_COUNT = const(3)  # how many
_PHASE = const(4)  # below
_NEED = const(5)  # octets of the decoded frame, 0: not known yet
_MOST = const(6)  # the largest _NEED
_IN_LINE = const(0)
_LINE_START = const(1)
_LINE_MARK = const(2)  # 04 seen, 14 must follow
# and its verdicts
_MORE = const(0)
_WHOLE = const(1)
_BAD = const(2)


@micropython.viper
def _console_decode(buf, state, end: int) -> int:
    """Decode buf[state[_SRC]:end] to buf[state[_OUT]:]. Afterwards _SRC is behind the frame (_WHOLE), or
    where the search may go on (_BAD)."""
    p = ptr8(buf)
    s = ptr32(state)
    i = s[_SRC]
    out = s[_OUT]
    bits = s[_BITS]
    count = s[_COUNT]
    phase = s[_PHASE]
    verdict = _MORE
    while i < end and verdict == _MORE:
        c = p[i]
        if phase == _IN_LINE:
            value = 64
            if c >= 0x61:
                if c <= 0x7A:
                    value = c - 71
            elif c >= 0x41:
                if c <= 0x5A:
                    value = c - 65
            elif c >= 0x30:
                if c <= 0x39:
                    value = c + 4
            elif c == 0x2B:
                value = 62
            elif c == 0x2F:
                value = 63
            if value < 64:
                bits = (bits << 6) | value
                count += 6
                if count >= 8:
                    count -= 8
                    p[out] = bits >> count
                    bits = bits & ((1 << count) - 1)
                    out += 1
                    if out == _LENGTH:
                        need = _LENGTH + ((p[0] << 8) | p[1])
                        s[_NEED] = need
                        if need > s[_MOST] or need < 12:  # length, header, CRC
                            verdict = _BAD
                    elif out == s[_NEED]:
                        verdict = _WHOLE
            elif c == 10:
                phase = _LINE_START
                bits = 0
                count = 0
            elif c == 0x3D:  # padding at a line's end
                bits = 0
                count = 0
            elif c != 13:
                verdict = _BAD
                i -= 1
        elif phase == _LINE_START:
            if c == 4:
                phase = _LINE_MARK
            elif c != 10 and c != 13:
                verdict = _BAD
                i -= 1
        elif c == 20:
            phase = _IN_LINE
        else:
            verdict = _BAD
            i -= 1
        i += 1
    s[_SRC] = i
    s[_OUT] = out
    s[_BITS] = bits
    s[_COUNT] = count
    s[_PHASE] = phase
    return verdict


@micropython.viper
def _cobs_length(buf, at: int, end: int) -> int:
    """Of the COBS frame that may start at buf[at]: the length in its SMP header; -1: it is no request's
    header, -2: too few octets to tell."""
    p = ptr8(buf)
    left = p[at] - 1
    i = at + 1
    got = 0
    length = 0
    while got < 4:
        if i >= end:
            return -2
        octet = p[i]
        i += 1
        if octet == 0:
            return -1
        if left:
            left -= 1
        else:  # a code octet: a 0 stood here
            left = octet - 1
            octet = 0
        if got == 0:
            # 3 reserved bits, 2 of version, 3 of op: only 0 (read) and 2 (write) are requests
            if octet & 0xE5:
                return -1
        elif got == 1:
            if octet:  # flags
                return -1
        else:
            length = (length << 8) | octet
        got += 1
    return length


@micropython.viper
def _raw_length(buf, at: int, end: int) -> int:
    """Of the raw request that may start at buf[at]: the length in its SMP header; -1: none does, -2: too few octets
    to tell."""
    p = ptr8(buf)
    if p[at] & 0xE5:  # as in _cobs_length
        return -1
    n = end - at
    if n > 1 and p[at + 1]:  # flags
        return -1
    if n < 9:
        return -2
    group = (p[at + 4] << 8) | p[at + 5]
    if group > 1 and group != 0x5331:
        return -1
    first = p[at + 8]
    if first < 0xA0 or (first > 0xB7 and first != 0xBF):  # of a map
        return -1
    return (p[at + 2] << 8) | p[at + 3]


@micropython.viper
def _find_start(buf, at: int, end: int) -> int:
    """The index from `at` on where a frame starts, `end` if there is none; -1 - i: one may start at i,
    too few octets to tell."""
    p = ptr8(buf)
    i = at
    while i < end:
        c = p[i]
        if c == 6:
            if i + 1 == end:
                return -1 - i
            if p[i + 1] == 9:
                return i
        else:
            length = -1
            if c == 1 or c == 2:
                length = int(_cobs_length(buf, i, end))
            if length == -1 and not c & 0xE5:
                length = int(_raw_length(buf, i, end))
            if length == -2:
                return -1 - i
            if length >= 0:
                return i
        i += 1
    return end


@micropython.viper
def _cobs_good(buf, n: int) -> int:
    """1 if buf[:n] is COBS and the CRC of what it stands for is right. Changes nothing."""
    p = ptr8(buf)
    crc = 0
    i = 0
    while i < n:
        code = p[i]
        i += 1
        stop = i + code - 1
        if code == 0 or stop > n:
            return 0
        while i < stop:
            x = ((crc >> 8) ^ p[i]) & 0xFF
            x ^= x >> 4
            crc = ((crc << 8) ^ (x << 12) ^ (x << 5) ^ x) & 0xFFFF
            i += 1
        if code != 0xFF and i < n:
            x = (crc >> 8) & 0xFF
            x ^= x >> 4
            crc = ((crc << 8) ^ (x << 12) ^ (x << 5) ^ x) & 0xFFFF
    return 1 if crc == 0 else 0  # a CRC over octets and their CRC is 0


class FrameReader:
    """link: `async readinto(buf) -> n`, 0 if whoever was at its other end is gone. buf_size: octets of the longest
    message, SMP header included."""

    quiet_ms = 2000  # a frame that stops for this long will not go on: its sender is gone

    def __init__(self, link, buf_size):
        self.framing = CONSOLE  # of the last message
        self.dropped = 0  # frames with a bad CRC, too long, or broken off
        self._link = link
        self._most = buf_size
        self._buf = bytearray(_cobs_max(buf_size + _CRC) + 1 + _SPARE)
        self._view = memoryview(self._buf)
        self._fill = 0  # octets in the buffer; it begins with the frame that is coming in
        self._used = 0  # of them, those of the message that read() gave out last
        self._mode = _HUNT
        self._takers = {CONSOLE: self._take_console, COBS: self._take_cobs, RAW: self._take_raw}
        self._console = array("i", [0, 0, 0, 0, 0, 0, 0])
        self._decoded = 0  # COBS: octets that the frame must decode to; raw: that it has
        self._searched = 0  # COBS: how far there is no 00

    async def read(self):
        """The next good message, as a memoryview that holds until the next call; None: its sender is gone."""
        self._discard(self._used)
        self._used = 0
        while True:
            message = self._take()
            if message is not None:
                return message
            begun = self._fill or self._mode != _HUNT
            start = core.ticks()
            n = await self._link.readinto(self._view[self._fill :])
            if not n:
                if begun:
                    self._fill = 0
                    self._drop()
                return None
            # negative: it was quiet for longer than ticks can tell (6 days)
            if begun and not 0 <= core.ticks_diff(core.ticks(), start) <= self.quiet_ms:
                self._view[:n] = self._view[self._fill : self._fill + n]
                self._fill = 0
                self._drop()
            self._fill += n

    def _take(self):
        """The message that is whole in the buffer, None: more octets are needed."""
        while self._fill:
            if self._mode == _HUNT and not self._hunt():
                return None
            message = self._takers[self._mode]()
            if message is not None or self._mode != _HUNT:
                return message
        return None

    def _hunt(self):
        """Skip to the next start of a frame; False: none is here yet."""
        at = 0
        while True:
            at = _find_start(self._buf, at, self._fill)
            if at < 0 or at == self._fill:
                self._discard(at if at >= 0 else -1 - at)
                return False
            if self._buf[at] == 6:
                self._discard(at)
                state = self._console
                for i in range(_MOST):
                    state[i] = 0
                state[_SRC] = 2
                state[_MOST] = _LENGTH + self._most + _CRC
                self._mode = CONSOLE
                return True
            raw = _raw_length(self._buf, at, self._fill)
            size = (raw if raw >= 0 else _cobs_length(self._buf, at, self._fill)) + 8
            if size <= self._most:
                self._discard(at)
                self._decoded = size if raw >= 0 else size + _CRC
                self._searched = 0
                self._mode = RAW if raw >= 0 else COBS
                return True
            self.dropped += 1
            at += 1

    def _take_console(self):
        state = self._console
        verdict = _console_decode(self._buf, state, self._fill)
        if verdict == _MORE:  # all of it is decoded: the next piece goes behind that
            self._fill = state[_SRC] = state[_OUT]
            return None
        size = state[_NEED]
        if verdict == _WHOLE and octets.crc16_xmodem(self._buf, _LENGTH, size) == 0:
            return self._give(CONSOLE, _LENGTH, size - _CRC, state[_SRC])
        self._drop()
        self._discard(state[_SRC])
        return None

    def _take_cobs(self):
        most = _cobs_max(self._decoded)
        end = octets.find(self._buf, 0, self._searched, self._fill)
        if end < 0 and self._fill <= most:
            self._searched = self._fill
            return None
        if self._decoded < end <= most and _cobs_good(self._buf, end):
            octets.cobs_decode(self._buf, end)
            return self._give(COBS, 0, self._decoded - _CRC, end + 1)
        self._drop()
        self._discard(1)
        return None

    def _take_raw(self):
        if self._fill < self._decoded:
            return None
        return self._give(RAW, 0, self._decoded, self._decoded)

    def _give(self, framing, start, end, used):
        self.framing = framing
        self._used = used
        self._mode = _HUNT
        return self._view[start:end]

    def _drop(self):
        self.dropped += 1
        self._mode = _HUNT

    def _discard(self, n):
        """The first n octets of the buffer go."""
        left = self._fill - n
        if n and left:
            self._view[:left] = self._view[n : self._fill]
        self._fill = left


_LINE_OCTETS = const(93)  # 124 base64 characters, 127 with mark and newline


class FrameWriter:
    """link: `async write(buf)`. Put the message to body[:n], then write(n, framing)."""

    def __init__(self, link, size):
        self._link = link
        self._line = bytearray(2 + _LINE_OCTETS // 3 * 4 + 1)
        self._size = size
        self._own = bytearray(_gap(size) + size + _CRC)
        self._use(self._own, size)

    def make_room(self, size):
        """`body` has `size` octets for the next message, and only for that."""
        self._use(bytearray(_gap(size) + size + _CRC), size)

    def _use(self, buf, size):
        self._gap = _gap(size)
        self._buf = buf
        self._view = memoryview(buf)
        self._tail = self._view[self._gap :]
        self.body = self._tail[:size]

    async def write(self, n, framing):
        if framing == RAW:
            await self._link.write(self.body[:n])
        else:
            await self._write_framed(n, framing)
        if self._buf is not self._own:
            self._use(self._own, self._size)

    async def _write_framed(self, n, framing):
        buf = self._buf
        end = self._gap + n
        crc = octets.crc16_xmodem(buf, self._gap, end)
        buf[end] = crc >> 8
        buf[end + 1] = crc & 0xFF
        end += _CRC
        if framing == COBS:
            # A 00 first: what was printed on the same line before is no part of this frame.
            buf[0] = 0
            end = octets.cobs_encode(self._tail, n + _CRC, buf, 1)
            buf[end] = 0
            await self._link.write(self._view[: end + 1])
            return
        at = self._gap - _LENGTH
        buf[at] = (n + _CRC) >> 8
        buf[at + 1] = (n + _CRC) & 0xFF
        line = self._line
        line[0] = 6
        line[1] = 9
        while at < end:
            text = b2a_base64(self._view[at : min(at + _LINE_OCTETS, end)])
            line[2 : 2 + len(text)] = text
            await self._link.write(memoryview(line)[: 2 + len(text)])
            line[0] = 4
            line[1] = 20
            at += _LINE_OCTETS


def _gap(n):
    """Octets in front of a message of n: room to COBS-encode it towards the start of its own buffer."""
    return n // 254 + 4


def _cobs_max(n):
    """The most octets that n octets take in COBS, without the 00 at the end."""
    return n + n // 254 + 1
