"""The SMP client: requests with deadlines, and an upload that keeps the board's window full."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeVar, cast

import cbor2
from smp.error import MGMT_ERR
from smp.header import OP, Header
from smp.image_management import IMG_MGMT_ERR
from smp.message import ReadResponse, WriteResponse
from smpclient.generics import SMPRequest
from smpclient.requests.image_management import ImageUploadWrite
from smpclient.requests.os_management import MCUMgrParametersRead

from hanlab.errors import HanlabError
from hanlab.wan.framing import FRAMINGS, Link
from hanlab.wan.messages import GROUP, HanError

KNOCK_S: Final = 0.25
"""How often a board that does not answer yet is asked (s)."""
BOOT_S: Final = 10.0
"""How long a board may take until it answers first (s)."""
REQUEST_S: Final = 2.5
"""Deadline of a request (s)."""
READ_TRIES: Final = 4
"""How often a read, which changes nothing, is sent before the board counts as silent."""
UPLOAD_TRIES: Final = 5
"""How often the upload goes back to the last confirmed offset, with no progress between."""
READ_BACK_OCTETS_S: Final = 100_000
"""The slowest rate (octet/s) at which a board hashes what it stored: the last chunk's deadline."""

_CHUNK_OVERHEAD: Final = Header.SIZE + 18
"""SMP header, and the CBOR around `off` and `data`."""
_FIRST_CHUNK_OVERHEAD: Final = _CHUNK_OVERHEAD + 48
"""The first one carries `len` and `sha` as well."""
_FRAME_OVERHEAD: Final = 4
"""Length and CRC-16 share the board's buffer with the message (console framing)."""

_CODES: Final[dict[int, type[IntEnum]]] = {1: IMG_MGMT_ERR, GROUP: HanError}

TRep = TypeVar("TRep", bound=ReadResponse | WriteResponse)

_Make = Callable[..., SMPRequest[TRep, Any, Any]]
"""A request class: called with the request's fields it makes the message."""


class WanError(HanlabError):
    """The WAN link, or the board at its end, failed."""


class NoAnswer(WanError):
    """The board stopped answering."""


class Refused(WanError):
    """The board answered with an SMP error: `group` and `rc` as SMP defines them."""

    def __init__(self, group: int, rc: int) -> None:
        self.group = group
        self.rc = rc
        names = {code.value: code.name for code in _CODES.get(group, MGMT_ERR)}
        self.name = names.get(rc, "unknown code")
        super().__init__(f"the board answered {self.name} (SMP group {group}, rc {rc})")


@dataclass(frozen=True)
class Window:
    """What the board takes at once: `count` messages of at most `size` octets (MCUmgr params)."""

    size: int
    count: int


