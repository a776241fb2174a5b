# The Zigbee OTA file as a board sees it: header, then the Manufacturer Image (GBCS layout), then
# perhaps an authorisation trailer. The host's half is host/hanlab/images.
import struct

from micropython import const

MAGIC = const(0x0BEEF11E)
HEAD_MAX = const(69)  # octets of the longest header: all optional fields
TRAILER = const(66)  # 00 40 and 64 octets of signature
METADATA = const(32)  # octets of the block that a CH manufacturer may need in front of the firmware

_FIELDS = "<IHHHHHIH32sI"
_FIXED = const(56)
# field control bits: what is present
_CREDENTIAL = const(1)
_DESTINATION = const(2)
_HARDWARE = const(4)
_ANY = const(0xFFFFFFFF)  # the file version that means "any": no image may have it

# illustrative, except ESME and PPMID: those are what published sample images carry
IMAGE_TYPES = {"ESME": 0x0000, "GSME": 0x0001, "CHF": 0x0002, "PPMID": 0x0084}

# A Manufacturer Image whose firmware begins so never confirms that it works: what hanlab builds to show an
# activation that fails (illustrative: real firmware fails in its own way).
NO_BOOT = b"hanlab: does not boot\x00"

_ELEMENT = const(6)  # octets of a sub-element's head: tag u16, length u32
_ELEMENTS_MAX = const(256)


class NotOta(Exception):
    """These octets are no OTA header."""


class OtaHeader:
    def __init__(self, octets):
        """octets: the first HEAD_MAX octets of the file, or all of a shorter one."""
        if len(octets) < _FIXED:
            raise NotOta
        (
            magic,
            _,
            self.length,
            control,
            self.manufacturer,
            self.image_type,
            self.file_version,
            _,
            text,
            self.size,
        ) = struct.unpack_from(_FIELDS, octets)
        if magic != MAGIC or self.file_version == _ANY:
            raise NotOta
        at = _FIXED + (1 if control & _CREDENTIAL else 0)
        self.destination = None  # the EUI-64 of the one device that the file is for
        if control & _DESTINATION:
            if len(octets) < at + 8:
                raise NotOta
            self.destination = bytes(reversed(octets[at : at + 8]))
            at += 8
        self.hardware = (0, 0xFFFF)
        if control & _HARDWARE:
            if len(octets) < at + 4:
                raise NotOta
            self.hardware = struct.unpack_from("<HH", octets, at)
            at += 4
        if self.length < at or self.length > HEAD_MAX or self.size <= self.length:
            raise NotOta
        self.text = bytes(text).split(b"\x00")[0]

    def version(self):
        """The version that a device running this image reports: from a header string such as
        "PPMID IHDAE06", else the file version as eight hex digits."""
        words = self.text.split(b" ")
        if len(words) == 2 and 1 <= len(words[1]) <= 8:
            try:
                device, version = words[0].decode(), words[1].decode()
            except UnicodeError:
                device = ""
            if device in IMAGE_TYPES and all(32 < ord(c) < 127 for c in version):
                return version
        return "%08X" % self.file_version

    def device_type(self):
        for name in IMAGE_TYPES:
            if IMAGE_TYPES[name] == self.image_type:
                return name
        return "%04X" % self.image_type

    def looks_raw(self, head):
        """Whether the Manufacturer Image itself follows the header, judged by the first octets of the file
        alone: no sub-element begins there. False if `head` is too short to say."""
        if len(head) < self.length + METADATA:
            return False
        n = struct.unpack_from("<I", head, self.length + 2)[0]
        return n == 0 or self.length + _ELEMENT + n > self.size

    def manufacturer_image(self, read):
        """(start, end) of the octets that 11.3's hash covers; read(offset, buf) reads the file.

        The rule is the host's (host/hanlab/images/layout.py): the first sub-element with tag 0, if
        sub-elements fill the file exactly; else all after the header, without an authorisation
        trailer.
        """
        found = self._upgrade_element(read)
        if found:
            return found
        if self.size - self.length > TRAILER:
            mark = bytearray(2)
            read(self.size - TRAILER, mark)
            if mark == b"\x00\x40":
                return self.length, self.size - TRAILER
        return self.length, self.size

    def _upgrade_element(self, read):
        found = None
        head = bytearray(_ELEMENT)
        at = self.length
        for _ in range(_ELEMENTS_MAX):
            if at + _ELEMENT > self.size:
                return None
            read(at, head)
            tag, n = struct.unpack("<HI", head)
            at += _ELEMENT
            if n == 0 or at + n > self.size:
                return None
            if tag == 0 and found is None:
                found = at, at + n
            at += n
            if at == self.size:
                return found
        return None


def metadata_manufacturer(block):
    """The CH manufacturer's name in the metadata block, or None if `block` is none."""
    if len(block) < METADATA or bytes(block[:6]) != b"S1MD\x01\x20":
        return None
    name = bytes(block[8:METADATA]).rstrip(b"\x00")
    return name.decode() if name and all(32 <= c < 127 for c in name) else None
