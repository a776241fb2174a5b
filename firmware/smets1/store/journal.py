# The store's one record of what it holds, in two copies that both count: every step is written to both, each time as
# a whole new file that is renamed over the old one. littlefs renames atomically, so a power cut leaves the old state or
# the new one; the newer of two good copies is the store's state, and what rots in one is in the other.
#
# Each copy has a folder of its own: one rotten block of a folder takes all that was last changed in it back to what
# was before, without a word. The generation in each copy counts the steps, so that this shows; it is also in a third
# file, in a third folder, for the day when both go back.
#
# A file: 8 hex digits of CRC-32, then JSON.
import binascii
import json
import os

from .flash import remove, size_of

_GENERATION = "generation"


class Journal:
    def __init__(self, folder):
        """folder: the store's, which is there; the copy's is made beside it."""
        self._paths = folder + "/journal", folder + ".copy/journal"
        self._steps = folder + ".steps"  # the generation alone
        self._generation = 0
        self.problem = ""  # what load() found wrong, in words
        self.fallback = False  # the state that load() took may be a step behind

    def load(self, parse):
        """parse(JSON value) of the newest good copy, None if there is none. Both are alike after it. Never raises.

        parse raises ValueError, KeyError, IndexError or TypeError for what it cannot take.
        """
        self._make_folder()
        for path in self._paths + (self._steps,):
            remove(path + ".new")  # if there is one: power went before its rename
        (first, verdict), (second, other) = [_read(path, parse) for path in self._paths]
        known, _ = _read(self._steps, int)
        known = known or 0
        if first is None and second is None:
            if verdict != "missing" or other != "missing" or known:
                self.problem = "journal %s, its copy %s: no good copy" % (verdict, other)
            self._generation = known
            return None
        ours, copys = _generation(first), _generation(second)
        newest = first if ours >= copys else second
        self._generation = max(ours, copys)
        self.problem = self._compare(ours, verdict, copys, other, known)
        # Written first, `journal` may have had the step that its copy does not have yet.
        self.fallback = newest is second
        if known > self._generation:
            self.problem = "journal and its copy went back by %d step(s)" % (
                known - self._generation
            )
            self.fallback = True
            self._generation = known  # the next step is newer than all that ever was
        if ours != copys:
            self._mend(newest, self._paths[ours > copys])
        return parse(newest)

    def write(self, state):
        """Make `state` (a dict, JSON-able) the store's state. OSError: the state before still holds."""
        state[_GENERATION] = self._generation + 1
        body = json.dumps(state).encode()
        first, copy = self._paths
        _put(first, body)
        self._generation += 1
        try:
            _put(copy, body)
            _put(self._steps, json.dumps(self._generation).encode())
        except OSError:
            pass  # the step is done; the next one, or the next start, writes the copy again

    def _compare(self, ours, verdict, copys, other, known):
        """What does not go with a power cut, in words."""
        if verdict != "good":
            return "journal %s, its copy used" % verdict
        if other == "missing" and ours < 2:
            return ""  # power went in the very first step
        if other != "good":
            return "journal's copy %s, journal used" % other
        if copys > ours:
            return "journal went back by %d step(s), its copy used" % (copys - ours)
        if ours > copys + 1 or (
            ours > copys and known >= ours
        ):  # that step had been written to both
            return "journal's copy went back by %d step(s), journal used" % (ours - copys)
        return ""

    def _mend(self, state, path):
        try:
            _put(path, json.dumps(state).encode())
        except OSError:
            self.problem += ("; " if self.problem else "") + "flash does not take the other journal"

    def _make_folder(self):
        folder = self._paths[1][: -len("/journal")]
        try:
            os.mkdir(folder)
        except OSError:
            pass  # it is there; if not, writing to it says so


def _generation(state):
    """-1: there is no such state."""
    return state.get(_GENERATION, 0) if state else -1


def _put(path, body):
    """The file's new content, at once. OSError: it has its old one."""
    new = path + ".new"
    try:
        with open(new, "wb") as f:
            f.write(b"%08x" % binascii.crc32(body))
            f.write(body)
        os.rename(new, path)
    except OSError:
        remove(new)
        raise


def _read(path, parse):
    """(state as JSON has it, "good"), or (None, "missing" or "bad")."""
    try:
        if size_of(path) is None:
            return None, "missing"
        with open(path, "rb") as f:
            crc = f.read(8)
            body = f.read()
        if crc == b"%08x" % binascii.crc32(body):
            state = json.loads(body)
            parse(state)
            return state, "good"
    except (OSError, ValueError, KeyError, IndexError, TypeError, MemoryError):
        pass
    return None, "bad"
