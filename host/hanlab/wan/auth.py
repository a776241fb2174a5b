"""The login at a board: both ends prove, by challenge and response, that they have the board's key.

The firmware's half is firmware/smets1/wan/auth.py. The key itself is never on the wire, and what is
answers one challenge only: who has recorded it has nothing. Both ends make a key of the session from it,
with which each write is sealed: who has the wire, and not the key, can do nothing in a session either.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from smp.header import Header

from hanlab.keys import Secret
from hanlab.wan.errors import AccessDenied, FalseBoard, Refused
from hanlab.wan.messages import Challenge, Login

NONCE_OCTETS: Final = 16
TRIES: Final = 6
"""How often to log in: where octets get lost, the board may have given out another challenge meanwhile."""

_BY_HOST: Final = b"hanlab WAN host"
_BY_BOARD: Final = b"hanlab WAN board"
_SESSION: Final = b"hanlab WAN session"

_SEAL: Final = b"\x64seal\x54"
"""CBOR: the seal's name in a write's map, and the head of its 20 octets."""
_NUMBER_OCTETS: Final = 4
_TAG_OCTETS: Final = 16
SEAL_OCTETS: Final = len(_SEAL) + _NUMBER_OCTETS + _TAG_OCTETS
"""What a seal adds to a message."""
_MAPS: Final = range(0xA0, 0xB7)
"""CBOR's heads of maps with so few fields that one more fits."""


@dataclass(frozen=True)
class Credentials:
    """What proves to a board that it may do what it is asked for."""

    eui: bytes
    """The board's EUI-64, 8 octets."""
    key: Secret
    nonce: Callable[[int], bytes] = secrets.token_bytes
    """Makes that many octets which nobody can foretell (on the bench: from the lab's seed)."""


class Session:
    """A login that a board has accepted; `key` (32 octets) is this session's."""

    def __init__(self, key: Secret) -> None:
        self._key = key
        self._number = 0

    def seal(self, message: bytes) -> bytes:
        """A write's octets with one more field at their end, by which the board knows whose it is.

        It is the write's number in this session (4 octets) and 16 octets of an HMAC-SHA256 over the
        message up to there, header included.
        """
        self._number += 1
        payload = message[Header.SIZE :]
        if payload[0] not in _MAPS:
            raise ValueError(f"a map of at most 22 fields is sealed, not 0x{payload[0]:02X}")
        octets = b"".join(
            (
                message[:2],
                struct.pack(">H", len(payload) + SEAL_OCTETS),
                message[4 : Header.SIZE],
                bytes((payload[0] + 1,)),
                payload[1:],
                _SEAL,
                self._number.to_bytes(_NUMBER_OCTETS),
            )
        )
        return octets + self._key.mac(octets)[:_TAG_OCTETS]


class Ask(Protocol):
    """Sends a request to the board and waits for its answer; raises Refused and NoAnswer."""

    async def __call__(self, request: Any, **fields: Any) -> Any: ...


async def log_in(ask: Ask, credentials: Credentials) -> Session:
    """Log in at the board; its writes are sealed by the session from then on.

    Raises:
        AccessDenied: it has another key.
        FalseBoard: it does not prove to have the key.
        NoAnswer: it does not answer.
    """
    key, eui = credentials.key, credentials.eui
    for _ in range(TRIES):
        theirs = (await ask(Challenge)).nonce
        ours = credentials.nonce(NONCE_OCTETS)
        try:
            answer = await ask(Login, nonce=ours, mac=key.mac(_BY_HOST, theirs, ours, eui))
        except Refused as e:
            if not e.denied:
                raise
            continue
        if not hmac.compare_digest(answer.mac, key.mac(_BY_BOARD, theirs, ours, eui)):
            raise FalseBoard(
                "the board at the other end does not know the key of "
                f"{eui.hex('-').upper()}: nothing was sent to it",
                next_step="check which port is which board",
            )
        return Session(Secret(key.mac(_SESSION, theirs, ours, eui)))
    raise AccessDenied(
        f"the board refused the login: it was provisioned with another key than {eui.hex('-').upper()} has here",
        next_step="provision it again from this lab, or use the lab that it belongs to (--lab)",
    )


def no_key() -> AccessDenied:
    """The error of a client that has nothing to log in with."""
    return AccessDenied(
        "the board's WAN is closed: without its key a client may read and echo, and nothing else (EACCESSDENIED)",
        next_step="log in with its key, or declare the lab open: wan_open = true in lab.toml",
    )
