# Small records that must outlive a reset: a CRC-32 and the octets, replaced as a whole (written aside, then renamed).
# What nobody can tell again is kept in two copies.
import binascii
import errno
import os
import struct

_COPY = ".copy"


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


def load_either(path):
    """The record of save_both: of one copy if the other is damaged. None: there is none. ValueError: both are bad."""
    damaged = None
    for each in (
        path,
        path + _COPY,
    ):  # in the order in which they are written: the first good one is the newest
        try:
            record = load(each)
        except ValueError as e:
            damaged = e
            continue
        if record is not None:
            return record
    if damaged:
        raise damaged
    return None


def save_both(path, record):
    """OSError: the record is as it was, or is the new one; the next load_either tells."""
    save(path, record)
    save(path + _COPY, record)
