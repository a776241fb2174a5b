# The Zigbee Cluster Library's common part: header, Read Attributes, Default Response, and requests that wait for their
# answer. A `Cluster` is one side (server or client) of one cluster on our endpoint.
import asyncio
import struct

from micropython import const

from smets1.han.frames import PAYLOAD_MAX
from smets1.han.ids import (
    ENDPOINT,
    MALFORMED_COMMAND,
    PROFILE_SE,
    SUCCESS,
    TYPE_ENUM8,
    TYPE_EUI64,
    TYPE_STRING,
    TYPE_U8,
    TYPE_U16,
    TYPE_U32,
    UNSUP_CLUSTER_COMMAND,
    UNSUP_GENERAL_COMMAND,
    UNSUP_MANUF_CLUSTER_COMMAND,
    UNSUPPORTED_ATTRIBUTE,
)

BODY = const(3)  # where a frame's payload starts: after control, transaction number, command

# header's first octet
_OF_CLUSTER = const(0x01)
_MANUFACTURER = const(0x04)
_TO_CLIENT = const(0x08)
_NO_DEFAULT = const(0x10)

_READ = const(0x00)
_READ_RESPONSE = const(0x01)
_DEFAULT_RESPONSE = const(0x0B)

_LONGEST_MS = const(8000)  # between two tries

_FORMATS = {
    TYPE_U8: "<B",
    TYPE_ENUM8: "<B",
    TYPE_U16: "<H",
    TYPE_U32: "<I",
    TYPE_EUI64: "<Q",
}


class NoAnswer(Exception):
    """A device did not answer any of the tries."""


class Exchange:
    """One request at a time and its answer."""

    def __init__(self):
        self._turn = asyncio.Lock()
        self._event = asyncio.Event()
        self._short = None  # whom we wait for; None: nobody
        self._key = None
        self._answer = None

    async def ask(self, short, key, send, timeout_ms, tries):
        """Send, wait, and send again, each time waiting twice as long (up to 8 s); the answer given by `answer`.

        `send`: called for each try, gives a coroutine. NoAnswer after the last.
        """
        async with self._turn:
            self._short, self._key = short, key
            try:
                for _ in range(tries):
                    self._event.clear()
                    await send()
                    try:
                        await asyncio.wait_for_ms(self._event.wait(), timeout_ms)
                        return self._answer
                    except asyncio.TimeoutError:
                        timeout_ms = max(timeout_ms, min(2 * timeout_ms, _LONGEST_MS))
            finally:
                self._short = None
        raise NoAnswer("%04X did not answer %d tries" % (short, tries))

    def answer(self, short, key, value):
        """Hand in an answer; False if nobody waits for it (any more)."""
        if short != self._short or key != self._key:
            return False
        self._answer = value
        self._event.set()
        return True


