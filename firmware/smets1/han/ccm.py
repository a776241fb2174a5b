# AES-128-CCM* at Zigbee's security level 5: the message is encrypted and carries a 32-bit MIC. In place, without
# allocation: the CBC-MAC is one call over prepared blocks, the key stream is one ECB call over counter blocks.
from cryptolib import aes
from micropython import const

from smets1.octets import xor_into

MIC_SIZE = const(4)
NONCE_SIZE = const(13)
_BLOCKS = const(9)  # B0, up to 30 octets of header, up to 96 octets of message


@micropython.viper
def _mac_blocks(out, buf, aad: int, start: int, end: int, nonce, chain) -> int:
    """B0, then buf[aad:start], then buf[start:end], each padded to whole blocks; their number.

    `chain`, the last block that the CBC object made, goes into B0: that undoes what CBC carries from one call to the
    next, so one AES object serves for all frames.
    """
    o = ptr8(out)
    b = ptr8(buf)
    v = ptr8(nonce)
    c = ptr8(chain)
    size = end - start
    o[0] = 0x49  # a header, 32-bit MIC, 2-octet length
    i = 0
    while i < 13:
        o[i + 1] = v[i]
        i += 1
    o[14] = size >> 8
    o[15] = size
    i = 0
    while i < 16:
        o[i] = o[i] ^ c[i]
        i += 1
    header = start - aad
    o[16] = header >> 8
    o[17] = header
    at = 18
    i = aad
    while i < start:
        o[at] = b[i]
        at += 1
        i += 1
    while at & 15:
        o[at] = 0
        at += 1
    while i < end:
        o[at] = b[i]
        at += 1
        i += 1
    while at & 15:
        o[at] = 0
        at += 1
    return at >> 4


@micropython.viper
def _counter_blocks(out, nonce, count: int):
    """A0, A1, ...: flags, nonce, block number."""
    o = ptr8(out)
    v = ptr8(nonce)
    k = 0
    while k < count:
        at = k << 4
        o[at] = 0x01
        i = 0
        while i < 13:
            o[at + 1 + i] = v[i]
            i += 1
        o[at + 14] = 0
        o[at + 15] = k
        k += 1


@micropython.viper
def _keep(dst, src, at: int):
    d = ptr8(dst)
    s = ptr8(src)
    i = 0
    while i < 16:
        d[i] = s[at + i]
        i += 1


@micropython.viper
def _put_mic(buf, at: int, tag, stream):
    b = ptr8(buf)
    t = ptr8(tag)
    s = ptr8(stream)
    i = 0
    while i < 4:
        b[at + i] = t[i] ^ s[i]
        i += 1


@micropython.viper
def _mic_differs(buf, at: int, tag, stream) -> int:
    """0 if the MIC at buf[at:] is right; looks at every octet whatever the first ones are."""
    b = ptr8(buf)
    t = ptr8(tag)
    s = ptr8(stream)
    differs = 0
    i = 0
    while i < 4:
        differs |= b[at + i] ^ t[i] ^ s[i]
        i += 1
    return differs


class Ccm:
    """CCM* with one key. Header and message lie in one buffer, header first: buf[aad:start], buf[start:end]."""

    def __init__(self, key):
        self._ecb = aes(key, 1)
        self._cbc = aes(key, 2, bytes(16))
        self._blocks = bytearray(16 * _BLOCKS)
        self._stream = bytearray(16 * _BLOCKS)
        # what CBC carries into its next call; after a MAC its first octets are the tag
        self._chain = bytearray(16)
        blocks, stream = memoryview(self._blocks), memoryview(self._stream)
        self._blocks_to = [blocks[: 16 * n] for n in range(_BLOCKS + 1)]
        self._stream_to = [stream[: 16 * n] for n in range(_BLOCKS + 1)]
        self._stream_from_1 = stream[16:]

    def seal(self, buf, aad, start, end, nonce):
        """Encrypt buf[start:end] in place and write the MIC after it; the index after the MIC."""
        self._check(start - aad, end - start)
        self._mac(buf, aad, start, end, nonce)
        self._crypt(buf, start, end, nonce)
        _put_mic(buf, end, self._chain, self._stream)
        return end + MIC_SIZE

    def open(self, buf, aad, start, end, nonce):
        """Decrypt buf[start:end] in place; whether the MIC at buf[end:] is right. If not, buf holds rubbish."""
        self._check(start - aad, end - start)
        self._crypt(buf, start, end, nonce)
        self._mac(buf, aad, start, end, nonce)
        return not _mic_differs(buf, end, self._chain, self._stream)

    def _check(self, header, message):
        if header < 1 or message < 0 or 1 + (header + 17) // 16 + (message + 15) // 16 > _BLOCKS:
            raise ValueError("CCM*: header %d, message %d" % (header, message))

    def _mac(self, buf, aad, start, end, nonce):
        n = _mac_blocks(self._blocks, buf, aad, start, end, nonce, self._chain)
        blocks = self._blocks_to[n]
        self._cbc.encrypt(blocks, blocks)
        _keep(self._chain, self._blocks, 16 * n - 16)

    def _crypt(self, buf, start, end, nonce):
        n = 1 + (end - start + 15) // 16
        stream = self._stream_to[n]
        _counter_blocks(stream, nonce, n)
        self._ecb.encrypt(stream, stream)
        xor_into(buf, start, self._stream_from_1, end - start)
