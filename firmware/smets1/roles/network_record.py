# Which network a device is on: board.json's until it joins another one or is sent away; from then on what flash says,
# as long as board.json names the same network.
import binascii
import struct

from smets1 import saved
from smets1.han.ids import COORDINATOR

_HEAD = "<IBB"  # of the record: which board.json it goes with; whether it is on a network; whether it tries one
_HEAD_SIZE = 6
_ENTRY = "<HH16sB8s"
_ENTRY_SIZE = 29


class Membership:
    """A place on a network. hub: the CH's EUI-64."""

    def __init__(self, pan, address, key, key_sequence, hub):
        self.pan = pan
        self.address = address
        self.key = key
        self.key_sequence = key_sequence
        self.hub = hub


class NetworkRecord:
    """current: the network that it is on; candidate: one that has let it in, and whose CH has yet to prove itself. Each
    a Membership or None. problem: what was wrong with flash, in words."""

    membership = Membership

    def __init__(self, path, config):
        self._path = path
        given = _given(config)
        self._origin = binascii.crc32(given.key + struct.pack("<H", given.pan)) if given else 0
        self.home_key = given.key if given else None  # board.json's
        self.current = given
        self.candidate = None
        self.problem = ""
        record = None
        try:
            record = saved.load_either(path)
        except (OSError, ValueError) as e:
            self.problem = "%s: as board.json says" % e
        if record:
            origin, current, candidate = struct.unpack_from(_HEAD, record)
            if origin == self._origin:
                self.current = _unpack(record, _HEAD_SIZE) if current else None
                self.candidate = _unpack(record, len(record) - _ENTRY_SIZE) if candidate else None

    @property
    def here(self):
        """Where it is on the air: the candidate if there is one."""
        return self.candidate or self.current

    @property
    def state(self):
        """As the WAN calls it."""
        if self.candidate:
            return "trial"
        return "joined" if self.current else "none"

    def try_(self, candidate):
        """OSError: flash does not take it, and nothing has changed; as of what follows."""
        self._become(self.current, candidate)

    def take(self):
        """The candidate is the network from now on."""
        self._become(self.candidate, None)

    def give_up(self):
        """Back to the network before."""
        self._become(self.current, None)

    def leave(self):
        self._become(None, None)

    def _become(self, current, candidate):
        record = struct.pack(_HEAD, self._origin, current is not None, candidate is not None)
        for each in (current, candidate):
            if each:
                record += struct.pack(
                    _ENTRY, each.pan, each.address, each.key, each.key_sequence, each.hub
                )
        saved.save_both(self._path, record)
        self.current = current
        self.candidate = candidate


def _given(config):
    han = config.get("han")
    if not han:
        return None  # it is on the shelf
    for n in config["neighbours"]:
        if n["address"] == COORDINATOR:
            key = binascii.unhexlify(han["key"])
            return Membership(han["pan"], han["address"], key, 0, binascii.unhexlify(n["eui"]))
    return None


def _unpack(record, at):
    return Membership(*struct.unpack_from(_ENTRY, record, at))
