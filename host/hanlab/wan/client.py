"""The SMP client: requests with deadlines, and an upload that keeps the board's window full."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import cbor2
from smp.error import MGMT_ERR
from smp.exceptions import SMPException
from smp.header import Header
from smp.message import ReadResponse, WriteResponse
from smpclient.generics import SMPRequest
from smpclient.requests.image_management import ImageUploadWrite
from smpclient.requests.os_management import MCUMgrParametersRead

from hanlab.wan.auth import Credentials, log_in, no_key
from hanlab.wan.errors import NoAnswer as NoAnswer
from hanlab.wan.errors import Refused as Refused
from hanlab.wan.errors import WanError as WanError
from hanlab.wan.framing import FRAMINGS, Link
from hanlab.wan.limits import CHECKPOINT_OCTETS, JOURNAL_OCTETS, Limits
from hanlab.wan.messages import LimitsRead

KNOCK_S: Final = 0.25
"""How often a board that does not answer yet is asked (s)."""
PATIENCE_S: Final = 60.0
"""How long a board that is asked again and again may say nothing, or make no progress, at the least (s)."""
TRIES: Final = 20
"""How often it is asked in that time: as often, or twice as long."""
MAX_BACK_OFF_S: Final = 4.0
"""Each try waits twice as long as the one before, up to this or the request's own deadline (s)."""
SLOWEST_OCTETS_S: Final = 1920.0
"""A UART at 19,200 baud."""
MIN_CHUNK: Final = 256
"""Where octets are damaged, an upload's chunks shrink so far: a short one has a better chance."""
LOGINS: Final = 5
"""How often an upload that the board stops for want of a login goes on after another one, with no progress between."""

_OP_BITS: Final = 7
"""Of an SMP header's first octet; a request's operation is even, its answer's the next odd number."""
_CHUNK_OVERHEAD: Final = Header.SIZE + 18
"""SMP header, and the CBOR around `off` and `data`."""
_FIRST_CHUNK_OVERHEAD: Final = _CHUNK_OVERHEAD + 48
"""The first one carries `len` and `sha` as well."""
_FRAME_OVERHEAD: Final = 4
"""Length and CRC-16 share the board's buffer with the message (console framing)."""
_ANSWER_OCTETS: Final = 1024
"""No answer is longer, framing included (REPLY_MAX of firmware/smets1/wan/smp.py)."""
_ADAPTERS_S: Final = 0.05
"""What USB adapters and drivers add to a request and its answer (s)."""

TRep = TypeVar("TRep", bound=ReadResponse | WriteResponse)

_Make = Callable[..., SMPRequest[TRep, Any, Any]]
"""A request class: called with the request's fields it makes the message."""


@dataclass(frozen=True)
class Window:
    """What the board takes at once: `count` messages of at most `size` octets (MCUmgr params)."""

    size: int
    count: int


@dataclass
class ClientCounters:
    """What a client had to do; `knocks + requests + retries` is what it sent, in SMP messages.

    On a perfect wire to a healthy board only `requests`, `answers` and, while it starts, `knocks` grow.
    """

    knocks: int = 0
    """Sent until the board answered first."""
    requests: int = 0
    """Sent once, after that; an upload's chunk is one."""
    retries: int = 0
    """Sent again, octet for octet."""
    answers: int = 0
    """Received and waited for."""
    timeouts: int = 0
    """Deadlines that passed with no answer."""
    strays: int = 0
    """Answers that nobody waited for: duplicates, and those that came too late."""
    reopened: int = 0
    """Uploads begun once more because the board had lost track of them: it had restarted."""
    logins: int = 0


