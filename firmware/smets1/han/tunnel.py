# 11.3 Activate Firmware over the Smart Energy Tunneling cluster: the CH opens a tunnel to the device and sends through
# it what GBCS use case CS06 has as payload (DER), the device answers in the same way.
#   request  30 26  04 20 <SHA-256 of the Manufacturer Image>  02 02 <originator counter>
#   answer   30 09  02 01 <code>  04 04 <file version, big endian>
# Before a transfer the CH says through the same tunnel which file comes, so that the device can go on with a part that
# it already has, and both can prove that part by its hash. This is hanlab's own, in the same notation:
#   request  A1 26  04 20 <SHA-256 of the OTA file>  02 02 <its size>      A2 the same: forget what you have of it
#   answer   A1 28  02 04 <offset, big endian>  04 20 <SHA-256 of the octets before the offset>
# Both travel behind 04 08 <challenge>: 8 octets by lot of whoever asks, which come back with the answer. So an answer
# to an earlier request, on a tunnel that had the same number, is none.
# A request that comes again, because its answer was lost, is not carried out again: the device answers what it
# answered before, also after the reset that the activation brings.
import struct

from micropython import const

from smets1 import saved
from smets1.han.frames import PAYLOAD_MAX
from smets1.han.ids import CLUSTER_TUNNELING, SUCCESS, TYPE_U16
from smets1.han.zcl import BODY, Cluster, Exchange, NoAnswer

# codes of an activation
ACTIVATED = const(0)
NO_IMAGE_HELD = const(1)
HASH_MISMATCH = const(2)
ACTIVATION_FAILURE = const(3)

# commands: client to server
_REQUEST = const(0x00)
_CLOSE = const(0x01)
_DATA_TO_SERVER = const(0x02)
# commands: server to client
_RESPONSE = const(0x00)
_DATA_TO_CLIENT = const(0x01)
_ERROR_TO_CLIENT = const(0x02)

_GB_HRGP = const(6)  # protocol id of GB smart metering
_NO_MANUFACTURER = const(0xFFFF)
_TRANSFER_MAX = PAYLOAD_MAX - BODY - 2  # octets through the tunnel in one frame

_OPENED, _PROTOCOL_NOT_SUPPORTED, _FLOW_CONTROL_NOT_SUPPORTED = 0, 3, 4
_NO_SUCH_TUNNEL = const(0)  # of TransferDataError

_HASH = const(32)
_NONCE = const(8)
_DATA = const(5)  # where the octets of a tunnel are in a frame: the challenge, then the DER
_DER = const(15)
_CHALLENGE_HEAD = b"\x04\x08"


# the first octet of a request
ACTIVATE = const(0x30)
FILE = const(0xA1)
FORGET = const(0xA2)


def request_der(hash, value, tag=ACTIVATE):
    """value: 0 to 2 ** 63 - 1, the originator counter or the file's size."""
    number = b""
    # a first octet from 0x80 on would be a negative number
    while value or not number or number[0] & 0x80:
        number = bytes((value & 0xFF,)) + number
        value >>= 8
    head = bytes((tag, 4 + _HASH + len(number), 0x04, _HASH))
    return head + hash + bytes((0x02, len(number))) + number


def parse_request(der, tag=ACTIVATE):
    """(hash, counter or size), or None if it is no request with this tag."""
    n = len(der)
    if (
        n < 7 + _HASH
        or n > 14 + _HASH
        or der[0] != tag
        or der[1] != n - 2
        or der[2] != 0x04
        or der[3] != _HASH
    ):
        return None
    at = 4 + _HASH
    size = der[at + 1]
    number = der[at + 2 :]
    if der[at] != 0x02 or size != len(number) or number[0] & 0x80:
        return None
    if size > 1 and not number[0] and not number[1] & 0x80:  # not the shortest form
        return None
    counter = 0
    for octet in number:
        counter = counter << 8 | octet
    return bytes(der[4:at]), counter


def answer_der(code, file_version):
    return struct.pack(">BBBBBBBI", 0x30, 9, 0x02, 1, code, 0x04, 4, file_version)


