# The SMP server of one link: a request in, one answer out, then the next request. A board with two links has two
# servers, which share their groups.
#
# A group is any object with `reads` and `writes` (command id -> handler) and `v1_codes` (its own error
# code -> general one). A handler takes the request's map and returns the answer's, or an awaitable of
# it; it refuses by SmpError, and by Silent it leaves the client without an answer. Byte strings in the
# request are memoryviews into the receive buffer: good until the handler is done, copy what must last.
#
# A client that has missed an answer sends its request again. A write that comes again, octet for octet, is not
# carried out twice: it gets the answer that it got. A seal (auth.py) has a number, so that it tells a write from
# all others; without one nothing may have come between.
import asyncio.core as core
import gc
from binascii import crc32

from micropython import const

from . import cbor
from .auth import ANSWER_SEAL_FIELD, CHALLENGE, seal_of
from .auth import GROUP as AUTH_GROUP
from .framing import FrameReader, FrameWriter
from .smp import (
    EACCESSDENIED,
    EINVAL,
    EMSGSIZE,
    ENOTSUP,
    ETOONEW,
    EUNKNOWN,
    HEADER,
    READ,
    REPLY_MAX,
    VERSION_2,
    WRITE,
    Silent,
    SmpError,
)

_OS = const(0)
_PARAMETERS = const(6)
# A later one is a new request that looks the same; clients try for a minute.
_REPEAT_MS = const(120_000)
_KEPT = const(
    64
)  # octets of an answer that can be given again: those of all writes but the echo's are shorter


class _Answered:
    """The write that was answered last."""

    def __init__(self):
        self.mark = None  # what it has in common with its repetition and with nothing else
        self._at = 0  # when it was answered
        self._n = 0
        self._answer = bytearray(_KEPT)

    def keep(self, mark, answer):
        self.mark = mark if len(answer) <= _KEPT else None
        if self.mark:
            self._at = core.ticks()
            self._n = len(answer)
            self._answer[: self._n] = answer

    def is_recent(self):
        return 0 <= core.ticks_diff(core.ticks(), self._at) < _REPEAT_MS

    def recall(self, body):
        """The answer's octets in `body`; 0: it had none."""
        body[: self._n] = memoryview(self._answer)[: self._n]
        return self._n


class Server:
    """link: the port's; groups: group id -> group; buf_size: octets of the longest request, header
    included; buf_count: requests that may be under way at once (both are told to the client); session: an
    auth.Session, which says what writes it permits."""

    def __init__(self, link, groups, buf_size, buf_count, session):
        self.reader = FrameReader(link, buf_size)
        self.failures = 0  # handlers that raised what no handler should
        self.repeats = 0  # writes that were not carried out twice
        self._writer = FrameWriter(link, REPLY_MAX + ANSWER_SEAL_FIELD)
        self._groups = groups
        self.session = session
        self._sealed = _Answered()
        self._plain = _Answered()
        self._buffers = {"buf_size": buf_size, "buf_count": buf_count}
        self._own = session.commands  # what another link's server answers otherwise
        self._own[(READ, _OS, _PARAMETERS)] = lambda request: self._buffers

    async def run(self):
        while True:
            message = await self.reader.read()
            if message is None:  # the client is gone, and its login and its challenge with it
                self.session.end()
                self._plain.mark = None
                continue
            seal = None if self.session.open else seal_of(message)
            mark = seal or self._mark(message)
            last = self._sealed if seal else self._plain
            if mark and mark == last.mark and (seal or last.is_recent()):
                self.repeats += 1
                n = last.recall(self._writer.body)
            else:
                self._plain.mark = None
                n = await self._answer(message)
                if mark and (seal == self.session.accepted if seal else n):
                    last.keep(mark, self._writer.body[:n])
            if n:
                await self._writer.write(n, self.reader.framing)

    def _mark(self, message):
        """What a write without a seal is known by when it comes again; None for a read. A challenge counts as a write:
        what came twice is to be answered by one login."""
        if message[0] & 7 != WRITE and (
            message[4] << 8 | message[5] != AUTH_GROUP or message[7] != CHALLENGE
        ):
            return None
        return self.reader.framing, bytes(message[:HEADER]), len(message), crc32(message[HEADER:])

    async def _answer(self, message):
        """Octets of the answer in the writer's body; 0: there is none."""
        op = message[0] & 7
        if op != READ and op != WRITE:
            return 0  # somebody's answer
        version = message[0] >> 3 & 3
        group = message[4] << 8 | message[5]
        try:
            reply = self._dispatch(message, op, version, group)
            if hasattr(reply, "send"):
                reply = await reply
            return self._encode(message, version, reply)
        except Silent:
            return 0
        except SmpError as e:
            reply = self._refusal(e, version)
        except cbor.CborError:
            reply = {"rc": EMSGSIZE}
        except Exception as e:
            self.failures += 1
            gc.collect()  # it may be a MemoryError
            print("SMP group", group, "command", message[7], "failed:", type(e).__name__, e)
            reply = {"rc": EUNKNOWN}
        return self._encode(message, version, reply)

    def _dispatch(self, message, op, version, number):
        if version > VERSION_2:
            raise SmpError(ETOONEW)
        command = message[7]
        handler = self._own.get((op, number, command))
        if handler is None and number in self._groups:
            group = self._groups[number]
            handler = (group.reads if op == READ else group.writes).get(command)
        if handler is None:
            raise SmpError(ENOTSUP)
        if op == WRITE and not self.session.permits(message, number, command):
            raise SmpError(EACCESSDENIED)
        end = HEADER + (message[2] << 8 | message[3])
        if end > len(message):
            raise SmpError(EINVAL)
        try:
            request = cbor.decode(message[HEADER:end]) if end > HEADER else {}
        except cbor.CborError:
            raise SmpError(EINVAL)
        if not isinstance(request, dict):
            raise SmpError(EINVAL)
        return handler(request)

    def _refusal(self, error, version):
        if error.group is None:
            return {"rc": error.rc}
        if version >= VERSION_2:
            return {"err": {"group": error.group, "rc": error.rc}}
        group = self._groups.get(error.group)
        return {"rc": group.v1_codes.get(error.rc, EUNKNOWN) if group else EUNKNOWN}

    def _encode(self, message, version, reply):
        writer = self._writer
        try:
            end = cbor.encode(reply or {}, writer.body[:REPLY_MAX], HEADER)
        except cbor.CborError:
            if len(message) <= REPLY_MAX:
                raise
            writer.make_room(len(message))  # an answer may be as long as its request: an echo is
            end = cbor.encode(reply, writer.body, HEADER)
        body = writer.body
        body[0] = min(version, VERSION_2) << 3 | (message[0] & 7) + 1
        body[1] = 0
        body[2] = (end - HEADER) >> 8
        body[3] = (end - HEADER) & 0xFF
        body[4:8] = message[4:8]  # group, sequence number, command
        return self.session.seal_answer(message, body, end)
