"""A body's bound holds whether its length was announced or not: chunked bodies announce none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from hanlab.gateway.bodies import Bodies, Limits
from hanlab.gateway.refusals import Refused

PIECE = 1000
LIMITS = Limits(one=10 * PIECE, all=15 * PIECE)


class Client:
    """Sends so many pieces; `taken` is how many were asked of it."""

    def __init__(self, pieces: int, announced: int | None = None) -> None:
        self.taken = 0
        self._pieces = pieces
        headers = [] if announced is None else [(b"content-length", str(announced).encode())]
        self.request = Request({"type": "http", "method": "POST", "headers": headers}, self._more)

    async def _more(self) -> dict[str, Any]:
        self.taken += 1
        last = self.taken >= self._pieces
        return {"type": "http.request", "body": b"x" * PIECE, "more_body": not last}


def read(bodies: Bodies, client: Client) -> bytes:
    async def go() -> bytes:
        async with bodies.read(client.request) as octets:
            assert bodies.held == len(octets)
            return octets

    return asyncio.run(go())


def test_a_chunked_body_of_the_limit_is_read() -> None:
    bodies = Bodies(LIMITS)
    assert len(read(bodies, Client(10))) == 10 * PIECE
    assert bodies.held == 0


@pytest.mark.parametrize("announced", [None, 5 * PIECE])
def test_a_chunked_body_is_read_no_further_than_the_limit(announced: int | None) -> None:
    """Also one that announced less than it sends; what was read does not stay."""
    bodies = Bodies(LIMITS)
    client = Client(1_000_000, announced)
    with pytest.raises(Refused) as refused:
        read(bodies, client)
    assert refused.value.status == 413
    assert client.taken == 11
    assert bodies.held == 0


def test_a_body_that_announces_too_much_is_not_read_at_all() -> None:
    client = Client(1, 10 * PIECE + 1)
    with pytest.raises(Refused) as refused:
        read(Bodies(LIMITS), client)
    assert (refused.value.status, client.taken) == (413, 0)
