"""What vendors' real files have around the OTA image, and what other files begin with.

For `inspect` only: a device takes nothing but an OTA image that starts at octet 0. Layouts as in
files of the public Zigbee OTA collections.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from hanlab.images.header import HEADER_VERSION, MAGIC

_SEARCH_LIMIT = 1000  # magics looked at: a file full of them must not take minutes


@dataclass(frozen=True)
class Container:
    """A vendor's wrapping: what lies before and after the OTA image in it."""

    name: str
    before: str
    after: str


def _is_ikea(data: bytes, start: int) -> bool:
    return data.startswith(b"NGIS") and len(data) >= 24 and _u32(data, 16) == start


def _is_legrand(data: bytes, start: int) -> bool:
    return start == 4 and _u32(data, 0) + 21 == len(data)


def _is_third_reality(data: bytes, start: int) -> bool:
    return (
        start == 152
        and _u32(data, 68) + 64 == len(data)
        and data.startswith(hashlib.sha512(data[64:]).digest())
    )


_CONTAINERS: tuple[tuple[Callable[[bytes, int], bool], Container], ...] = (
    (_is_ikea, Container("IKEA signed container", "'NGIS' container header", "its signature")),
    (_is_legrand, Container("Legrand container", "size of the image, u32", "17-octet suffix")),
    (_is_third_reality, Container("Third Reality container", "SHA-512 header", "octets after it")),
)

# Firmware formats that people try to push as they are, and that lie inside vendors' OTA files.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"UF2\n", "a UF2 file"),
    (0, b"\x7fELF", "an ELF file"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ", "an xz file"),
    (0, b":10", "an Intel HEX file"),
    (0, b"S00", "a Motorola S-record file"),
    (0, b"<?xml", "an XML file"),
    (0, b"\xeb\x17\xa6\x03", "a Silicon Labs GBL file"),
    (0, b"\x00\x00\x00\x8c", "an Ember EBL file"),
    (0, b"\x2a\x00\x01", "Philips Hue's boot loader format"),
    (8, b"KNLT", "Telink firmware"),
)


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def looks_like(data: bytes, start: int = 0) -> str:
    """What data[start:] looks like by its first octets ("a UF2 file"), or ""."""
    for offset, octets, name in _SIGNATURES:
        if data.startswith(octets, start + offset):
            return name
    return ""


def find_ota(data: bytes) -> int | None:
    """Where the OTA image begins: the first magic with a header version behind it.

    The first magic if none has one; None if there is no magic.
    """
    first = at = data.find(MAGIC)
    version = HEADER_VERSION.to_bytes(2, "little")
    for _ in range(_SEARCH_LIMIT):
        if at < 0:
            break
        if data.startswith(version, at + len(MAGIC)):
            return at
        at = data.find(MAGIC, at + 1)
    return first if first >= 0 else None


def container_of(data: bytes, start: int) -> Container | None:
    """The known container that `data` is, with the OTA image at `start`."""
    for matches, container in _CONTAINERS:
        if matches(data, start):
            return container
    return None
