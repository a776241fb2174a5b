# One frame of the HAN: 802.15.4 data frame (PAN-internal, 16-bit addresses), NWK header, auxiliary security header,
# APS data header, payload, MIC, FCS. One hop: MAC and NWK addresses are the same, so every header has the same length
# and each field one fixed place. A NWK command is the same, but for what is where the APS header would be.
import struct

from micropython import const

PSDU_MAX = const(127)
FCS_SIZE = const(2)

# where things are
NWK = const(9)
AUX = const(17)
APS = const(31)
PAYLOAD = const(39)
PAYLOAD_MAX = const(82)  # what is left of a PSDU: 127 - 39 - 4 (MIC) - 2 (FCS)
LEAST = const(43)  # a data frame with no payload, its MIC, and no FCS
LEAST_COMMAND = const(
    36
)  # the same of a NWK command, which has its number where the APS header would be

_MAC_UNICAST = const(0x8861)  # data, acknowledge, PAN ID compression, 16-bit addresses
_MAC_BROADCAST = const(0x8841)
_NWK_CONTROL = const(0x0208)  # data, protocol version 2, route discovery suppressed, security
_RADIUS = const(30)
# Security control: network key, extended nonce. Zigbee sends the level as 0 and computes with the network's level, 5.
_SECURITY_CONTROL = const(0x28)
_LEVEL = const(5)
_APS_BROADCAST = const(0x08)  # delivery mode; the frame type, data, is 0
_BROADCAST_FIRST = const(0xFFF8)

_HEADERS = "<HBHHHHHHBBBI8sBBBHHBB"


@micropython.viper
def u16(buf, at: int) -> int:
    p = ptr8(buf)
    return int(p[at]) | (int(p[at + 1]) << 8)


@micropython.viper
def u32(buf, at: int) -> uint:
    p = ptr8(buf)
    return uint(
        uint(p[at])
        | (uint(p[at + 1]) << uint(8))
        | (uint(p[at + 2]) << uint(16))
        | (uint(p[at + 3]) << uint(24))
    )


@micropython.viper
def put_u32(buf, at: int, value: uint):
    p = ptr8(buf)
    p[at] = value
    p[at + 1] = value >> uint(8)
    p[at + 2] = value >> uint(16)
    p[at + 3] = value >> uint(24)


@micropython.viper
def same(a, at: int, b, n: int) -> bool:
    """Whether a[at:at + n] is b[:n]."""
    p = ptr8(a)
    q = ptr8(b)
    i = 0
    while i < n:
        if p[at + i] != q[i]:
            return False
        i += 1
    return True


@micropython.viper
def same_eui(a, at: int, eui) -> bool:
    """Whether a[at:at + 8] is that EUI-64 (8 octets, most significant first) as it is on the air."""
    p = ptr8(a)
    q = ptr8(eui)
    i = 0
    while i < 8:
        if p[at + i] != q[7 - i]:
            return False
        i += 1
    return True


@micropython.viper
def copy(dst, at: int, src, start: int, n: int):
    """dst[at:at + n] = src[start:start + n], without slices; downwards within one buffer too."""
    d = ptr8(dst)
    s = ptr8(src)
    i = 0
    while i < n:
        d[at + i] = s[start + i]
        i += 1


@micropython.viper
def fill_nonce(nonce, frame):
    """Source EUI-64, frame counter, security control with the level."""
    o = ptr8(nonce)
    p = ptr8(frame)
    i = 0
    while i < 8:
        o[i] = p[22 + i]
        i += 1
    i = 0
    while i < 4:
        o[8 + i] = p[18 + i]
        i += 1
    o[12] = p[17]


@micropython.viper
def headers_fit(frame) -> bool:
    """Whether the MAC, NWK and auxiliary headers are of the one form that this HAN sends."""
    p = ptr8(frame)
    if (p[0] & 0xDF) != 0x41 or p[1] != 0x88:  # MAC control; acknowledge request free
        return False
    if (p[9] & 0x3E) != 0x08 or p[10] != 0x02:  # NWK control: data or command; route discovery free
        return False
    if p[7] != p[13] or p[8] != p[14]:  # one hop: the MAC's source is the NWK's
        return False
    if p[12] == 0xFF and p[11] >= 0xF8:  # broadcast in both or in neither
        if p[5] != 0xFF or p[6] != 0xFF:
            return False
    elif p[5] != p[11] or p[6] != p[12]:
        return False
    return p[17] == 0x28  # security control


def is_data(frame):
    """Whether the MAC header is that of a data frame, not of a beacon or a MAC command."""
    return frame[0] & 7 == 1


def is_secured(frame, n):
    """Whether frame[:n], which has no FCS any more, says that it is a data frame with NWK security."""
    return n > 10 and is_data(frame) and frame[10] & 2


def is_command(frame):
    """Whether a frame whose headers fit is a NWK command."""
    return frame[NWK] & 3 == 1


@micropython.viper
def aps_fits(frame) -> bool:
    """Whether the decrypted APS header is that of a data frame, addressed as the NWK header is."""
    p = ptr8(frame)
    if p[12] == 0xFF and p[11] >= 0xF8:
        return p[31] == 0x08
    return p[31] == 0


def build(
    frame, pan, dst, src, sequence, counter, eui, key_sequence, profile, cluster, src_ep, dst_ep
):
    """Write the headers to frame[:PAYLOAD]. `eui`: 8 octets, least significant first."""
    broadcast = dst >= _BROADCAST_FIRST
    struct.pack_into(
        _HEADERS,
        frame,
        0,
        _MAC_BROADCAST if broadcast else _MAC_UNICAST,
        sequence,
        pan,
        0xFFFF if broadcast else dst,
        src,
        _NWK_CONTROL,
        dst,
        src,
        _RADIUS,
        sequence,
        _SECURITY_CONTROL,
        counter,
        eui,
        key_sequence,
        _APS_BROADCAST if broadcast else 0,
        dst_ep,
        cluster,
        profile,
        src_ep,
        sequence,
    )


def make_command(frame):
    """Turn the headers of a data frame into those of a NWK command."""
    frame[NWK] |= 1


def with_level(frame):
    """Put the security level in: what is authenticated has it, what is on the air has not."""
    frame[AUX] |= _LEVEL


def without_level(frame):
    frame[AUX] &= ~7
