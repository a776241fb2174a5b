"""Requests and answers on a link: sequence numbers, seals, deadlines, and tries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from smp.header import OP, Header
from smp.os_management import MCUMgrParametersReadResponse
from smpclient.generics import SMPRequest

from hanlab.wan import answers
from hanlab.wan.answers import TRep
from hanlab.wan.auth import (
    ANSWER_SEAL_OCTETS,
    BoardSeal,
    Credentials,
    Session,
    log_in,
    no_key,
    wants_seal,
)
from hanlab.wan.errors import NoAnswer, WanError
from hanlab.wan.framing import FRAMINGS, Link
from hanlab.wan.heard import POKE, Heard
from hanlab.wan.limits import Limits
from hanlab.wan.messages import Logout

PATIENCE_S: Final = 60.0
"""How long a board that is asked again and again may say nothing, or make no progress, at the least (s)."""
TRIES: Final = 20
"""How often it is asked in that time: as often, or twice as long."""
MAX_BACK_OFF_S: Final = 4.0
"""Each try waits twice as long as the one before, up to this or the request's own deadline (s)."""

MIN_MESSAGE: Final = 128
"""An upload's first message needs so many octets for more than its head."""

_OP_BITS: Final = 7
"""Of an SMP header's first octet; a request's operation is even, its answer's the next odd number."""
_ANSWER_OCTETS: Final = 1024 + ANSWER_SEAL_OCTETS
"""No answer is longer, framing included (the seal and REPLY_MAX of firmware/smets1/wan/smp.py)."""
_ADAPTERS_S: Final = 0.05
"""What USB adapters and drivers add to a request and its answer (s)."""

Make = Callable[..., SMPRequest[TRep, Any, Any]]
"""A request class: called with the request's fields it makes the message."""


@dataclass(frozen=True)
class Window:
    """What the board takes at once: `count` messages of at most `size` octets (MCUmgr params)."""

    size: int
    count: int

    @classmethod
    def of(cls, params: MCUMgrParametersReadResponse) -> Self:
        """Raises WanError where nothing can be uploaded with that."""
        if params.buf_size < MIN_MESSAGE or params.buf_count < 1:
            raise WanError(
                f"the board says that it takes {params.buf_count} messages of {params.buf_size} octets at once, "
                f"and {MIN_MESSAGE} octets are the least there is use for",
                next_step="check which port is which board, and that nothing else answers on it",
            )
        return cls(params.buf_size, params.buf_count)


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
    unproved: int = 0
    """Answers without the seal that they need, or with a wrong one: somebody else's. They count for nothing."""
    reopened: int = 0
    """Uploads begun once more because the board had lost track of them: it had restarted."""
    logins: int = 0


@dataclass
class _Waiting:
    """For the answer to a request."""

    answer: asyncio.Future[bytes]
    sealed: list[bytes]
    """What was sent, if its answer has to have a seal: an upload's chunk with another one each time."""


