"""Whoever shares the line of a client that is logged in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import cbor2
from smp.header import Header

from hanlab.lab.desk import Desk
from hanlab.wan.auth import Session
from hanlab.wan.client import WanClient
from hanlab.wan.framing import FRAMINGS


def session_of(client: WanClient) -> Session:
    session = client._exchange._session
    assert session
    return session


async def inject(
    desk: Desk, client: WanClient, *messages: bytes, board: str = "hub"
) -> list[bytes]:
    """Put messages on the line of `client`, which stays logged in; what is answered to each.

    Its reader would take the answers, so it stops; it begins again with the next request.
    """
    reader = client._exchange._reader
    if reader:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    framing = FRAMINGS["cobs"]()
    port = desk.ports[board]
    answers: list[bytes] = []
    for message in messages:
        for part in framing.encode(message):
            port.write(part)
        while (answer := framing.take()) is None:
            framing.feed(await port.read())
        answers.append(answer)
    return answers


def body(answer: bytes) -> dict[str, Any]:
    """What an answer says, without its seal."""
    said: dict[str, Any] = cbor2.loads(answer[Header.SIZE :])
    said.pop("seal", None)
    return said


def codes(answers: list[bytes]) -> list[int]:
    """Of each answer the SMP code that every group has; 0: it was done."""
    return [body(answer).get("rc", 0) for answer in answers]


def answer_to(request: bytes, said: dict[str, Any]) -> bytes:
    """What a board would answer that seals nothing."""
    octets = cbor2.dumps(said)
    head = bytes((request[0] + 1, 0)) + len(octets).to_bytes(2) + request[4 : Header.SIZE]
    return head + octets


class Liar:
    """Hears what a host sends to a board, and answers before the board can; `lie` makes the answer, or None.

    `heard` is what the host sent, `told` what it was answered, and `true` what the board answered.
    """

    def __init__(
        self, desk: Desk, lie: Callable[[bytes], bytes | None], board: str = "hub"
    ) -> None:
        self.heard: list[bytes] = []
        self.told: list[bytes] = []
        self.true: list[bytes] = []
        port = desk.ports[board]
        write, feed = port.write, port.feed
        to_board, to_host = FRAMINGS["cobs"](), FRAMINGS["cobs"]()

        def from_host(octets: bytes) -> None:
            to_board.feed(octets)
            while (request := to_board.take()) is not None:
                self.heard.append(request)
                if answer := lie(request):
                    self.told.append(answer)
                    feed(b"".join(FRAMINGS["cobs"]().encode(answer)))
            write(octets)

        def from_board(octets: bytes) -> None:
            to_host.feed(octets)
            while (answer := to_host.take()) is not None:
                self.true.append(answer)
            feed(octets)

        port.write = from_host  # type: ignore[method-assign]  # on this wire alone
        port.feed = from_board  # type: ignore[method-assign]  # on this wire alone
