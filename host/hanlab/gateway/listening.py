"""The socket that the gateway listens on, and how many connections it has at once."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from hanlab.errors import UsageError

CONNECTIONS: Final = 64
"""At once; further ones are answered with 503."""
SILENCE_S: Final = 30.0
"""How long a connection may be open without the headers of a request, and without taking its answer."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0: any free one.

    asyncio switches Nagle's algorithm off only where a socket says that its protocol is TCP, which
    `socket.create_server` does not: each answer would wait 40 ms for the client's delayed ACK.

    Raises:
        UsageError: the address or the port is not to be had.
    """
    try:
        if port not in range(1 << 16):  # getaddrinfo would take its last 16 bits
            raise OverflowError
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except BaseException:
            listening.close()
            raise
    except OSError as e:
        raise UsageError(
            f"{host}:{port} cannot be served: {e.strerror}", next_step=_next_step(e)
        ) from None
    except (OverflowError, UnicodeError):  # Python's own look at the port and at the host's letters
        raise UsageError(
            f"{host}:{port} cannot be served: it is no address", next_step=_next_step(None)
        ) from None
    return listening


def _next_step(error: OSError | None) -> str:
    """By what is wrong: the port, who may have it, or the host."""
    if error and error.errno == errno.EADDRINUSE:
        return "another program has the port: --port takes another one, 0 any that is free"
    if error and error.errno == errno.EACCES:
        return "ports below 1024 are root's: --port 8079"
    return "--host 127.0.0.1 serves this computer, --host 0.0.0.0 the network; --port is 0 to 65535"


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a socket that listens on `host`; False for what is no address."""
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    addresses = {str(address[0]).partition("%")[0] for *_, address in found}
    return bool(host) and all(ipaddress.ip_address(a).is_loopback for a in addresses)


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


def make_server(app: Starlette) -> uvicorn.Server:
    """A server for `app`, with its bounds on connections."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=ImpatientProtocol,
            ws="none",
            limit_concurrency=CONNECTIONS,
            log_level="warning",
            access_log=False,
            lifespan="off",
        )
    )
