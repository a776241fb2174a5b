# Who may change anything over a WAN link of this board: whoever proves, by challenge and response, to have
# the board's key. The board proves the same in its answer. Everybody may read, and echo.
#
# A login is its client's, not the line's: both ends make a key of the session from it, and each write is sealed
# with that. It ends by a logout, when nothing has needed it for idle_ms (at most twice that), or when the board
# restarts, or when its link says that the client is gone. A board with two links (a cable and BLE) has a Session for
# each, and one client at a time that may write: the Floor.
#
# A write that has a seal, and a read that has a nonce, gets an answer that has a seal: by that its client knows it from
# what somebody else puts on the line.
import asyncio
import asyncio.core as core
import binascii
import hashlib

from micropython import const

from .smp import EACCESSDENIED, EBUSY, EINVAL, HEADER, READ, WRITE, SmpError

GROUP = const(0x5331)  # "S1": han_group has the rest of it
CHALLENGE = const(10)
LOGIN = const(11)
LOGOUT = const(12)

# The writes that need no login, by group. Whatever is not in here does.
_FREE = {
    0: (0,),  # echo
    GROUP: (LOGIN,),
}

KEY = const(32)  # octets of a key
MAC = const(32)
_NONCE = const(16)
_BLOCK = const(64)  # of SHA-256

_BY_HOST = b"hanlab WAN host"
_BY_BOARD = b"hanlab WAN board"
_SESSION = b"hanlab WAN session"
_ANSWER = b"hanlab WAN answer"

# A seal is the last field of a write's map: its name, and a byte string of the write's number in this session and
# of the first octets of the HMAC over all that stands before them.
_SEAL = b"\x64seal\x54"  # CBOR
_NUMBER = const(4)  # octets, most significant first
_TAG = const(16)
_SEAL_VALUE = const(20)  # _NUMBER + _TAG
_SEAL_FIELD = const(26)  # len(_SEAL) + _SEAL_VALUE

# An answer's: the first octets of the HMAC over its whole request and all that stands before them. It is made with the
# board's key, not the session's: a board that has just restarted can prove that it has no session.
_ANSWER_SEAL = b"\x64seal\x50"  # CBOR
_READ_NONCE = b"\x65nonce\x48"
_READ_NONCE_FIELD = const(
    15
)  # len(_READ_NONCE) + 8: with it the usual reads are no longer than a UART's FIFO
ANSWER_SEAL_FIELD = const(22)  # len(_ANSWER_SEAL) + _TAG


class HmacKey:
    """HMAC-SHA256 (RFC 2104) with one key, whose pads are made once."""

    def __init__(self, key):
        if len(key) > _BLOCK:
            key = hashlib.sha256(key).digest()
        pad = bytearray(_BLOCK)
        pad[: len(key)] = key
        self._inner = bytes(octet ^ 0x36 for octet in pad)
        self._outer = bytes(octet ^ 0x5C for octet in pad)

    def mac(self, *parts):
        """Over the parts, one behind the other."""
        inner = hashlib.sha256(self._inner)
        for part in parts:
            inner.update(part)
        outer = hashlib.sha256(self._outer)
        outer.update(inner.digest())
        return outer.digest()


def hmac_sha256(key, *parts):
    return HmacKey(key).mac(*parts)


def seal_of(message):
    """The seal at a write's end, None if it has none. Nobody has checked it yet."""
    at = len(message) - _SEAL_FIELD
    if at <= HEADER or bytes(message[at : at + len(_SEAL)]) != _SEAL:
        return None
    return bytes(message[at + len(_SEAL) :])


def _wants_seal(message):
    """Whether the answer is to have one."""
    at = len(message) - _READ_NONCE_FIELD
    return at > HEADER and (
        bytes(message[at : at + len(_READ_NONCE)]) == _READ_NONCE or seal_of(message)
    )


def same(a, b):
    """Compare without telling by the time it takes how much was right."""
    difference = len(a) ^ len(b)
    for x, y in zip(a, b):
        difference |= x ^ y
    return not difference


def read_key(wan, name):
    """A key of board.json's "wan"; None if it has none (nothing proves to have that)."""
    key = binascii.unhexlify(wan.get(name, ""))
    return key if len(key) == KEY else None


class Floor:
    """Which of a board's sessions may write: two clients would end each other's uploads."""

    def __init__(self):
        self._holder = None

    def take(self, session):
        """EBUSY while a client of another link has it."""
        if self._holder is not session and self._holder and self._holder.is_writing():
            raise SmpError(EBUSY)
        self._holder = session