class Exchange:
    """What a `WanClient` sends and receives. Sequence numbers are its own, so that a run repeats exactly."""

    def __init__(
        self, link: Link, framing: str, credentials: Credentials | None, octets_s: float
    ) -> None:
        self.credentials = credentials
        self.limits = Limits()
        self.counters = ClientCounters()
        self.octets_sent = 0
        """Octets put on the wire, framing included."""
        self.heard = Heard()
        """What came before the first answer."""
        self._link = link
        self._octets_s = octets_s
        self._framing = FRAMINGS[framing]()
        self._framing_factor = 4 / 3 if framing == "console" else 1.01
        self._session: Session | None = None
        self._board = BoardSeal(credentials.key) if credentials else None
        self._sequence = 0
        self._waiting: dict[tuple[int, bytes], _Waiting] = {}
        self._reader: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Log out, and listen no more. A board that does not answer ends the login by itself, when it is idle."""
        if self._session:
            logout = self.make(Logout)
            octets = self.sealed(logout)
            self._session = None
            try:
                await self.answer(self.send(octets), self.deadline(len(octets), 0.0))
            except NoAnswer:
                self._forget(octets)
                self.counters.timeouts += 1
        if self._reader:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None

    @property
    def must_log_in(self) -> bool:
        """It can, and has not, or has logged out again."""
        return self.credentials is not None and self._session is None

    async def log_in(self) -> None:
        """Raises AccessDenied and FalseBoard as `auth.log_in` does."""
        if self.credentials is None:
            raise no_key()
        self._session = None
        self._session = await log_in(self.ask, self.credentials)
        self.counters.logins += 1

    async def ask(self, request: Make[TRep], *, work_s: float = 0.0, **fields: Any) -> TRep:
        """Send the same octets until they are answered, or `PATIENCE_S` and `TRIES` are over.

        In a session it is the board that answers: what it has not sealed is no answer.
        """
        message = self.make(request, **fields)
        octets = self.sealed(message)
        loop = asyncio.get_running_loop()
        deadline = self.deadline(len(octets), work_s)
        began = loop.time()
        unproved = self.counters.unproved
        wait = deadline
        tries = 0
        while True:
            tries += 1
            waiter = self.send(octets, again=tries > 1)
            try:
                return answers.parsed(message, await self.answer(waiter, wait))
            except NoAnswer as e:
                self.counters.timeouts += 1
                if is_hopeless(tries, loop.time() - began):
                    self._forget(octets)
                    raise self.hopeless(f"{e.what}, the last of {tries} tries", unproved) from None
            wait = min(2 * wait, max(deadline, MAX_BACK_OFF_S))

    def make(self, request: Make[TRep], **fields: Any) -> SMPRequest[TRep, Any, Any]:
        """The message, with the next sequence number."""
        self._sequence = (self._sequence + 1) & 0xFF
        return request(sequence=self._sequence, **fields)

    def sealed(self, message: SMPRequest[Any, Any, Any]) -> bytes:
        """The message's octets; in a session a write's with its seal, a read's with a nonce."""
        octets = message.BYTES
        if not self._session:
            return octets
        is_write = octets[0] & _OP_BITS == OP.WRITE
        return self._session.seal(octets) if is_write else self._session.ask(octets)

    def deadline(self, octets: int, work_s: float) -> float:
        """For a request that `octets` go in front of, itself included, and that is `work_s` of work."""
        on_wire = (octets + _ANSWER_OCTETS) * self._framing_factor / self._octets_s
        return on_wire + _ADAPTERS_S + self.limits.reply_s + work_s

    def send(self, message: bytes, *, again: bool = False) -> asyncio.Future[bytes]:
        """Send a message, or send it `again`; what will be its answer."""
        if again:
            self.counters.retries += 1
        else:
            self.counters.requests += 1
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_frames())
        key = _answers_to(message)
        waiting = self._waiting.get(key) if again else None
        if waiting is None or waiting.answer.done():
            waiting = self._waiting[key] = _Waiting(asyncio.get_running_loop().create_future(), [])
        if wants_seal(message):
            waiting.sealed.append(message)
        for part in self._framing.encode(message):
            self._link.write(part)
            self.octets_sent += len(part)
        return waiting.answer

    def poke(self) -> None:
        """Have whoever is there, and is no board, say who he is."""
        self._link.write(POKE)

    async def answer(self, waiter: asyncio.Future[bytes], patience: float) -> bytes:
        await asyncio.wait([waiter], timeout=patience)  # does not cancel it: the answer may be late
        if not waiter.done():
            raise NoAnswer(f"no answer from the board within {patience:.1f} s")
        return waiter.result()

    def hopeless(self, what: str, unproved: int) -> NoAnswer:
        """The error for what got no answer, since `counters.unproved` was that."""
        if others := self.counters.unproved - unproved:
            return NoAnswer(
                f"{what}; {others:,} answers were not the board's: they had no seal made with its key",
                next_step="see who else is on its wire; a board with another hanlab's firmware, or of another "
                "lab meanwhile, needs hanlab flash",
            )
        return NoAnswer(
            what,
            next_step="check the wire and its power, and run it again: it goes on where it stopped",
        )

    def _forget(self, message: bytes) -> None:
        self._waiting.pop(_answers_to(message), None)

    async def _read_frames(self) -> None:
        while True:
            octets = await self._link.read()
            if not self.counters.answers:
                self.heard.take(octets)
            self._framing.feed(octets)
            while (frame := self._framing.take()) is not None:
                if len(frame) >= Header.SIZE:
                    self._take(frame)

    def _take(self, frame: bytes) -> None:
        """Give an answer to who waits for it, if there is somebody and it is the board's."""
        key = frame[0] & _OP_BITS, frame[4 : Header.SIZE]
        waiting = self._waiting.get(key)
        if waiting is None or waiting.answer.done():
            self.counters.strays += 1
            return
        answer = self._opened(waiting.sealed, frame) if waiting.sealed else frame
        if answer is None:
            self.counters.unproved += 1
            return
        del self._waiting[key]
        self.counters.answers += 1
        waiting.answer.set_result(answer)

    def _opened(self, requests: list[bytes], frame: bytes) -> bytes | None:
        """The answer without its seal; None if that is not the board's, to one of the requests."""
        assert self._board
        for request in reversed(requests):
            if answer := self._board.opened(request, frame):
                return answer
        return None


def is_hopeless(tries: int, seconds: float) -> bool:
    return seconds >= PATIENCE_S and (tries >= TRIES or seconds >= 2 * PATIENCE_S)


def _answers_to(message: bytes) -> tuple[int, bytes]:
    """What the answer to a request says of itself: its operation, and group, sequence number, command."""
    return (message[0] & _OP_BITS) + 1, message[4 : Header.SIZE]