class WanClient:
    """An SMP client on a link. Sequence numbers are its own, so that a run repeats exactly.

    What is not answered in time is sent again, with back-off: the same octets, so that the board knows
    a request that it has carried out already, and only answers once more. Deadlines are the board's
    own (`limits`).

    With `credentials` it logs in as soon as the board answers, and again when that has run out;
    without, it can read and echo, and change only a board whose WAN is open.

    Tasks may share it: a board does one thing at a time, so each waits for its turn, and its deadlines
    begin with it. An upload is one turn.
    """

    def __init__(
        self,
        link: Link,
        framing: str = "cobs",
        credentials: Credentials | None = None,
        octets_s: float = SLOWEST_OCTETS_S,
    ) -> None:
        """`octets_s` is how fast the link is, each way (octet/s); deadlines count on it."""
        self._link = link
        self._octets_s = octets_s
        self._framing = FRAMINGS[framing]()
        self._framing_factor = 4 / 3 if framing == "console" else 1.01
        self._credentials = credentials
        self._sequence = 0
        self._waiting: dict[tuple[int, bytes], asyncio.Future[bytes]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._window: Window | None = None
        self._turn = asyncio.Lock()
        self.limits = Limits()
        self.counters = ClientCounters()
        self.octets_sent = 0
        """Octets put on the wire, framing included."""

    @property
    def retries(self) -> int:
        return self.counters.retries

    async def close(self) -> None:
        if self._reader:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None

    async def connect(self) -> Window:
        """Wait until the board answers (it may be starting), learn its limits, and log in.

        Raises:
            NoAnswer: it did not answer within `PATIENCE_S`.
            AccessDenied: it was provisioned with another key.
            FalseBoard: it does not know its key.
        """
        async with self._turn:
            return await self._connected()

    async def _connected(self) -> Window:
        if self._window is None:
            window = await self._knock()
            try:
                self.limits = Limits.of(await self._ask(LimitsRead))
            except Refused:
                self.limits = Limits()  # a board that has no such group
            if self._credentials:
                await self._log_in()
            self._window = window
        return self._window

    async def _knock(self) -> Window:
        message = self._make(MCUMgrParametersRead)
        for _ in range(round(PATIENCE_S / KNOCK_S)):
            try:
                self.counters.knocks += 1
                self.counters.requests -= 1  # it is none of those
                params = _parsed(message, await self._answer(self._send(message), KNOCK_S))
            except NoAnswer:
                continue
            return Window(params.buf_size, params.buf_count)
        raise NoAnswer(
            f"no answer from the board within {PATIENCE_S:.0f} s",
            next_step="check the wire, and that the board has power",
        )

    async def _log_in(self) -> None:
        if self._credentials is None:
            raise no_key()
        await log_in(self._ask, self._credentials)
        self.counters.logins += 1

    async def read(self, request: _Make[TRep], *, work_s: float = 0.0, **fields: Any) -> TRep:
        """Send a request that changes nothing; `work_s` (s) is what the board needs besides answering.

        Raises:
            Refused: the board answered with an error.
            NoAnswer: it did not answer any of the tries.
        """
        async with self._turn:
            await self._connected()
            return await self._ask(request, work_s=work_s, **fields)

    async def write(self, request: _Make[TRep], **fields: Any) -> TRep:
        """Send a request that changes something; log in again if that has run out.

        Raises as `read`, and
            AccessDenied: the board wants a key that this client does not have.
        """
        async with self._turn:
            await self._connected()
            work_s = self.limits.write_s()
            try:
                return await self._ask(request, work_s=work_s, **fields)
            except Refused as e:
                if not e.denied:
                    raise
            await self._log_in()
            return await self._ask(request, work_s=work_s, **fields)

    async def _ask(self, request: _Make[TRep], *, work_s: float = 0.0, **fields: Any) -> TRep:
        """Send the same octets until they are answered, or `PATIENCE_S` and `TRIES` are over."""
        message = self._make(request, **fields)
        loop = asyncio.get_running_loop()
        deadline = self._deadline(len(message.BYTES), work_s)
        began = loop.time()
        wait = deadline
        tries = 0
        while True:
            tries += 1
            waiter = self._send(message, again=tries > 1)
            try:
                return _parsed(message, await self._answer(waiter, wait))
            except NoAnswer as e:
                self.counters.timeouts += 1
                if _is_hopeless(tries, loop.time() - began):
                    self._forget(message)
                    raise NoAnswer(
                        f"{e.what}, the last of {tries} tries",
                        next_step="check the wire and its power, and run it again: it goes on where it stopped",
                    ) from None
            wait = min(2 * wait, max(deadline, MAX_BACK_OFF_S))

    def _deadline(self, octets: int, work_s: float) -> float:
        """For a request that `octets` go in front of, itself included, and that is `work_s` of work."""
        on_wire = (octets + _ANSWER_OCTETS) * self._framing_factor / self._octets_s
        return on_wire + _ADAPTERS_S + self.limits.reply_s + work_s

    async def upload(self, image: bytes) -> AsyncGenerator[int, None]:
        """Upload `image`, going on where an earlier upload of the same octets stopped.

        Yields the offset that the board has confirmed, each time it grows. As many chunks are on
        their way as the board has buffers; each answer says which octet the board wants next, so a
        chunk that got lost is seen at once and sent again. Whoever ends it early closes it
        (`contextlib.aclosing`), so that others get their turn. Raises as `write`.
        """
        async with self._turn:
            async for confirmed in self._upload_all(image, await self._connected()):
                yield confirmed

    async def _upload_all(self, image: bytes, window: Window) -> AsyncIterator[int]:
        """The upload, with a login wherever the board wants one."""
        chunks = _Chunks(image, window.size - _FRAME_OVERHEAD)
        best = -1
        logins = LOGINS
        while True:
            try:
                async for confirmed in self._upload(chunks, window):
                    if confirmed > best:
                        best = confirmed
                        logins = LOGINS
                        yield confirmed
                return
            except Refused as e:
                if not logins or not e.denied:
                    raise
            logins -= 1
            await self._log_in()  # the one before has run out, or the board has restarted

    async def _upload(self, chunks: _Chunks, window: Window) -> AsyncIterator[int]:
        size = chunks.size
        loop = asyncio.get_running_loop()
        flying: deque[_Flying] = deque()
        made: dict[tuple[int, int], SMPRequest[Any, Any, Any]] = {}  # the chunks not confirmed yet
        confirmed, best, sent = 0, -1, 0
        is_open = False  # the board knows of this upload, and has said where it is to go on
        failures, progress = 0, loop.time()
        while confirmed < size or not is_open:
            while len(flying) < (window.count if is_open else 1) and (sent < size or not is_open):
                fields = chunks.fields(sent, first=not is_open)
                end = sent + len(fields["data"])
                message = made.get((sent, end))
                again = message is not None
                if message is None:
                    message = made[sent, end] = self._make(ImageUploadWrite, **fields)
                flying.append(_Flying(end, len(message.BYTES), self._send(message, again=again)))
                sent = end
            deadline = self._deadline(
                sum(chunk.octets for chunk in flying),
                self._chunk_work(flying[0].end, size, is_open),
            )
            end, answer = await _first(flying, deadline * (2 if failures else 1))
            if answer is None:
                self.counters.timeouts += 1
                off = confirmed
            else:
                off = _offset(answer, size)
            if answer and (off == end or not is_open):
                is_open = True
                chunks.grow()
            else:  # a chunk or an answer got lost: go back to what the board has
                failures += 1
                flying.clear()
                if failures > 1 and chunks.shrink():
                    made.clear()
                if answer and not off and confirmed:  # it has restarted: say once more what comes
                    self.counters.reopened += 1
                    is_open = False
                    made.clear()
            if off > best:
                best, failures, progress = off, 0, loop.time()
                yield off
            elif _is_hopeless(failures, loop.time() - progress):
                raise NoAnswer(f"no progress within {loop.time() - progress:.0f} s")
            made = {span: made[span] for span in made if span[0] >= off}
            confirmed = off
            if not flying:
                sent = off if is_open else 0

    def _chunk_work(self, end: int, size: int, is_open: bool) -> float:
        """How long (s) the board may work on the chunk that ends at `end`."""
        work = self.limits.write_s(CHECKPOINT_OCTETS + MIN_CHUNK if is_open else JOURNAL_OCTETS)
        if end == size or not is_open:
            # the last one, also of an upload that goes on: what was stored is read back, and hashed twice
            work += self.limits.hash_s(2 * size) + self.limits.write_s()
        return work

    def _make(self, request: _Make[TRep], **fields: Any) -> SMPRequest[TRep, Any, Any]:
        self._sequence = (self._sequence + 1) & 0xFF
        return request(sequence=self._sequence, **fields)

    def _send(
        self, message: SMPRequest[Any, Any, Any], *, again: bool = False
    ) -> asyncio.Future[bytes]:
        """Send a message, or send it `again`; what will be its answer."""
        if again:
            self.counters.retries += 1
        else:
            self.counters.requests += 1
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_frames())
        key = _answers_to(message.BYTES)
        waiter = self._waiting.get(key)
        if waiter is None or waiter.done():
            waiter = self._waiting[key] = asyncio.get_running_loop().create_future()
        for part in self._framing.encode(message.BYTES):
            self._link.write(part)
            self.octets_sent += len(part)
        return waiter

    async def _answer(self, waiter: asyncio.Future[bytes], patience: float) -> bytes:
        await asyncio.wait([waiter], timeout=patience)  # does not cancel it: the answer may be late
        if not waiter.done():
            raise NoAnswer(f"no answer from the board within {patience:.1f} s")
        return waiter.result()

    def _forget(self, message: SMPRequest[Any, Any, Any]) -> None:
        self._waiting.pop(_answers_to(message.BYTES), None)

    async def _read_frames(self) -> None:
        while True:
            self._framing.feed(await self._link.read())
            while (frame := self._framing.take()) is not None:
                if len(frame) >= Header.SIZE:
                    waiter = self._waiting.pop((frame[0] & _OP_BITS, frame[4 : Header.SIZE]), None)
                    if waiter and not waiter.done():
                        self.counters.answers += 1
                        waiter.set_result(frame)
                    else:
                        self.counters.strays += 1