class Session:
    """The login at one link. port: random(n); config: board.json's, whose "wan" has "open" (everybody may
    do everything) and "key"; floor: the Floor that it shares with the sessions at the board's other links.
    accepted: the seal of the write that was permitted last, None if there was none. commands: (op, group, command) ->
    handler."""

    idle_ms = 30_000
    delay_ms = 200  # a wrong MAC's answer takes so long: no one tries many
    hold_ms = 10_000  # an open board's client has the floor so long after its last write: twice a client's back-off

    def __init__(self, port, config, floor=None):
        wan = config.get("wan", {})
        self.open = wan.get("open") is True
        self.stats = {"logins": 0, "wrong_key": 0, "denied": 0, "forged": 0}
        self.accepted = None
        self._key = read_key(wan, "key")
        self._answers = HmacKey(hmac_sha256(self._key, _ANSWER)) if self._key else None
        self._eui = binascii.unhexlify(config["eui"])
        self._random = port.random
        self._nonce = None  # of the challenge that waits for its response
        self._session = None  # the session's HmacKey; None: nobody is logged in
        self._number = 0  # of the write that was permitted last
        self._used = False  # since the idle time began
        self._floor = floor or Floor()
        self._wrote = None  # when an open board's client wrote last
        self._idle = None  # the task that ends an idle session
        self.commands = {
            (READ, GROUP, CHALLENGE): self._challenge,
            (WRITE, GROUP, LOGIN): self._login,
            (WRITE, GROUP, LOGOUT): self._logout,
        }

    def is_writing(self):
        """Whether its client has the floor still, if it has taken it."""
        if self.open:
            wrote = self._wrote
            return wrote is not None and 0 <= core.ticks_diff(core.ticks(), wrote) < self.hold_ms
        return self._session is not None

    def permits(self, message, group, command):
        """Whether that write may be carried out now; EBUSY while another link's client writes."""
        if command in _FREE.get(group, ()):
            return True
        if self.open:
            self._floor.take(self)
            self._wrote = core.ticks()
            return True
        if not self._session:
            self.stats["denied"] += 1
            return False
        if not self._is_sealed(message):
            self.stats["forged"] += 1
            return False
        self._used = True
        return True

    def seal_answer(self, request, body, end):
        """If the request wants it, put a seal behind its answer body[:end]; the answer's new end."""
        if not self._answers or not _wants_seal(request):
            return end
        tag = end + len(_ANSWER_SEAL)
        size = tag + _TAG - HEADER
        body[2] = size >> 8
        body[3] = size & 0xFF
        body[HEADER] += 1  # fields of its map: there are few
        body[end:tag] = _ANSWER_SEAL
        body[tag : tag + _TAG] = self._answers.mac(request, body[:tag])[:_TAG]
        return tag + _TAG

    def _is_sealed(self, message):
        """Whether who is logged in has made this write, and later than all before. Then it is used up."""
        seal = seal_of(message)
        if not seal:
            return False
        number = int.from_bytes(seal[:_NUMBER], "big")
        covered = message[: len(message) - _TAG]
        if number <= self._number or not same(self._session.mac(covered)[:_TAG], seal[_NUMBER:]):
            return False
        self._number = number
        self.accepted = seal
        return True

    def _challenge(self, request):
        self._nonce = self._random(_NONCE)
        return {"nonce": self._nonce, "open": self.open}

    async def _login(self, request):
        nonce, self._nonce = self._nonce, None  # for one response, right or wrong
        host = request.get("nonce")
        mac = request.get("mac")
        for value, length in ((host, _NONCE), (mac, MAC)):
            if not isinstance(value, (bytes, memoryview)) or len(value) != length:
                raise SmpError(EINVAL)
        if (
            not nonce
            or not self._key
            or not same(mac, hmac_sha256(self._key, _BY_HOST, nonce, host, self._eui))
        ):
            self.stats["wrong_key"] += 1
            await asyncio.sleep_ms(self.delay_ms)
            raise SmpError(EACCESSDENIED)
        self._floor.take(self)
        self.stats["logins"] += 1
        self.end()
        self._session = HmacKey(hmac_sha256(self._key, _SESSION, nonce, host, self._eui))
        self._used = True
        self._idle = asyncio.create_task(self._end_when_idle())
        return {"mac": hmac_sha256(self._key, _BY_BOARD, nonce, host, self._eui)}

    def _logout(self, request):
        self.end()

    def end(self):
        """Nobody is logged in any more, and no challenge waits for its response."""
        self._nonce = self._wrote = None
        if self._idle:
            self._idle.cancel()
        self._idle = self._session = self.accepted = None
        self._number = 0

    async def _end_when_idle(self):
        while self._used:
            self._used = False
            await asyncio.sleep_ms(self.idle_ms)
        self._idle = None  # it is this task, and need not be cancelled
        self.end()