def file_answer_der(offset, digest):
    return struct.pack(">BBBBIBB", FILE, 8 + _HASH, 0x02, 4, offset, 0x04, _HASH) + digest


def parse_file_answer(der):
    """(offset, digest), or None if it is no answer."""
    if (
        len(der) != 10 + _HASH
        or bytes(der[:4]) != b"\xa1\x28\x02\x04"
        or bytes(der[8:10]) != b"\x04\x20"
    ):
        return None
    return struct.unpack_from(">I", der, 4)[0], bytes(der[10:])


def parse_answer(der):
    """(code, file version), or None if it is no answer."""
    if len(der) != 11 or bytes(der[:4]) != b"\x30\x09\x02\x01" or bytes(der[5:7]) != b"\x04\x04":
        return None
    return der[4], struct.unpack_from(">I", der, 7)[0]


def _has_challenge(frame):
    return len(frame) > _DER and bytes(frame[_DATA : _DATA + 2]) == _CHALLENGE_HEAD


class TunnelServer(Cluster):
    """The device's side.

    on_activate(hash, counter) -> (code, file version that runs after it). after(code): called when the answer has been
    written; the place for the reset. record_path: a file that keeps the last answer over that reset.
    on_file(sha, size, forget) -> (offset, SHA-256 of the octets before it): which file comes, and what is here of it.
    """

    def __init__(self, network, on_activate, after, record_path, on_file=None):
        super().__init__(network, CLUSTER_TUNNELING, True)
        self.attributes = {0x0000: (TYPE_U16, 0xFFFF)}  # CloseTunnelTimeout, seconds
        self.commands = {
            _REQUEST: (6, self._open),
            _CLOSE: (2, self._close),
            _DATA_TO_SERVER: (2, self._data),
        }
        self._on_activate = on_activate
        self._on_file = on_file
        self._after = after
        self._path = record_path
        self._tunnel = 0
        self._short = None  # whose tunnel it is
        try:
            self._record = saved.load(record_path)  # the answer's DER, then the request's
        except ValueError:
            self._record = None

    def _open(self, peer, frame, reply):
        protocol, _, flow_control = struct.unpack_from("<BHB", frame, BODY)
        status = _OPENED
        if protocol != _GB_HRGP:
            status = _PROTOCOL_NOT_SUPPORTED
        elif flow_control:
            status = _FLOW_CONTROL_NOT_SUPPORTED
        else:  # one tunnel at a time: a new one closes the old one
            self._tunnel = (self._tunnel + 1) & 0xFFFF
            self._short = peer.short
        self.header(reply, frame[1], _RESPONSE)
        struct.pack_into("<HBH", reply, BODY, self._tunnel, status, _TRANSFER_MAX)
        return BODY + 5

    def _is_open(self, peer, frame):
        return peer.short == self._short and frame[3] | frame[4] << 8 == self._tunnel

    def _close(self, peer, frame, reply):
        if self._is_open(peer, frame):
            self._short = None
        return self.confirm(frame, reply)

    def _data(self, peer, frame, reply):
        if not self._is_open(peer, frame):
            self.header(reply, frame[1], _ERROR_TO_CLIENT)
            reply[3:5] = frame[3:5]
            reply[5] = _NO_SUCH_TUNNEL
            return 6
        answer = _has_challenge(frame) and self._carry_out(bytes(frame[_DER:]))
        if not answer:
            return -1
        self.header(reply, frame[1], _DATA_TO_CLIENT)
        reply[3:_DER] = frame[3:_DER]  # the tunnel, and the challenge
        end = _DER + len(answer)
        reply[_DER:end] = answer
        return end

    def _carry_out(self, der):
        """The answer's DER, or None if it is no request."""
        request = parse_request(der)
        if request:
            return self._activate(request, der)
        for tag in (FILE, FORGET):
            request = self._on_file and parse_request(der, tag)
            if request:
                return file_answer_der(*self._on_file(request[0], request[1], tag == FORGET))
        return None

    def _activate(self, request, der):
        if self._record is None or self._record[11:] != der:
            code, file_version = self._on_activate(*request)
            self._record = answer_der(code, file_version) + der
            self.network.after_reply = lambda: self._after(code)
            try:
                saved.save(self._path, self._record)
            except OSError:
                pass  # flash: after a restart the same request counts as a new one; what runs then answers it
        return self._record[:11]


