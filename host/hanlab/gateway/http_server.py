"""The gateway's HTTP server: how many connections it has at once, and how patient it is."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import unquote, urlsplit

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS: Final = 64
"""At once; further ones are answered with 503."""
SILENCE_S: Final = 30.0
"""How long a connection may be open without the headers of a request, and without taking its answer."""


class ImpatientProtocol(H11Protocol):
    """HTTP on one connection, cut off where nobody asks anything; uvicorn would wait for ever.

    Nobody asks while the headers of a request are not whole, the first one's or a later one's, while a
    body goes on that has been answered already, and while nobody takes an answer.
    """

    silence_s = SILENCE_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn itself
        super().connection_made(transport)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_at.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._look_at = self.loop.call_later(self.silence_s, self._look, self.cycle)

    def _look(self, before: object) -> None:
        """`before` is the request of the last look; None: there was none yet."""
        answering = self.cycle is not None and not self.cycle.response_complete
        stuck = not answering or self.transport.get_write_buffer_size()
        if self.cycle is before and stuck:
            self.transport.abort()  # `close` would wait until everything is sent
        else:
            self._look_later()


def by_path(app: ASGIApp) -> ASGIApp:
    """`app`, also for clients that ask for a whole URL, as those do that take the gateway for a proxy.

    The URL's host counts then, whatever `Host` says (RFC 9112, 3.2.2).
    """

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["raw_path"].lower().startswith(b"http://"):
            scope = _origin_form(scope)
        await app(scope, receive, send)

    return asked


def _origin_form(scope: Scope) -> Scope:
    try:
        url = urlsplit(scope["raw_path"].decode("ascii", "replace"))
    except ValueError:  # brackets that are none of IPv6: there is no such path
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": unquote(url.path) or "/",
        "raw_path": url.path.encode() or b"/",
        "headers": [*headers, (b"host", url.netloc.encode())],
    }


def make_server(app: ASGIApp) -> uvicorn.Server:
    """A server for `app`, with its bounds on connections."""
    return uvicorn.Server(
        uvicorn.Config(
            by_path(app),
            http=ImpatientProtocol,
            ws="none",
            limit_concurrency=CONNECTIONS,
            log_level="warning",
            access_log=False,
            lifespan="off",
        )
    )
