# Which devices the CH's HAN has. From board.json until the first one joins or leaves; from then on it is what flash
# says, as long as the network key is the same.
import binascii
import struct

from micropython import const

from smets1 import saved
from smets1.han.network import Peer

_ROOM = const(128)  # devices; illustrative, no public source gives a CH's
_HEAD = const(4)  # of the record: which network key it is for
_ENTRY = "<8sHBB"  # EUI-64, short address, steps, length of the type, which follows
_ENTRY_SIZE = const(12)
_TYPE_MAX = const(16)


JOINED = "joined"


class Device(Peer):
    """A device of this HAN. eui: 8 octets; steps: of its update, 1 or 2, as its Device Model says (rules 96, 97);
    seen: it has announced itself or answered since the CH started."""

    state = JOINED

    def __init__(self, eui, type, address, steps):
        super().__init__(eui, address)
        self.type = type
        self.steps = steps
        self.seen = False

    @property
    def address(self):
        return self.short


class DeviceTable:
    """devices: {EUI-64: Device}, always the same dict. problem: what was wrong with flash, in words."""

    def __init__(self, path, config):
        self._path = path
        self._key = binascii.crc32(binascii.unhexlify(config["han"]["key"]))
        self._room = config["model"].get("devices", _ROOM)
        self.devices = {}
        self._types = {}  # one copy of each word, as there may be a hundred devices
        self.problem = ""
        record = None
        try:
            record = saved.load_either(path)
        except (OSError, ValueError) as e:
            self.problem = "%s: as board.json says" % e
        if record and struct.unpack("<I", record[:_HEAD])[0] == self._key:
            self._read(record)
        else:
            for n in config["neighbours"]:
                eui = binascii.unhexlify(n["eui"])
                self._put(eui, n["type"], n["address"], n.get("steps", 1))

    def has_room(self, more):
        """Whether one more fits besides those that are in it and `more` that are joining."""
        return len(self.devices) + more < self._room

    def add(self, eui, type, address, steps):
        """The device. OSError: flash does not take it, and it is not in the table."""
        self._put(eui, type, address, steps)
        try:
            self._save()
        except OSError:
            del self.devices[eui]
            raise
        return self.devices[eui]

    def remove(self, eui):
        """OSError: flash does not take it, and the device is still in the table."""
        device = self.devices.pop(eui)
        try:
            self._save()
        except OSError:
            self.devices[eui] = device
            raise

    def _put(self, eui, type, address, steps):
        type = self._types.setdefault(type, type)
        self.devices[eui] = Device(eui, type, address, steps)

    def _save(self):
        record = bytearray(struct.pack("<I", self._key))
        for device in self.devices.values():
            type = device.type.encode()[:_TYPE_MAX]
            record += (
                struct.pack(_ENTRY, device.eui, device.address, device.steps, len(type)) + type
            )
        saved.save_both(self._path, record)

    def _read(self, record):
        at = _HEAD
        while at < len(record):
            eui, address, steps, n = struct.unpack_from(_ENTRY, record, at)
            at += _ENTRY_SIZE
            self._put(eui, str(record[at : at + n], "ascii"), address, steps)
            at += n
