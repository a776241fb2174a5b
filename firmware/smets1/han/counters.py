# Frame counters, which must outlive a reset: with one of ours used twice the network key is no secret any more, and
# without the neighbours' last ones old frames could be played again.
#
# Flash is written once in STEP sent frames and once at start: the file holds a limit that our counter has not passed;
# after a reset it goes on from there. The neighbours' counters ride along in the same write, never in one of their
# own. So after an unplanned reset the frames received since the last write could be played again (at most those of
# STEP sent ones); before a planned reset call save(), then none can.
import binascii
import struct

from micropython import const

from smets1.han import saved

STEP = const(1024)
# Where counting starts if the file is damaged: above what a HAN comes to (40 years at 1 frame/s are 2 ** 30 frames).
_AFTER_DAMAGE = const(0x8000_0000)
_LAST = const(0xFFFF_FFFF)


class Counters:
    """Our outgoing frame counter and the last one seen of each EUI-64, for one network key.

    A file of another key counts as none: with a new key all counters start again.
    """

    def __init__(self, path, key, step=STEP):
        self._path = path
        self._key = binascii.crc32(key)
        self._step = step
        self.seen = {}  # EUI-64: the last counter accepted from it
        try:
            self._next = self._read()
        except ValueError:
            self._next = _AFTER_DAMAGE
        self._limit = self._next
        self.save()

    def next(self):
        """The counter for one more outgoing frame."""
        counter = self._next
        if counter >= self._limit:
            self.save()
        self._next = counter + 1
        return counter

    def save(self):
        """Set aside the next STEP counters, and keep the neighbours'. Call it before a planned reset."""
        limit = self._next + self._step
        if limit > _LAST:
            raise RuntimeError("the network key's frame counters are used up")
        record = bytearray(struct.pack("<II", self._key, limit))
        for eui, counter in self.seen.items():
            record.extend(eui)
            record.extend(struct.pack("<I", counter))
        saved.save(self._path, record)
        self._limit = limit

    def forget(self, eui):
        """Take any counter from `eui` again: for a device that has lost its flash and is joined anew."""
        self.seen.pop(eui, None)

    def _read(self):
        record = saved.load(self._path)
        if record is None:
            return 0
        if len(record) % 12 != 8:
            raise ValueError("frame counters of %d octets" % len(record))
        key, limit = struct.unpack("<II", record)
        if key != self._key:
            return 0
        for at in range(8, len(record), 12):
            self.seen[bytes(record[at : at + 8])] = struct.unpack_from("<I", record, at + 8)[0]
        return limit