class WanClient:
    """An SMP client on a link. Sequence numbers are its own, so that a run repeats exactly."""

    def __init__(self, link: Link, framing: str = "cobs") -> None:
        self._link = link
        self._framing = FRAMINGS[framing]()
        self._sequence = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._window: Window | None = None
        self.octets_sent = 0
        """Octets put on the wire, framing included."""
        self.retries = 0

    async def close(self) -> None:
        if self._reader:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None

    async def connect(self) -> Window:
        """Wait until the board answers (it may be starting), and learn what it takes at once.

        Raises:
            NoAnswer: it did not answer within `BOOT_S`.
        """
        if self._window is None:
            for _ in range(round(BOOT_S / KNOCK_S) - 1):
                try:
                    return await self._read_window()
                except NoAnswer:
                    pass
            return await self._read_window()
        return self._window

    async def _read_window(self) -> Window:
        message = self._make(MCUMgrParametersRead)
        answer = await self._answer(self._send(message), KNOCK_S)
        _raise_error(answer)
        params = message._Response.loads(answer)
        self._window = Window(params.buf_size, params.buf_count)
        return self._window

    async def read(self, request: _Make[TRep], **fields: Any) -> TRep:
        """Send a request that changes nothing, again if it is not answered.

        Raises:
            Refused: the board answered with an error.
            NoAnswer: it did not answer any of the tries.
        """
        for _ in range(READ_TRIES - 1):
            try:
                return await self.write(request, **fields)
            except NoAnswer:
                self.retries += 1
        return await self.write(request, **fields)

    async def write(self, request: _Make[TRep], **fields: Any) -> TRep:
        """Send a request once, and wait for its answer. Raises as `read`."""
        await self.connect()
        message = self._make(request, **fields)
        answer = await self._answer(self._send(message), REQUEST_S)
        _raise_error(answer)
        return cast("TRep", message._Response.loads(answer))

    async def upload(self, image: bytes) -> AsyncIterator[int]:
        """Upload `image`, going on where an earlier upload of the same octets stopped.

        Yields the offset that the board has confirmed, each time it grows. As many chunks are on
        their way as the board has buffers; each answer says which octet the board wants next, so a
        chunk that got lost is seen at once and sent again.
        """
        window = await self.connect()
        room = window.size - _FRAME_OVERHEAD
        sha = hashlib.sha256(image).digest()
        first = image[: room - _FIRST_CHUNK_OVERHEAD]
        size = len(image)
        # a resumed upload that is complete, or nearly, answers after it has read all of it back
        confirmed = await self._chunk(
            self._make(ImageUploadWrite, off=0, data=first, len=size, sha=sha, image=0),
            REQUEST_S + size / READ_BACK_OCTETS_S,
        )
        yield confirmed
        step = room - _CHUNK_OVERHEAD
        sent = confirmed
        flying: deque[tuple[int, asyncio.Future[bytes]]] = deque()  # (end of chunk, its answer)
        tries = UPLOAD_TRIES
        while confirmed < size:
            while sent < size and len(flying) < window.count:
                data = image[sent : sent + step]
                message = self._make(ImageUploadWrite, off=sent, data=data)
                sent += len(data)
                flying.append((sent, self._send(message)))
            end, waiter = flying.popleft()
            patience = REQUEST_S + (size / READ_BACK_OCTETS_S if end == size else 0)
            try:
                answer = await self._answer(waiter, patience)
            except NoAnswer:
                tries -= 1
                if not tries:
                    raise
                off = confirmed
            else:
                _raise_error(answer)
                off = _offset(answer)
            if off != end:  # a chunk or an answer got lost: go back to what the board has
                self.retries += 1
                flying.clear()
                sent = off
            if off > confirmed:
                tries = UPLOAD_TRIES
                yield off
            confirmed = off

    async def _chunk(self, message: SMPRequest[Any, Any, Any], patience: float) -> int:
        answer = await self._answer(self._send(message), patience)
        _raise_error(answer)
        return _offset(answer)

    def _make(self, request: _Make[TRep], **fields: Any) -> SMPRequest[TRep, Any, Any]:
        self._sequence = (self._sequence + 1) & 0xFF
        return request(sequence=self._sequence, **fields)

    def _send(self, message: SMPRequest[Any, Any, Any]) -> asyncio.Future[bytes]:
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_frames())
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[message.header.sequence] = waiter
        for part in self._framing.encode(message.BYTES):
            self._link.write(part)
            self.octets_sent += len(part)
        return waiter

    async def _answer(self, waiter: asyncio.Future[bytes], patience: float) -> bytes:
        try:
            return await asyncio.wait_for(waiter, patience)
        except TimeoutError:
            raise NoAnswer(f"no answer from the board within {patience:.1f} s") from None

    async def _read_frames(self) -> None:
        while True:
            self._framing.feed(await self._link.read())
            while (frame := self._framing.take()) is not None:
                if len(frame) >= Header.SIZE:
                    waiter = self._waiting.pop(frame[6], None)
                    if waiter and not waiter.done():
                        waiter.set_result(frame)


def _raise_error(answer: bytes) -> None:
    header = Header.loads(answer[: Header.SIZE])
    if header.op not in (OP.READ_RSP, OP.WRITE_RSP):
        raise WanError(f"the board sent an SMP message that is no answer (op {header.op})")
    body = _body(answer)
    if isinstance(error := body.get("err"), dict):
        raise Refused(int(error.get("group", 0)), int(error.get("rc", 1)))
    if body.get("rc"):
        raise Refused(0, int(body["rc"]))


def _body(answer: bytes) -> dict[str, Any]:
    try:
        body = cbor2.loads(answer[Header.SIZE :])
    except (cbor2.CBORDecodeError, ValueError) as e:
        raise WanError(f"the board's answer is no CBOR: {e}") from None
    if not isinstance(body, dict):
        raise WanError(f"the board's answer is no CBOR map but {type(body).__name__}")
    return body


def _offset(answer: bytes) -> int:
    off = _body(answer).get("off")
    if not isinstance(off, int):
        raise WanError("the board's answer to an upload has no offset")
    return off
