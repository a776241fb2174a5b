"""The SMP client of a board: turns, logins, and what it may be asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final, cast

from smp.os_management import MCUMgrParametersReadResponse
from smpclient.requests.os_management import MCUMgrParametersRead

from hanlab.wan import answers
from hanlab.wan.answers import TRep
from hanlab.wan.auth import Credentials
from hanlab.wan.errors import NoAnswer as NoAnswer
from hanlab.wan.errors import Refused as Refused
from hanlab.wan.errors import WanError as WanError
from hanlab.wan.exchange import PATIENCE_S as PATIENCE_S
from hanlab.wan.exchange import ClientCounters as ClientCounters
from hanlab.wan.exchange import Exchange, Make
from hanlab.wan.exchange import Window as Window
from hanlab.wan.framing import Link
from hanlab.wan.limits import Limits
from hanlab.wan.messages import LimitsRead
from hanlab.wan.upload import upload

KNOCK_S: Final = 0.25
"""How often a board that does not answer yet is asked (s)."""
SLOWEST_OCTETS_S: Final = 1920.0
"""A UART at 19,200 baud."""


class WanClient:
    """An SMP client on a link.

    What is not answered in time is sent again, with back-off: the same octets, so that the board knows
    a request that it has carried out already, and only answers once more. Deadlines are the board's
    own (`limits`).

    With `credentials` it logs in as soon as the board answers, and again when that has run out; each of
    its writes is then sealed, only answers with the board's own seal count, and it logs out when it
    is closed. Without, it can read and echo, and change only a board whose WAN is open.

    Tasks may share it: a board does one thing at a time, so each waits for its turn, and its deadlines
    begin with it. An upload is one turn.
    """

    def __init__(
        self,
        link: Link,
        framing: str = "cobs",
        credentials: Credentials | None = None,
        octets_s: float = SLOWEST_OCTETS_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`octets_s` is how fast the link is, each way (octet/s); deadlines count on it.

        `patience_s`: how long (s) a board that may just be starting is waited for.
        """
        self._patience_s = patience_s
        self._exchange = Exchange(link, framing, credentials, octets_s)
        self._window: Window | None = None
        self._turn = asyncio.Lock()

    @property
    def limits(self) -> Limits:
        return self._exchange.limits

    @property
    def counters(self) -> ClientCounters:
        return self._exchange.counters

    @property
    def octets_sent(self) -> int:
        """Octets put on the wire, framing included."""
        return self._exchange.octets_sent

    @property
    def retries(self) -> int:
        return self.counters.retries

    async def close(self) -> None:
        """Log out (whoever uses it again logs in again), and listen no more."""
        await self._exchange.close()

    async def connect(self) -> Window:
        """Wait until the board answers (it may be starting), log in, and learn its limits.

        Raises:
            NoAnswer: it did not answer for as long as it is waited for.
            NotABoard: something else is there.
            AccessDenied: it was provisioned with another key.
            FalseBoard: it does not know its key.
        """
        async with self._turn:
            return await self._connected()

    async def _connected(self) -> Window:
        if self._window is None:
            params = await self._knock()
            if self._exchange.must_log_in:
                await self._exchange.log_in()
                params = await self._exchange.ask(MCUMgrParametersRead)  # proved this time
            window = Window.of(params)
            try:
                self._exchange.limits = Limits.of(await self._exchange.ask(LimitsRead))
            except Refused:
                self._exchange.limits = Limits()  # a board that has no such group
            self._window = window
        elif self._exchange.must_log_in:
            await self._exchange.log_in()
        return self._window

    async def _knock(self) -> MCUMgrParametersReadResponse:
        message = self._exchange.make(MCUMgrParametersRead)
        for tries in range(round(self._patience_s / KNOCK_S)):
            try:
                self.counters.knocks += 1
                self.counters.requests -= 1  # it is none of those
                waiter = self._exchange.send(message.BYTES)
                return answers.parsed(message, await self._exchange.answer(waiter, KNOCK_S))
            except NoAnswer:
                if wrong := self._exchange.heard.verdict(tries * KNOCK_S):
                    raise wrong from None
                if self._exchange.heard.anything:
                    self._exchange.poke()
        raise NoAnswer(
            f"no answer from the board within {self._patience_s:.0f} s",
            next_step="check the wire, and that the board has power",
        )

    async def read(self, request: Make[TRep], *, work_s: float = 0.0, **fields: Any) -> TRep:
        """Send a request that changes nothing; `work_s` (s) is what the board needs besides answering.

        Raises:
            Refused: the board answered with an error.
            NoAnswer: it did not answer any of the tries.
        """
        async with self._turn:
            await self._connected()
            return await self._exchange.ask(request, work_s=work_s, **fields)

    async def read_all(self, request: Make[TRep], field: str, **fields: Any) -> TRep:
        """Read, and read on until the list `field` of the answer is whole: a HAN has more devices than an answer.

        Raises as `read`.
        """
        answer = await self.read(request, **fields)
        whole: list[Any] = list(getattr(answer, field))
        more = getattr(answer, "more", False)
        while more:
            page = await self.read(request, **{**fields, "skip": len(whole)})
            new = getattr(page, field)
            if not new or new[0] in whole:
                raise WanError(
                    f"the board says that it has more {field} than {len(whole)}, and does not tell them",
                    next_step="its firmware is older than this hanlab: hanlab flash puts this one's on it",
                )
            whole += new
            more = getattr(page, "more", False)
        return cast("TRep", answer.model_copy(update={field: whole, "more": False}))

    async def write(self, request: Make[TRep], **fields: Any) -> TRep:
        """Send a request that changes something; log in again if that has run out.

        Raises as `read`, and
            AccessDenied: the board wants a key that this client does not have.
        """
        async with self._turn:
            await self._connected()
            work_s = self.limits.write_s()
            try:
                return await self._exchange.ask(request, work_s=work_s, **fields)
            except Refused as e:
                if not e.denied:
                    raise
            await self._exchange.log_in()
            return await self._exchange.ask(request, work_s=work_s, **fields)

    async def upload(self, image: bytes) -> AsyncGenerator[int, None]:
        """Upload `image`, going on where an earlier upload of the same octets stopped.

        Yields the offset that the board has confirmed, each time it grows. As many chunks are on
        their way as the board has buffers; each answer says which octet the board wants next, so a
        chunk that got lost is seen at once and sent again. Whoever ends it early closes it
        (`contextlib.aclosing`), so that others get their turn. Raises as `write`.
        """
        async with self._turn:
            async for confirmed in upload(self._exchange, image, await self._connected()):
                yield confirmed
