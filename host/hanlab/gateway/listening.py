"""The socket that the gateway listens on."""

from __future__ import annotations

import socket

from hanlab.errors import UsageError


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0: any free one.

    asyncio switches Nagle's algorithm off only where a socket says that its protocol is TCP, which
    `socket.create_server` does not: each answer would wait 40 ms for the client's delayed ACK.

    Raises:
        UsageError: the address or the port is not to be had.
    """
    try:
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
            f"{host}:{port} cannot be served: {e.strerror}",
            next_step="another program has the port: --port takes another one",
        ) from None
    return listening
