"""The bodies of requests: how large one may be, how long it may take, how many octets all may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import ClientDisconnect, Request

from hanlab.gateway.refusals import Refused

LIMIT: Final = 16 * 1024 * 1024
"""Octets of a request: the largest 11.1 that DUIS allows has some 15 million."""


@dataclass(frozen=True)
class Limits:
    """`one` and `all`: octets of a body, and of all that are here at once; `seconds`: to read one."""

    one: int = LIMIT
    all: int = 4 * LIMIT
    seconds: float = 30.0


@dataclass
class _Body:
    """One that is being read: in one piece, as a million small ones would take ten times the room."""

    octets: bytearray = field(default_factory=bytearray)
    size: int = 0


class Bodies:
    """What is being read and decided now: no more than `limits.all` octets of it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0
        """Octets of bodies that are here."""

    @asynccontextmanager
    async def read(self, http: Request) -> AsyncIterator[bytes]:
        """The octets of a request; they count until the end of the `with`.

        Raises:
            Refused: 413 as soon as they are too many, 503 as soon as there is no room beside the
                other bodies, 408 when the time is over, 400 if the client goes away.
        """
        body = _Body()
        try:
            try:
                async with asyncio.timeout(self._limits.seconds):
                    await self._take(http, body)
            except TimeoutError:
                raise Refused(
                    408,
                    f"{body.size:,} octets came in {self._limits.seconds:g} s, not the end",
                    "send the whole request in that time",
                ) from None
            except ClientDisconnect:
                raise Refused(400, "the request ended in the middle", "send it again") from None
            octets = bytes(body.octets)
            body.octets.clear()
            yield octets
        finally:
            self.held -= body.size

    async def _take(self, http: Request, body: _Body) -> None:
        self._check(0, _announced(http))
        async for some in http.stream():
            self._check(body.size, len(some))
            body.octets += some
            body.size += len(some)
            self.held += len(some)

    def _check(self, here: int, more: int) -> None:
        if here + more > self._limits.one:
            raise Refused(413, f"more than {self._limits.one:,} octets", "11.1 takes 10,240,000")
        if self.held + more > self._limits.all:
            raise Refused(
                503,
                f"requests of {self.held:,} octets are being read; {self._limits.all:,} are the most",
                "send it again in some seconds",
                {"retry-after": "5"},
            )


def _announced(http: Request) -> int:
    """What Content-Length says; 0 where it is missing or no number (the server refuses that)."""
    text = http.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