class Cluster:
    """`server`: we are the server side of it. Sub-classes fill `attributes` and `commands`.

    attributes: {id: (type, value or function that gives it)}
    commands: {id: (least octets of body, function(peer, frame, reply) -> octets of reply, 0 for none, -1 malformed)};
    `frame` starts with the ZCL header, so the body is at BODY. A function makes its answer with header().
    """

    def __init__(self, network, cluster, server):
        self.network = network
        self.cluster = cluster
        self.attributes = {}
        self.commands = {}
        self._incoming = 0 if server else _TO_CLIENT  # direction bit of what comes to us
        self._outgoing = _TO_CLIENT if server else 0
        self._tsn = network.next_sequence()  # from anywhere, as those are
        self._reads = Exchange()
        network.handle(PROFILE_SE, cluster, ENDPOINT, self._receive)

    def next_tsn(self):
        self._tsn = (self._tsn + 1) & 0xFF
        return self._tsn

    def header(self, buf, tsn, command, confirm=False):
        """Write the header of one of the cluster's commands to buf; its length.

        `confirm`: a Default Response is wanted even if all is well.
        """
        buf[0] = _OF_CLUSTER | self._outgoing | (0 if confirm else _NO_DEFAULT)
        buf[1] = tsn
        buf[2] = command
        return BODY

    def default_response(self, frame, reply, status):
        """Write the Default Response to `frame`; its length."""
        reply[0] = _NO_DEFAULT | self._outgoing
        reply[1] = frame[1]
        reply[2] = _DEFAULT_RESPONSE
        reply[3] = frame[2]
        reply[4] = status
        return 5

    def confirm(self, frame, reply):
        """The same for SUCCESS, if its sender wants that."""
        return 0 if frame[0] & _NO_DEFAULT else self.default_response(frame, reply, SUCCESS)

    def on_default_response(self, peer, tsn, command, status):
        """A Default Response from `peer` to our `command`; for sub-classes."""

    async def send(self, short, payload, n):
        """Send the ZCL frame payload[:n] to this cluster at `short`."""
        await self.network.send(short, PROFILE_SE, self.cluster, ENDPOINT, ENDPOINT, payload, n)

    async def read(self, short, ids, timeout_ms=1000, tries=4):
        """Read Attributes of the other side: {id: int or str}, without those that it has not. NoAnswer."""
        values = {}
        left = list(ids)
        while left:
            tsn = self.next_tsn()
            frame = bytearray(BODY)
            frame[0] = _NO_DEFAULT | self._outgoing
            frame[1] = tsn
            frame[2] = _READ
            for id in left:
                frame.extend(struct.pack("<H", id))
            answer = await self._reads.ask(
                short,
                tsn,
                lambda frame=frame: self.send(short, frame, len(frame)),
                timeout_ms,
                tries,
            )
            rest = [id for id in left if id not in answer]  # what did not fit into one frame
            if len(rest) == len(left):
                break
            left = rest
            values.update(answer)
        return {id: value for id, value in values.items() if value is not None}

    def _receive(self, peer, frame, reply):
        n = len(frame)
        if n < BODY or frame[0] & _TO_CLIENT != self._incoming or frame[0] & 3 > 1:
            return self._malformed()
        control = frame[0]
        if control & _MANUFACTURER:
            return 0 if n < BODY + 2 else self._refuse_manufacturer(frame, reply)
        command = frame[2]
        if not control & _OF_CLUSTER:
            return self._general(peer, command, frame, reply)
        least, function = self.commands.get(command, (0, None))
        if function is None:
            return self.default_response(frame, reply, UNSUP_CLUSTER_COMMAND)
        done = function(peer, frame, reply) if n >= BODY + least else -1
        if done < 0:
            self._malformed()
            return self.default_response(frame, reply, MALFORMED_COMMAND)
        return done

    def _malformed(self):
        self.network.stats["malformed"] += 1
        return 0

    def _refuse_manufacturer(self, frame, reply):
        """To a manufacturer's own command; the answer carries its code."""
        reply[0] = _MANUFACTURER | _NO_DEFAULT | self._outgoing
        reply[1:4] = frame[1:4]
        reply[4] = _DEFAULT_RESPONSE
        reply[5] = frame[4]
        reply[6] = UNSUP_MANUF_CLUSTER_COMMAND
        return 0 if frame[4] == _DEFAULT_RESPONSE and not frame[0] & _OF_CLUSTER else 7

    def _general(self, peer, command, frame, reply):
        if command == _READ:
            return self._answer_read(frame, reply)
        if command == _READ_RESPONSE:
            values = self._values(frame)
            if values is None:
                return self._malformed()
            self._reads.answer(peer.short, frame[1], values)
            return 0
        if command == _DEFAULT_RESPONSE:
            if len(frame) < BODY + 2:
                return self._malformed()
            self.on_default_response(peer, frame[1], frame[3], frame[4])
            return 0
        return self.default_response(frame, reply, UNSUP_GENERAL_COMMAND)

    def _answer_read(self, frame, reply):
        if len(frame) & 1 == 0:
            self._malformed()
            return self.default_response(frame, reply, MALFORMED_COMMAND)
        reply[0] = _NO_DEFAULT | self._outgoing
        reply[1] = frame[1]
        reply[2] = _READ_RESPONSE
        at = BODY
        for i in range(BODY, len(frame), 2):
            id = frame[i] | frame[i + 1] << 8
            kind, value = self.attributes.get(id, (0, None))
            if value is None:
                record = struct.pack("<HB", id, UNSUPPORTED_ATTRIBUTE)
            else:
                value = value() if callable(value) else value
                if kind == TYPE_STRING:
                    value = value.encode()[:32]
                    record = struct.pack("<HBBB", id, SUCCESS, kind, len(value)) + value
                else:
                    record = struct.pack("<HBB", id, SUCCESS, kind) + struct.pack(
                        _FORMATS[kind], value
                    )
            if at + len(record) > PAYLOAD_MAX:
                break
            reply[at : at + len(record)] = record
            at += len(record)
        return at

    def _values(self, frame):
        """{id: value, None where it has none} of a Read Attributes Response; None if it makes no sense."""
        values = {}
        at, end = BODY, len(frame)
        while at < end:
            if at + 3 > end:
                return None
            id = frame[at] | frame[at + 1] << 8
            at += 3
            if frame[at - 1] != SUCCESS:
                values[id] = None
                continue
            if at + 2 > end:
                return None
            kind = frame[at]
            at += 1
            if kind == TYPE_STRING:
                size = 1 + frame[at]
                if at + size > end:
                    return None
                try:
                    values[id] = str(bytes(frame[at + 1 : at + size]), "utf-8")
                except UnicodeError:
                    return None
            elif kind in _FORMATS:
                size = struct.calcsize(_FORMATS[kind])
                if at + size > end:
                    return None
                values[id] = struct.unpack_from(_FORMATS[kind], frame, at)[0]
            else:
                return None
            at += size
        return values
