# What goes over the HAN before a device has the network key: beacons and commands of IEEE 802.15.4, each in the one
# form that is sent here, and the APS command Transport-Key. Frames are made and read without their FCS. EUI-64s are 8
# octets, most significant first; on the air their least significant octet is first, as everything's is.
import struct

from micropython import const

from smets1.han.ccm import MIC_SIZE, NONCE_SIZE, Ccm
from smets1.han.frames import same, u16
from smets1.han.ids import COORDINATOR, NO_PAN

# frame control: the frame's kind, and which addresses it has
BEACON = const(0x8000)
BEACON_REQUEST = const(0x0803)
ASSOCIATION_REQUEST = const(0xC823)
ASSOCIATION_RESPONSE = const(0xCC63)
DATA_REQUEST = const(0xC863)  # of one that has its EUI-64 alone
DATA_REQUEST_SHORT = const(0x8863)
TRANSPORT_KEY = const(0x8861)  # a data frame

_SIZES = {
    BEACON: 26,
    BEACON_REQUEST: 8,
    ASSOCIATION_REQUEST: 19,
    ASSOCIATION_RESPONSE: 25,
    DATA_REQUEST: 16,
    DATA_REQUEST_SHORT: 10,
    TRANSPORT_KEY: 71,
}
_COMMANDS = {  # which command it is, and where that stands
    BEACON_REQUEST: (7, 0x07),
    ASSOCIATION_REQUEST: (17, 0x01),
    ASSOCIATION_RESPONSE: (21, 0x02),
    DATA_REQUEST: (15, 0x04),
    DATA_REQUEST_SHORT: (9, 0x04),
}

# status of an association
ASSOCIATED = const(0)
AT_CAPACITY = const(1)
DENIED = const(2)

_CAPABILITY = const(0x8C)  # as in Device_annce (zdo.py)
_SUPERFRAME = const(0x4FFF)  # no superframe, PAN coordinator
_PERMIT = const(0x8000)
_STACK = b"\x00\x22\x84"  # Zigbee PRO, protocol version 2, room for end devices
_TAIL = b"\xff\xff\xff\x00"  # no superframe to be offset from; network update 0

# Transport-Key: where things are
_APS = const(17)
_SECURITY = const(19)
_COUNTER = const(20)
_SENDER = const(24)
_COMMAND = const(32)
_KEY = const(34)
_KEY_SEQUENCE = const(50)
_TO = const(51)
_FROM = const(59)
_END = const(67)
_NWK_CONTROL = const(0x0008)  # data, protocol version 2, not secured
_RADIUS = const(30)
_APS_COMMAND = const(0x21)  # a command, secured
_KEY_TRANSPORT = const(
    0x30
)  # security control: key-transport key, extended nonce; the level is not sent
_LEVEL = const(5)
_STANDARD_NETWORK_KEY = b"\x05\x01"


def kind(frame, n):
    """Which of the forms above frame[:n] is; -1: none."""
    control = u16(frame, 0)
    if _SIZES.get(control) != n:
        return -1
    if control in _COMMANDS:
        at, command = _COMMANDS[control]
        if frame[at] != command:
            return -1
    elif control == TRANSPORT_KEY and (
        frame[_APS] != _APS_COMMAND or frame[_SECURITY] != _KEY_TRANSPORT
    ):
        return -1
    return control


def eui_at(frame, at):
    return bytes(reversed(frame[at : at + 8]))


def _wire(eui):
    return bytes(reversed(eui))


def beacon_request(sequence):
    return struct.pack("<HBHHB", BEACON_REQUEST, sequence, NO_PAN, NO_PAN, 0x07)


def beacon(sequence, pan, eui):
    """Of a CH, `eui`, that lets devices join."""
    head = struct.pack("<HBHHHH", BEACON, sequence, pan, COORDINATOR, _SUPERFRAME | _PERMIT, 0)
    return head + _STACK + _wire(eui) + _TAIL


def parse_beacon(frame):
    """(PAN, the CH's EUI-64); None: of something else, or nobody may join there."""
    if (
        u16(frame, 5) != COORDINATOR
        or not u16(frame, 7) & _PERMIT
        or frame[11]
        or frame[12] != 0x22
    ):
        return None
    return u16(frame, 3), eui_at(frame, 14)


def association_request(sequence, pan, eui):
    return struct.pack(
        "<HBHHH8sBB",
        ASSOCIATION_REQUEST,
        sequence,
        pan,
        COORDINATOR,
        NO_PAN,
        _wire(eui),
        0x01,
        _CAPABILITY,
    )


def association_response(sequence, pan, to, eui, address, status):
    return struct.pack(
        "<HBH8s8sBHB",
        ASSOCIATION_RESPONSE,
        sequence,
        pan,
        _wire(to),
        _wire(eui),
        0x02,
        address,
        status,
    )


def data_request(sequence, pan, eui):
    """Whatever is there for `eui`, which has no short address yet."""
    return struct.pack("<HBHH8sB", DATA_REQUEST, sequence, pan, COORDINATOR, _wire(eui), 0x04)


def data_request_short(sequence, pan, address):
    return struct.pack("<HBHHHB", DATA_REQUEST_SHORT, sequence, pan, COORDINATOR, address, 0x04)


def transport_key(sequence, pan, address, to, eui, counter, network_key, key_sequence, under):
    """The network key for the device `to`, from the CH `eui`, under the key-transport key `under`.

    counter: half of a nonce; used once with that key."""
    frame = bytearray(_END + MIC_SIZE)
    struct.pack_into("<HBHHH", frame, 0, TRANSPORT_KEY, sequence, pan, address, COORDINATOR)
    struct.pack_into("<HHHBB", frame, 9, _NWK_CONTROL, address, COORDINATOR, _RADIUS, sequence)
    struct.pack_into(
        "<BBBI8s", frame, _APS, _APS_COMMAND, sequence, _KEY_TRANSPORT, counter, _wire(eui)
    )
    struct.pack_into(
        "<2s16sB8s8s",
        frame,
        _COMMAND,
        _STANDARD_NETWORK_KEY,
        network_key,
        key_sequence,
        _wire(to),
        _wire(eui),
    )
    frame[_SECURITY] |= _LEVEL
    Ccm(under).seal(frame, _APS, _COMMAND, _END, _nonce(frame))
    frame[_SECURITY] &= ~_LEVEL
    return frame


def open_transport_key(frame, to, eui, under):
    """(network key, its sequence number) for the device `to` from the CH `eui`; None: under another key, or not so."""
    frame = bytearray(frame[: _END + MIC_SIZE])
    if not same(frame, _SENDER, _wire(eui), 8):
        return None
    frame[_SECURITY] |= _LEVEL
    if not Ccm(under).open(frame, _APS, _COMMAND, _END, _nonce(frame)):
        return None
    if (
        frame[_COMMAND:_KEY] != _STANDARD_NETWORK_KEY
        or not same(frame, _TO, _wire(to), 8)
        or not same(frame, _FROM, _wire(eui), 8)
    ):
        return None
    return bytes(frame[_KEY:_KEY_SEQUENCE]), frame[_KEY_SEQUENCE]


def _nonce(frame):
    nonce = bytearray(NONCE_SIZE)
    nonce[:8] = frame[_SENDER : _SENDER + 8]
    nonce[8:12] = frame[_COUNTER:_SENDER]
    nonce[12] = frame[_SECURITY]
    return nonce
