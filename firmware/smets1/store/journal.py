# The store's one record of what it holds. Each step is a whole new journal: written beside the old
# one, then renamed over it. littlefs renames atomically, so a power cut leaves the old state or the
# new one. The journal before that stays as `journal.old`, for the day when flash rots.
#
# The file: 8 hex digits of CRC-32, then JSON.
import binascii
import json
import os

from .flash import remove, size_of


class Journal:
    def __init__(self, folder):
        self._path = folder + "/journal"
        self._new = self._path + ".new"
        self._old = self._path + ".old"
        self._sound = False  # `journal` is there and good, so it may become `journal.old`
        self.problem = ""  # what load() found wrong, in words
        self.fallback = False  # load() had to take a state that may be a step behind

    def load(self, parse):
        """parse(JSON value) of the newest good journal, None if there is none. Never raises.

        parse raises ValueError, KeyError, IndexError or TypeError for what it cannot take.
        """
        current, verdict = _read(self._path, parse)
        self._sound = verdict == "good"
        if self._sound:
            remove(self._new)  # if there is one: power went before its rename, that step never was
            return current
        # No `journal` but a good `journal.new`: power went between the two renames. All is there.
        state, newer = _read(self._new, parse)
        if newer == "good":
            if verdict == "missing":
                return self._finish(state)
            self.problem = "journal bad, journal.new used"
            self.fallback = True
            return state
        state, older = _read(self._old, parse)
        if older == "good":
            self.problem = "journal {}, journal.old used".format(verdict)
            self.fallback = True
            return state
        if verdict != "missing" or newer != "missing" or older != "missing":
            self.problem = "journal {}, no good copy".format(verdict)
        return None

    def write(self, state):
        """Make `state` (JSON-able) the store's state. OSError: the state before still holds."""
        body = json.dumps(state).encode()
        try:
            with open(self._new, "wb") as f:
                f.write(b"%08x" % binascii.crc32(body))
                f.write(body)
            if self._sound:
                os.rename(self._path, self._old)
            os.rename(self._new, self._path)
            self._sound = True
        except OSError:
            # A good journal.new must not come to life at the next start: this step has failed.
            remove(self._new)
            self._sound = _is_there(self._path)
            raise

    def _finish(self, state):
        try:
            os.rename(self._new, self._path)
            self._sound = True
        except OSError:
            self.problem = "journal.new could not be renamed"
        return state


def _is_there(path):
    try:
        return size_of(path) is not None
    except OSError:
        return False


def _read(path, parse):
    """(state, "good"), or (None, "missing" or "bad")."""
    try:
        if size_of(path) is None:
            return None, "missing"
        with open(path, "rb") as f:
            crc = int(f.read(8), 16)
            body = f.read()
        if crc == binascii.crc32(body):
            return parse(json.loads(body)), "good"
    except (OSError, ValueError, KeyError, IndexError, TypeError, MemoryError):
        pass
    return None, "bad"
