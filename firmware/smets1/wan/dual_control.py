# 11.3 is critical: two have to want it (dual control). Its authorisation carries a MAC by the S1SP
# and one by the Dual Control Organisation (DCO), each over the device, the hash and the counter, and counts once.
import struct

from smets1 import saved

from .auth import hmac_sha256, read_key, same

_LABEL = b"11.3"
_RECORD = 16  # octets: EUI-64, counter
_LEFT = bytes(
    8
)  # in place of an EUI-64: the highest counter of all devices that have left, which is any other one's


class DualControl:
    """config: board.json's, whose "wan" has "key" (the S1SP's) and "dco_key". path: keeps each device's last
    counter, in two copies: one that is damaged costs nothing; if both are, nothing is authorised any more."""

    def __init__(self, config, path):
        wan = config.get("wan", {})
        s1sp_key = read_key(wan, "key")
        dco_key = read_key(wan, "dco_key")
        if dco_key == s1sp_key:
            dco_key = None  # one key for both would be one control
        self._keys = (("S1SP", s1sp_key), ("DCO", dco_key))
        self._paths = (path, path + ".copy")
        self._last = {}  # EUI-64: counter
        good = damaged = 0
        for each in self._paths:
            try:
                record = saved.load(each)
            except ValueError:
                damaged += 1
                continue
            if record:
                good += 1
                self._read(record)
        self._damaged = damaged and not good

    def last(self, eui):
        """The counter of the last authorisation for this device; of one that had none here, what it has to be above."""
        return self._last.get(eui, self._last.get(_LEFT, 0))

    def forget(self, eui):
        """The device has left: what was authorised for it counts no more, should it come back. On flash with the next
        authorisation; until then flash knows the device itself."""
        if eui in self._last:
            self._last[_LEFT] = max(self._last.pop(eui), self._last.get(_LEFT, 0))

    def refusal(self, eui, hash, counter, mac, dco_mac):
        """Why this authorisation does not count; "" if it does, and then it is used up."""
        signed = (_LABEL, eui, hash, struct.pack(">Q", counter))
        for (who, key), theirs in zip(self._keys, (mac, dco_mac)):
            if not key:
                return "no key of the %s here" % who
            if not theirs:
                return "the %s's MAC is missing" % who
            if not same(theirs, hmac_sha256(key, *signed)):
                return "the %s's MAC is wrong" % who
        if self._damaged:
            return "the counters on flash are damaged"
        if counter <= self.last(eui):
            return "counter %d is not above %d" % (counter, self.last(eui))
        return self._use_up(eui, counter)

    def _use_up(self, eui, counter):
        record = bytearray()
        for each, last in self._last.items():
            if each != eui:
                record += each + struct.pack("<Q", last)
        record += eui + struct.pack("<Q", counter)
        try:
            for path in self._paths:
                saved.save(path, record)
        except OSError:
            return "flash does not take the counter"
        self._last[eui] = counter
        return ""

    def _read(self, record):
        for at in range(0, len(record), _RECORD):
            eui = record[at : at + 8]
            counter = struct.unpack_from("<Q", record, at + 8)[0]
            if counter > self.last(eui):
                self._last[eui] = counter
