# Who may change anything over this board's WAN link: whoever proves, by challenge and response, to have
# the board's key. The board proves the same in its answer. Everybody may read, and echo.
#
# A login counts for the link that it came over, until nothing has needed it for idle_ms (at most twice
# that) or the board restarts.
import asyncio
import binascii
import hashlib

from micropython import const

from .smp import EACCESSDENIED, EINVAL, SmpError

GROUP = const(0x5331)  # "S1": han_group has the rest of it
CHALLENGE = const(10)
LOGIN = const(11)

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


def hmac_sha256(key, *parts):
    """RFC 2104 over the parts, one behind the other."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    pad = bytearray(_BLOCK)
    pad[: len(key)] = key
    inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in pad))
    for part in parts:
        inner.update(part)
    outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in pad))
    outer.update(inner.digest())
    return outer.digest()


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


class Session:
    """The login of one link. port: random(n); config: board.json's, whose "wan" has "open" (everybody may
    do everything) and "key"."""

    idle_ms = 30_000
    delay_ms = 200  # a wrong MAC's answer takes so long: no one tries many

    def __init__(self, port, config):
        wan = config.get("wan", {})
        self.open = wan.get("open") is True
        self.stats = {"logins": 0, "wrong_key": 0, "denied": 0}
        self._key = read_key(wan, "key")
        self._eui = binascii.unhexlify(config["eui"])
        self._random = port.random
        self._nonce = None  # of the challenge that waits for its response
        self._active = False
        self._used = False  # since the idle time began
        self.reads = {CHALLENGE: self._challenge}
        self.writes = {LOGIN: self._login}
        self.v1_codes = {}

    def join(self, groups):
        """Add challenge and login to the groups of a server."""
        group = groups.setdefault(GROUP, self)
        group.reads.update(self.reads)
        group.writes.update(self.writes)

    def permits(self, group, command):
        """Whether that write may be carried out now."""
        if self.open or command in _FREE.get(group, ()):
            return True
        if not self._active:
            self.stats["denied"] += 1
            return False
        self._used = True
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
        self.stats["logins"] += 1
        self._used = True
        if not self._active:
            self._active = True
            asyncio.create_task(self._end_when_idle())
        return {"mac": hmac_sha256(self._key, _BY_BOARD, nonce, host, self._eui)}

    async def _end_when_idle(self):
        while self._used:
            self._used = False
            await asyncio.sleep_ms(self.idle_ms)
        self._active = False
