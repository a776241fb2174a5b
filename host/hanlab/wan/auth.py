"""The login at a board: both ends prove, by challenge and response, that they have the board's key.

The firmware's half is firmware/smets1/wan/auth.py. The key itself is never on the wire, and what is
answers one challenge only: who has recorded it has nothing. Both ends make a key of the session from it,
with which each write is sealed: who has the wire, and not the key, can do nothing in a session either.
The board seals its answers to sealed writes, and to reads that have a nonce: nobody else can answer for it.
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
from hanlab.wan.errors import AccessDenied, FalseBoard, Refused, WanError
from hanlab.wan.messages import Challenge, Login

NONCE_OCTETS: Final = 16
TRIES: Final = 6
"""How often to log in: where octets get lost, the board may have given out another challenge meanwhile."""

_BY_HOST: Final = b"hanlab WAN host"
_BY_BOARD: Final = b"hanlab WAN board"
_SESSION: Final = b"hanlab WAN session"
_ANSWER: Final = b"hanlab WAN answer"

_SEAL: Final = b"\x64seal\x54"
"""CBOR: the seal's name in a write's map, and the head of its 20 octets."""
_NUMBER_OCTETS: Final = 4
_TAG_OCTETS: Final = 16
SEAL_OCTETS: Final = len(_SEAL) + _NUMBER_OCTETS + _TAG_OCTETS
"""What a seal adds to a write."""
_ANSWER_SEAL: Final = b"\x64seal\x50"
"""The same of an answer, whose seal is the HMAC's octets alone."""
ANSWER_SEAL_OCTETS: Final = len(_ANSWER_SEAL) + _TAG_OCTETS
_READ_NONCE: Final = b"\x65nonce\x48"
_READ_NONCE_OCTETS: Final = 8
"""So few that the usual reads fit into a Pico's UART FIFO, for its flash work holds the interrupts."""
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
        sealed = _resized(message, 1, SEAL_OCTETS) + _SEAL + self._next()
        return sealed + self._key.mac(sealed)[:_TAG_OCTETS]

    def ask(self, message: bytes) -> bytes:
        """A read's octets with one more field at their end: a nonce (8 octets), to which the board seals its answer.

        Nobody can foretell it, and it comes but once: it is of this session's key.
        """
        nonce = self._key.mac(b"read", self._next())[:_READ_NONCE_OCTETS]
        return _resized(message, 1, len(_READ_NONCE) + len(nonce)) + _READ_NONCE + nonce

    def _next(self) -> bytes:
        self._number += 1
        return self._number.to_bytes(_NUMBER_OCTETS)


def wants_seal(request: bytes) -> bool:
    """Whether the board has to seal its answer to that request."""
    read = request[-len(_READ_NONCE) - _READ_NONCE_OCTETS :]
    return read.startswith(_READ_NONCE) or request[-SEAL_OCTETS:].startswith(_SEAL)


class BoardSeal:
    """By which a board's answers are known.

    It is made with the board's key, not the session's, so that a board that has restarted can prove that it
    has no session any more. A write's seal and a read's nonce occur once, and the answer's seal covers all of
    the request: an answer to another request, or of another day, is none.
    """

    def __init__(self, key: Secret) -> None:
        self._key = Secret(key.mac(_ANSWER))

    def opened(self, request: bytes, answer: bytes) -> bytes | None:
        """The answer without its seal; None if it is not the board's answer to that request."""
        covered, tag = answer[:-_TAG_OCTETS], answer[-_TAG_OCTETS:]
        if not covered[Header.SIZE :].endswith(_ANSWER_SEAL):
            return None
        if not hmac.compare_digest(tag, self._key.mac(request, covered)[:_TAG_OCTETS]):
            return None
        return _resized(answer[:-ANSWER_SEAL_OCTETS], -1, -ANSWER_SEAL_OCTETS)


def _resized(message: bytes, fields: int, octets: int) -> bytes:
    """The message with so many fields more in its map's head, and octets in its header's length."""
    if fields > 0 and message[Header.SIZE] not in _MAPS:
        raise ValueError(f"a map of at most 22 fields is sealed, not 0x{message[Header.SIZE]:02X}")
    head = bytearray(message[: Header.SIZE + 1])
    struct.pack_into(">H", head, 2, struct.unpack_from(">H", head, 2)[0] + octets)
    head[Header.SIZE] += fields
    return bytes(head) + message[Header.SIZE + 1 :]


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
            if e.busy:
                raise WanError(
                    "another client is logged in at the board, over its other link (a cable, BLE)",
                    next_step="end that one, or wait: a login ends a minute after its last write",
                ) from None
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
        next_step="check that it is the board at that port; then provision it again from this lab, or use the "
        "lab that it belongs to (--lab); a board of hanlab up has the key of that lab's seed: "
        'keys = "seed", with the same seed',
    )


def no_key() -> AccessDenied:
    """The error of a client that has nothing to log in with."""
    return AccessDenied(
        "the board's WAN is closed: without its key a client may read and echo, and nothing else (EACCESSDENIED)",
        next_step="log in with its key, or declare the lab open: wan_open = true in lab.toml",
    )
