# Frame counters, which must outlive a reset: with one of ours used twice the network key is no secret any more, and
# without the neighbours' last ones old frames could be played again.
#
# Flash is written once in STEP frames sent or accepted, at the start, and after a neighbour has proved itself: the file
# holds a limit that our counter has not passed, and the neighbours' newest. After a reset ours goes on from there. But
# flash is not believed: it may have been lost with the board's firmware, or be a copy of yesterday. Until a neighbour
# has said, under a challenge of this start (proof.py), up to where it has seen ours, nothing is sent under a counter of
# ours; and no neighbour's frame is accepted before the same challenge has told where that one's counter is now.
import binascii
import struct
from collections import OrderedDict

from micropython import const

from smets1 import saved

STEP = const(1024)
# From here on counters are drawn by lot, each for one frame, by a node that does not know its own yet. Only challenges
# and their answers may have them: they prove themselves by their content.
FREE = const(0x8000_0000)
NONE = const(0xFFFF_FFFF)  # in place of a neighbour's newest counter: none of it was seen
# If flash is behind, a neighbour knows the newest frame that it has got, but not those that it did not get.
_BEYOND = const(1 << 20)
# Where counting starts without a file: anywhere in this range, for nobody may remember where it was. Below 2 ** 30 a
# counter needs no heap, and 40 years at 1 frame/s are 2 ** 30 frames.
_START_MASK = const((1 << 28) - 1)
# So many that are no neighbours any more stay known, those that left last; illustrative. It is for themselves that they
# are known: one whose flash is gone as well hears where it was. What an old frame of theirs would need is a neighbour
# that has proved itself, and who comes back has to do that anew, known or not.
_LEFT = const(32)
# So much is skipped at each start, by lot: if all boards' flash went back together, no neighbour tells.
_SKIP_MASK = const((1 << 16) - 1)


class Counters:
    """Our outgoing frame counter and the last one seen of each EUI-64, for one network key.

    A file of another key, or a damaged one, counts as none. random(n): n octets of entropy. path: None for a node that
    is on no network, and has nothing to count.
    """

    def __init__(self, path, key, random, step=STEP):
        self._path = path
        self._key = binascii.crc32(key)
        self._step = step
        self.random = random
        self.seen = {}  # EUI-64: the last counter accepted from it, since it has proved itself
        # EUI-64: the same as flash has it from before the start; who was forgotten last is the last
        self._kept = OrderedDict()
        self.settled = False  # a neighbour has told, so ours is above every one that was ever used
        self._accepted = 0  # frames since the last write
        self.due = False  # the neighbours' counters are to be written: see keep()
        try:
            limit = self._read()
        except ValueError:
            limit = None
        self._held = limit  # ours were all below it, if flash is to be believed
        if limit is None:
            limit = self._lot() & _START_MASK
        self._next = limit + (self._lot() & _SKIP_MASK)
        self._limit = self._next
        self.save()

    def next(self):
        """The counter for one more outgoing frame."""
        counter = self._next
        if counter >= self._limit:
            self.save()
        self._next = counter + 1
        return counter

    def free(self):
        """A counter by lot, for a challenge or its answer before ours is known."""
        return FREE | self._lot()

    def accept(self, eui, counter):
        """A neighbour's frame counts, and no earlier one any more."""
        self.seen[eui] = counter
        self._accepted += 1
        if self._accepted >= self._step:
            self.due = True

    def keep(self):
        """Write what is due. Call it when a neighbour waits for our answer: flash work may hold the UART up, and then
        nothing arrives."""
        self.due = False
        self._accepted = 0
        try:
            self.save()
        except OSError:
            pass  # a challenge tells it again after the next start

    def forget(self, eui):
        """Believe nothing of this neighbour before it proves itself again; what it has used stays known."""
        if eui in self.seen:
            self._kept.pop(eui, None)
            self._kept[eui] = self.seen.pop(eui)
            self.due = True

    def let_go(self, here):
        """Of those that are not `here` (a set of EUI-64s) the last few stay known."""
        left = [eui for eui in self._kept if eui not in here]
        for eui in left[:-_LEFT]:
            del self._kept[eui]

    def last(self, eui):
        """The newest counter that was ever seen of a neighbour, as far as this board knows; NONE."""
        return self.seen.get(eui, self._kept.get(eui, NONE))

    def told(self, seen):
        """A neighbour has told the newest of our counters that it has seen, or NONE.

        What that says of our flash, in words; "" if all is well. OSError: flash does not take it; ask again.
        """
        words = ""
        unsure = not self.settled and (self._held is None or seen >= self._held)
        if seen < FREE and (unsure or seen >= self._next):
            was = "nothing" if self._held is None else "{:,}".format(self._held)
            least = seen + _BEYOND
            if self._next < least:
                self._next = least + (self._lot() & _SKIP_MASK)
                self.save()
            words = "flash held {}, a neighbour has seen {:,}: it was lost or put back; on at {:,}".format(
                was, seen, self._next
            )
        self.settled = True
        return words

    def save(self):
        """Set aside the next STEP counters, and keep the neighbours'."""
        if self._path is None:
            return
        limit = self._next + self._step
        if limit > FREE:
            raise RuntimeError(
                "the network key's frame counters are used up: provision another key"
            )
        record = bytearray(struct.pack("<II", self._key, limit))
        for known in (self._kept, self.seen):
            for eui in known:
                if known is self._kept or eui not in self._kept:
                    record.extend(eui)
                    record.extend(struct.pack("<I", self.last(eui)))
        saved.save(self._path, record)
        self._limit = limit
        self._accepted = 0

    def _lot(self):
        return int.from_bytes(self.random(4), "little") & 0x7FFF_FFFF

    def _read(self):
        """The limit, None if there is no file of this key."""
        record = saved.load(self._path) if self._path else None
        if record is None:
            return None
        if len(record) % 12 != 8:
            raise ValueError("frame counters of %d octets" % len(record))
        key, limit = struct.unpack_from("<II", record)
        if key != self._key:
            return None
        for at in range(8, len(record), 12):
            self._kept[bytes(record[at : at + 8])] = struct.unpack_from("<I", record, at + 8)[0]
        return limit
