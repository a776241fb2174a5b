"""An upload that keeps the board's window full, goes on where it stopped, and logs in wherever it has to."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from smp.header import Header
from smpclient.generics import SMPRequest
from smpclient.requests.image_management import ImageUploadWrite

from hanlab.wan import answers
from hanlab.wan.auth import SEAL_OCTETS
from hanlab.wan.errors import Refused
from hanlab.wan.exchange import Exchange, Window, is_hopeless
from hanlab.wan.limits import CHECKPOINT_OCTETS, JOURNAL_OCTETS, Limits

MIN_CHUNK: Final = 256
"""Where octets are damaged, an upload's chunks shrink so far: a short one has a better chance."""
LOGINS: Final = 5
"""How often an upload that the board stops for want of a login goes on after another one, with no progress between."""

_CHUNK_OVERHEAD: Final = Header.SIZE + 18
"""SMP header, and the CBOR around `off` and `data`."""
_FIRST_CHUNK_OVERHEAD: Final = _CHUNK_OVERHEAD + 48
"""The first one carries `len` and `sha` as well."""
_FRAME_OVERHEAD: Final = 4
"""Length and CRC-16 share the board's buffer with the message (console framing)."""


async def upload(exchange: Exchange, image: bytes, window: Window) -> AsyncIterator[int]:
    """Upload `image`; yields the offset that the board has confirmed, each time it grows.

    As many chunks are on their way as the board has buffers; each answer says which octet the board wants
    next, so a chunk that got lost is seen at once and sent again.

    Raises:
        Refused: the board answered with an error.
        NoAnswer: it makes no progress.
        AccessDenied: it wants a key that this client does not have.
    """
    room = window.size - _FRAME_OVERHEAD - (SEAL_OCTETS if exchange.credentials else 0)
    chunks = _Chunks(image, room)
    best = -1
    logins = LOGINS
    while True:
        try:
            async for confirmed in _upload(exchange, chunks, window):
                if confirmed > best:
                    best = confirmed
                    logins = LOGINS
                    yield confirmed
            return
        except Refused as e:
            if not logins or not e.denied:
                raise
        logins -= 1
        await exchange.log_in()  # the one before has run out, or the board has restarted


async def _upload(exchange: Exchange, chunks: _Chunks, window: Window) -> AsyncIterator[int]:
    size = chunks.size
    loop = asyncio.get_running_loop()
    flying: deque[_Flying] = deque()
    made: dict[tuple[int, int], SMPRequest[Any, Any, Any]] = {}  # the chunks not confirmed yet
    confirmed, best, sent = 0, -1, 0
    is_open = False  # the board knows of this upload, and has said where it is to go on
    failures, progress = 0, loop.time()
    unproved = exchange.counters.unproved
    while confirmed < size or not is_open:
        while len(flying) < (window.count if is_open else 1) and (sent < size or not is_open):
            fields = chunks.fields(sent, first=not is_open)
            end = sent + len(fields["data"])
            message = made.get((sent, end))
            again = message is not None
            if message is None:
                message = made[sent, end] = exchange.make(ImageUploadWrite, **fields)
            octets = exchange.sealed(message)  # also again: its number is a new one
            flying.append(_Flying(end, len(octets), exchange.send(octets, again=again)))
            sent = end
        deadline = exchange.deadline(
            sum(chunk.octets for chunk in flying),
            _chunk_work(exchange.limits, flying[0].end, size, is_open),
        )
        end, answer = await _first(flying, deadline * (2 if failures else 1))
        if answer is None:
            exchange.counters.timeouts += 1
            off = confirmed
        else:
            off = answers.offset(answer, size)
        if answer and (off == end or not is_open):
            is_open = True
            chunks.grow()
        else:  # a chunk or an answer got lost: go back to what the board has
            failures += 1
            flying.clear()
            if failures > 1 and chunks.shrink():
                made.clear()
            if answer and not off and confirmed:  # it has restarted: say once more what comes
                exchange.counters.reopened += 1
                is_open = False
                made.clear()
        if off > best:
            best, failures, progress = off, 0, loop.time()
            yield off
        elif is_hopeless(failures, loop.time() - progress):
            raise exchange.hopeless(f"no progress within {loop.time() - progress:.0f} s", unproved)
        made = {span: made[span] for span in made if span[0] >= off}
        confirmed = off
        if not flying:
            sent = off if is_open else 0


def _chunk_work(limits: Limits, end: int, size: int, is_open: bool) -> float:
    """How long (s) the board may work on the chunk that ends at `end`."""
    work = limits.write_s(CHECKPOINT_OCTETS + MIN_CHUNK if is_open else JOURNAL_OCTETS)
    if end == size or not is_open:
        # the last one, also of an upload that goes on: what was stored is read back, and hashed twice
        work += limits.hash_s(2 * size) + limits.write_s()
    return work


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
