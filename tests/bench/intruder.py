"""Whoever shares the line of a client that is logged in."""

from __future__ import annotations

import asyncio

import cbor2
from smp.header import Header

from hanlab.bench.desk import Desk
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


def codes(answers: list[bytes]) -> list[int]:
    """Of each answer the SMP code that every group has; 0: it was done."""
    return [cbor2.loads(answer[Header.SIZE :]).get("rc", 0) for answer in answers]