class TunnelClient(Cluster):
    """The CH's side."""

    def __init__(self, network):
        super().__init__(network, CLUSTER_TUNNELING, False)
        self.commands = {
            _RESPONSE: (5, self._opened),
            _DATA_TO_CLIENT: (2, self._data),
            _ERROR_TO_CLIENT: (3, self._error),
        }
        self._exchange = Exchange()
        self._asked = b""  # the tunnel and the challenge of the request under way

    async def activate(self, short, hash, counter, timeout_ms=2000, tries=9):
        """Have the device activate the image with this SHA-256: (code, file version). NoAnswer."""
        return await self._ask(short, request_der(hash, counter), timeout_ms, tries)

    async def announce(self, short, sha, size, forget=False, timeout_ms=2000, tries=9):
        """Say which file comes: (offset, SHA-256 of the octets before it) of what the device has. NoAnswer."""
        return await self._ask(
            short, request_der(sha, size, FORGET if forget else FILE), timeout_ms, tries
        )

    async def _ask(self, short, der, timeout_ms, tries):
        """A try is a request and, if the device does not know the tunnel (any more), opening one."""
        for _ in range(tries):
            tunnel = await self._open_tunnel(short, timeout_ms, tries)
            if tunnel is None:
                continue
            frame = bytearray(BODY + 2)
            self.header(frame, self.next_tsn(), _DATA_TO_SERVER)
            struct.pack_into("<H", frame, BODY, tunnel)
            frame.extend(_CHALLENGE_HEAD)
            frame.extend(self.network.counters.random(_NONCE))
            self._asked = bytes(frame[BODY:])
            frame.extend(der)
            answer = await self._exchange.ask(
                short,
                self._asked,
                lambda frame=frame: self.send(short, frame, len(frame)),
                timeout_ms,
                tries,
            )
            if answer is not None:
                await self._close_tunnel(short, tunnel)
                return answer
        raise NoAnswer("%04X keeps no tunnel open" % short)

    async def _open_tunnel(self, short, timeout_ms, tries):
        """Its number, or None if the device would not."""
        tsn = self.next_tsn()
        frame = bytearray(BODY + 6)
        self.header(frame, tsn, _REQUEST)
        struct.pack_into("<BHBH", frame, BODY, _GB_HRGP, _NO_MANUFACTURER, 0, _TRANSFER_MAX)
        return await self._exchange.ask(
            short, (_REQUEST, tsn), lambda: self.send(short, frame, len(frame)), timeout_ms, tries
        )

    async def _close_tunnel(self, short, tunnel):
        """Not waited for: the device may be resetting already, and a new tunnel closes an old one."""
        frame = bytearray(BODY + 2)
        self.header(frame, self.next_tsn(), _CLOSE)
        struct.pack_into("<H", frame, BODY, tunnel)
        await self.send(short, frame, len(frame))

    def _opened(self, peer, frame, reply):
        tunnel, status, _ = struct.unpack_from("<HBH", frame, BODY)
        self._exchange.answer(
            peer.short, (_REQUEST, frame[1]), tunnel if status == _OPENED else None
        )
        return 0

    def _data(self, peer, frame, reply):
        answer = parse_answer(frame[_DER:]) or parse_file_answer(frame[_DER:])
        if answer is None or not _has_challenge(frame):
            return -1
        self._exchange.answer(peer.short, bytes(frame[BODY:_DER]), answer)
        return 0

    def _error(self, peer, frame, reply):
        if self._asked[:2] == frame[BODY:_DATA]:
            self._exchange.answer(peer.short, self._asked, None)
        return 0

    def on_default_response(self, peer, tsn, command, status):
        if command == _REQUEST and status != SUCCESS:
            self._exchange.answer(peer.short, (_REQUEST, tsn), None)