@dataclass(frozen=True)
class _Flying:
    """A chunk that is under way."""

    end: int
    octets: int
    """Of the whole request."""
    answer: asyncio.Future[bytes]


async def _first(flying: deque[_Flying], patience: float) -> tuple[int, bytes | None]:
    """The first answer to a chunk that is under way, and where that chunk ends; None: none came in time.

    The board takes chunks in order, so it speaks for those before it as well.
    """
    answers = [chunk.answer for chunk in flying]
    await asyncio.wait(answers, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    while flying:
        chunk = flying.popleft()
        if chunk.answer.done():
            return chunk.end, chunk.answer.result()
    return 0, None


class _Chunks:
    """How an image is cut: as large as the board takes, smaller where large ones do not arrive."""

    def __init__(self, image: bytes, room: int) -> None:
        self._image = image
        self.size = len(image)
        self._room = room
        self._most = self._step = room - _CHUNK_OVERHEAD

    def fields(self, off: int, *, first: bool) -> dict[str, Any]:
        """Of the request for the chunk at `off`; the first one says what comes."""
        if not first:
            return {"off": off, "data": self._image[off : off + self._step]}
        return {
            "off": 0,
            "data": self._image[: min(self._step, self._room - _FIRST_CHUNK_OVERHEAD)],
            "len": len(self._image),
            "sha": hashlib.sha256(self._image).digest(),
            "image": 0,
        }

    def shrink(self) -> bool:
        """Whether they are smaller from now on."""
        before = self._step
        self._step = max(min(MIN_CHUNK, self._most), before // 2)
        return self._step < before

    def grow(self) -> None:
        self._step = min(self._most, self._step * 2)


def _is_hopeless(tries: int, seconds: float) -> bool:
    return seconds >= PATIENCE_S and (tries >= TRIES or seconds >= 2 * PATIENCE_S)


def _answers_to(message: bytes) -> tuple[int, bytes]:
    """What the answer to a request says of itself: its operation, and group, sequence number, command."""
    return (message[0] & _OP_BITS) + 1, message[4 : Header.SIZE]


def _parsed(request: SMPRequest[TRep, Any, Any], answer: bytes) -> TRep:
    """The answer as what the request is to be answered with. Raises WanError for any other octets."""
    _raise_error(answer)
    try:
        return cast("TRep", request._Response.loads(answer))
    except (SMPException, cbor2.CBORError, ValueError, TypeError) as e:
        why = " ".join(str(e).split())
        raise WanError(
            f"the board's answer to {type(request).__name__} makes no sense: {why}"
        ) from None


def _raise_error(answer: bytes) -> None:
    """Raises Refused if the board's answer says so, WanError if it is no answer."""
    body = _body(answer)
    if isinstance(error := body.get("err"), dict):
        raise Refused(_code(error.get("group", 0)), _code(error.get("rc", 1)))
    if body.get("rc"):
        raise Refused(0, _code(body["rc"]))


def _code(value: object) -> int:
    return value if isinstance(value, int) else MGMT_ERR.EUNKNOWN


def _body(answer: bytes) -> dict[str, Any]:
    octets = answer[Header.SIZE :]
    if _has_tags(octets):
        raise WanError("the board's answer is no CBOR of SMP: it has tags")
    try:
        body = cbor2.loads(octets)
    except (cbor2.CBORDecodeError, ValueError) as e:
        raise WanError(f"the board's answer is no CBOR: {e}") from None
    if not isinstance(body, dict):
        raise WanError(f"the board's answer is no CBOR map but {type(body).__name__}")
    return body


def _has_tags(octets: bytes) -> bool:
    """Whether CBOR has tags: SMP has none, and cbor2 makes of them e-mails, or lists that hold themselves."""
    at = 0
    while at < len(octets):
        major, info = octets[at] >> 5, octets[at] & 31
        at += 1
        if major == 6:
            return True
        if 24 <= info <= 27:
            size = 1 << (info - 24)
            info = int.from_bytes(octets[at : at + size])
            at += size
        elif info == 31:
            info = 0  # in pieces: each follows with a head of its own
        if major in (2, 3):
            at += info
    return False


def _offset(answer: bytes, size: int) -> int:
    """Which octet of `size` ones the board wants next. Raises as `_raise_error`."""
    _raise_error(answer)
    off = _body(answer).get("off")
    if not isinstance(off, int) or not 0 <= off <= size:
        raise WanError(f"the board's answer to an upload of {size:,} octets has the offset {off!r}")
    return off
