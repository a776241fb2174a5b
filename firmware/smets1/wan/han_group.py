# Group 0x5331 ("S1"): what SMP lacks. Store, HAN devices and the jobs that carry firmware to them.
#
# distribute and activate only start a job and answer {"job": n}; progress tells how far it is. The
# answers' fields are the role's: see firmware/README.md.
from micropython import const

from .auth import GROUP, MAC
from .cbor import size
from .smp import (
    EACCESSDENIED,
    EBUSY,
    EINVAL,
    ENOENT,
    ENOMEM,
    ETIMEOUT,
    HEADER,
    REPLY_MAX,
    SmpError,
)

# The group's own error codes
UNKNOWN = const(1)  # none of the others
NO_DEVICE = const(2)  # no device with this EUI on the HAN
NO_IMAGE = const(3)  # no image with this hash in the store
BUSY = const(4)  # another job is under way on this HAN (rule 35)
NO_ANSWER = const(5)  # the device does not answer
REFUSED = const(6)  # the Device Model does not do this, or the authorisation does not count
BAD_REQUEST = const(7)  # a field is missing or is not what it should be
FULL = const(8)  # the device table has no room for one more

_V1_CODES = {
    NO_DEVICE: ENOENT,
    NO_IMAGE: ENOENT,
    BUSY: EBUSY,
    NO_ANSWER: ETIMEOUT,
    REFUSED: EACCESSDENIED,
    BAD_REQUEST: EINVAL,
    FULL: ENOMEM,
}

_EUI = const(8)  # octets
_HASH = const(32)  # octets: SHA-256 of the Manufacturer Image
_COUNTER_BITS = const(63)  # the HAN carries it as a signed number
_IMAGES = const(8)  # in one answer, at most
_DEVICES = const(20)  # the same
_CODE_MIN = const(6)  # octets of an install code, its CRC left out
_CODE_MAX = const(16)
_TYPE_MAX = const(16)  # characters of a device type
_STEPS = const(2)
_MINUTES = const(60)  # of a join window, at most: the 3,600 s of 8.11's JoinTimePeriod
_JITTER = const(100)  # the most there is: every device is to answer an Image Notify


class HanGroup:
    """hub: store_report(verify, skip, most), limits(), counters(),
    devices(skip, most), distribute(eui, hash, sha, jitter), progress(), activate(eui, hash, counter),
    read_version(eui), events(since), place(), join(eui, code, type, steps, minutes), leave(eui).
    Each returns a dict or an awaitable of one, or raises SmpError
    with this GROUP. store_report has a list "images", devices "devices", events "events": what does
    not fit into one answer is cut off their ends, and the answer then has "more": True. The client asks
    on, and says how many to skip (of events: since which)."""

    def __init__(self, hub):
        self._hub = hub
        self.reads = {
            0: self._store,
            1: self._devices,
            3: self._progress,
            5: self._version,
            6: self._events,
            7: self._limits,
            8: self._counters,
            9: self._place,
        }
        self.writes = {
            2: self._distribute,
            4: self._activate,
            13: self._join,
            14: self._leave,
        }
        self.v1_codes = _V1_CODES

    async def _store(self, request):
        skip = _count(request, "skip")
        report = self._hub.store_report(request.get("verify") is True, skip, _IMAGES)
        return _fit(await _settled(report), "images")

    async def _devices(self, request):
        skip = _count(request, "skip")
        return _fit(await _settled(self._hub.devices(skip, _DEVICES)), "devices")

    def _distribute(self, request):
        jitter = _count(request, "jitter") if "jitter" in request else _JITTER
        if not 1 <= jitter <= _JITTER:
            raise SmpError(EINVAL)
        sha = _octets(request, "sha", _HASH) if "sha" in request else None
        return self._hub.distribute(
            _octets(request, "eui", _EUI), _octets(request, "hash", _HASH), sha, jitter
        )

    def _join(self, request):
        code = request.get("code")
        n = len(code) if isinstance(code, (bytes, memoryview)) else 0
        kind = request.get("type")
        steps = _count(request, "steps") if "steps" in request else 1
        minutes = _count(request, "minutes")
        if (
            not _CODE_MIN <= n <= _CODE_MAX
            or not isinstance(kind, str)
            or not 1 <= len(kind) <= _TYPE_MAX
            or not 1 <= steps <= _STEPS
            or not 1 <= minutes <= _MINUTES
        ):
            raise SmpError(BAD_REQUEST, GROUP)
        return self._hub.join(_octets(request, "eui", _EUI), bytes(code), kind, steps, minutes)

    def _leave(self, request):
        return self._hub.leave(_octets(request, "eui", _EUI))

    def _progress(self, request):
        return self._hub.progress()

    def _activate(self, request):
        counter = _count(request, "counter")
        if counter >> _COUNTER_BITS:
            raise SmpError(BAD_REQUEST, GROUP)
        return self._hub.activate(
            _octets(request, "eui", _EUI),
            _octets(request, "hash", _HASH),
            counter,
            # the hub refuses it without them, and logs that
            _octets(request, "mac", MAC) if "mac" in request else None,
            _octets(request, "dco_mac", MAC) if "dco_mac" in request else None,
        )

    def _version(self, request):
        return self._hub.read_version(_octets(request, "eui", _EUI))

    def _limits(self, request):
        return self._hub.limits()

    def _counters(self, request):
        return self._hub.counters()

    def _place(self, request):
        return self._hub.place()

    def _events(self, request):
        return events(self._hub.events, request)


def events(since, request):
    """Those after the request's number, as many as one answer holds; since(number): EventLog's."""
    return _fit(since(_count(request, "since")), "events")


async def _settled(reply):
    return await reply if hasattr(reply, "send") else reply


def _octets(request, key, length):
    """A byte string field, copied: jobs outlast the receive buffer."""
    value = request.get(key)
    if not isinstance(value, (bytes, memoryview)) or len(value) != length:
        raise SmpError(BAD_REQUEST, GROUP)
    return bytes(value)


def _count(request, key):
    value = request.get(key, 0)
    if not isinstance(value, int) or value < 0:
        raise SmpError(BAD_REQUEST, GROUP)
    return value


def _fit(reply, key):
    """The reply with no more of its list than one answer holds."""
    whole = reply.get(key)
    if not whole or size(reply) <= REPLY_MAX - HEADER:
        return reply
    reply = dict(reply)  # the role's own lists stay as they are
    reply[key] = kept = list(whole)
    reply["more"] = True
    while kept and size(reply) > REPLY_MAX - HEADER:
        kept.pop()
    return reply
