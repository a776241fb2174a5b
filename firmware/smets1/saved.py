# Small records that must outlive a reset: a CRC-32 and the octets, replaced as a whole (written aside, then renamed).
import binascii
import errno
import os
import struct


def load(path):
    """The record at `path`; None if there is none. ValueError if its CRC is wrong, OSError if flash cannot be read."""
    try:
        with open(path, "rb") as f:
            raw = f.read()
    except OSError as e:
        if e.errno == errno.ENOENT:
            return None
        raise
    if len(raw) < 4 or struct.unpack("<I", raw)[0] != binascii.crc32(raw[4:]):
        raise ValueError("%s is damaged" % path)
    return raw[4:]


def save(path, record):
    aside = path + ".new"
    with open(aside, "wb") as f:
        f.write(struct.pack("<I", binascii.crc32(record)))
        f.write(record)
    os.rename(aside, path)
