# Octet work shared by both wires: CRC-16, COBS, XOR. Native code, because a plain-Python loop over
# image octets runs at 33 KiB/s on an RP2040 (viper: about 1.9 MiB/s). No function allocates.


@micropython.viper
def crc16_xmodem(buf, start: int, end: int) -> int:
    """CRC-16/XMODEM (polynomial 0x1021, initial 0) over buf[start:end]: SMP's two serial framings."""
    p = ptr8(buf)
    crc = 0
    i = start
    while i < end:
        x = ((crc >> 8) ^ p[i]) & 0xFF
        x ^= x >> 4
        crc = ((crc << 8) ^ (x << 12) ^ (x << 5) ^ x) & 0xFFFF
        i += 1
    return crc


@micropython.viper
def crc16_fcs(buf, start: int, end: int) -> int:
    """The FCS of IEEE 802.15.4 (reflected 0x1021, initial 0) over buf[start:end]; sent low octet first."""
    p = ptr8(buf)
    crc = 0
    i = start
    while i < end:
        x = (crc ^ p[i]) & 0xFF
        x = (x ^ (x << 4)) & 0xFF
        crc = (crc >> 8) ^ (x << 8) ^ (x << 3) ^ (x >> 4)
        i += 1
    return crc


@micropython.viper
def cobs_encode(src, n: int, dst, at: int) -> int:
    """COBS-encode src[:n] to dst[at:], without the 0x00 that ends a frame; the index after it.

    dst needs n + n // 254 + 1 octets from `at`.
    """
    s = ptr8(src)
    d = ptr8(dst)
    code_at = at
    out = at + 1
    code = 1
    i = 0
    while i < n:
        octet = s[i]
        i += 1
        if octet:
            d[out] = octet
            out += 1
            code += 1
            if code != 0xFF:
                continue
        d[code_at] = code
        code_at = out
        out += 1
        code = 1
    d[code_at] = code
    return out


@micropython.viper
def cobs_decode(buf, n: int) -> int:
    """Decode the COBS frame buf[:n] (its 0x00 taken off) in place; its length, or -1 if it is none."""
    p = ptr8(buf)
    i = 0
    out = 0
    while i < n:
        code = p[i]
        i += 1
        if code == 0:
            return -1
        left = code - 1
        if i + left > n:
            return -1
        while left:
            octet = p[i]
            if octet == 0:
                return -1
            p[out] = octet
            i += 1
            out += 1
            left -= 1
        if code != 0xFF and i < n:
            p[out] = 0
            out += 1
    return out


@micropython.viper
def find(buf, octet: int, start: int, end: int) -> int:
    """The index of `octet` in buf[start:end], or -1."""
    p = ptr8(buf)
    i = start
    while i < end:
        if p[i] == octet:
            return i
        i += 1
    return -1


@micropython.viper
def xor_into(dst, at: int, src, n: int):
    """dst[at:at + n] ^= src[:n]."""
    d = ptr8(dst)
    s = ptr8(src)
    i = 0
    while i < n:
        d[at + i] = d[at + i] ^ s[i]
        i += 1
