"""TCP ports to listen on, and what helps where one is not to be had."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Final

from hanlab.errors import UsageError

_PORTS: Final = range(1 << 16)
_NOT_ROOTS: Final = 8079


def listen(host: str, port: int, option: str, *, backlog: int = 128) -> socket.socket:
    """A listening TCP socket; port 0: any free one. Connections are without Nagle's delays.

    asyncio switches Nagle's algorithm off only where a socket says that its protocol is TCP, which
    `socket.create_server` does not: each answer would wait 40 ms for the client's delayed ACK.

    Args:
        option: how a user says where, with `{host}` and `{port}` in it, as "--tcp {host}:{port}".
        backlog: how many connections may wait to be accepted.

    Raises:
        UsageError: the address or the port is not to be had.
    """
    try:
        if port not in _PORTS:  # getaddrinfo would take its last 16 bits
            raise OverflowError
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(backlog)
        except BaseException:
            listening.close()
            raise
    except OSError as e:
        raise UsageError(
            f"{host}:{port} cannot be served: {e.strerror}", next_step=_next_step(option, host, e)
        ) from None
    except (OverflowError, UnicodeError):  # Python's own look at the port and at the host's letters
        raise UsageError(
            f"{host}:{port} cannot be served: it is no address",
            next_step=_next_step(option, host, None),
        ) from None
    return listening


def _next_step(option: str, host: str, error: OSError | None) -> str:
    """By what is wrong: the port, who may have it, or the host."""
    if error and error.errno == errno.EADDRINUSE:
        return f"another program has the port: {option.format(host=host, port=0)} takes any that is free"
    if error and error.errno == errno.EACCES:
        return f"ports below 1024 are root's: {option.format(host=host, port=_NOT_ROOTS)}"
    here, everywhere = (option.format(host=at, port=_NOT_ROOTS) for at in ("127.0.0.1", "0.0.0.0"))
    return f"{here} serves this computer, {everywhere} the network; ports are 0 to {_PORTS[-1]}"


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a socket that listens on `host`; False for what is no address."""
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    addresses = {str(address[0]).partition("%")[0] for *_, address in found}
    return bool(host) and all(ipaddress.ip_address(a).is_loopback for a in addresses)
