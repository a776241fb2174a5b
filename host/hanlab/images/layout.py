"""Where the Manufacturer Image lies in an OTA file: the rule that host and devices share.

11.3 carries the SHA-256 of the Manufacturer Image, so everybody must cut it out of the file at the
same two places. Nothing in the header says which layout a file has. The rule, with H the header
length and T the total size, both from the header:

1. Walk ZCL sub-elements from H: tag u16, length u32, that many octets of data. If no length is 0,
   at most 256 of them end exactly at T, and one has tag 0x0000 (upgrade image), the Manufacturer
   Image is the data of the first such element.
2. Otherwise it is GBCS's layout. If more than 66 octets follow the header and the octets at T-66
   are 00 40, the last 66 are the authorisation trailer (00 40 and a 64-octet signature), and the
   Manufacturer Image is H to T-66.
3. Otherwise it is H to T.

Firmware needs two reads for the header, one for the trailer and one per sub-element; no search.

Steps 1 and 2 guess. A raw image has 00 40 at T-66 by chance once in 65,536 files; then two octets
of firmware are taken for the trailer's start, by host and device alike, so the hash still agrees,
but it leaves 66 octets out. `hanlab.images.build` refuses such a body.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from hanlab.images.errors import ImageError

UPGRADE_IMAGE = 0x0000
"""Tag of the sub-element that holds the Manufacturer Image."""

ELEMENT_LIMIT = 256
"""Sub-elements in a file (published vendors' files have up to 175)."""

TRAILER_LENGTH = 66
TRAILER_LEAD = b"\x00\x40"
"""What the trailer begins with: the length of its signature, 64, high octet first."""

ELEMENT_HEAD = struct.Struct("<HI")

_TAG_MEANINGS = {
    0x0000: "upgrade image",
    0x0001: "ECDSA signature (crypto suite 1)",
    0x0002: "ECDSA signing certificate (crypto suite 1)",
    0x0003: "image integrity code",
    0x0004: "picture data",
    0x0005: "ECDSA signature (crypto suite 2)",
    0x0006: "ECDSA signing certificate (crypto suite 2)",
}
FIRST_MANUFACTURER_TAG = 0xF000


def is_known_tag(tag: int) -> bool:
    """Whether the ZCL allows a sub-element to have this tag."""
    return tag in _TAG_MEANINGS or tag >= FIRST_MANUFACTURER_TAG


def tag_meaning(tag: int) -> str:
    """What the ZCL says of a sub-element's tag."""
    if tag >= FIRST_MANUFACTURER_TAG:
        return "manufacturer's own"
    return _TAG_MEANINGS.get(tag, "reserved tag")


class Span(NamedTuple):
    """Octets start <= n < end of a file."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class ElementSpan(NamedTuple):
    """A sub-element in a file: its 6-octet head begins at `head`, its data fills `data`."""

    tag: int
    head: int
    data: Span


@dataclass(frozen=True)
class SubElement:
    """A ZCL sub-element: tag u16, length u32, data."""

    tag: int
    data: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> SubElement:
        """The one sub-element that fills `data`; ImageError if it does not."""
        if len(data) < ELEMENT_HEAD.size:
            raise ImageError(f"a sub-element has at least {ELEMENT_HEAD.size} octets: {len(data)}")
        tag, length = ELEMENT_HEAD.unpack_from(data)
        if ELEMENT_HEAD.size + length != len(data):
            raise ImageError(
                f"sub-element 0x{tag:04X} says {length:,} octets of data and has "
                f"{len(data) - ELEMENT_HEAD.size:,}"
            )
        return cls(tag, data[ELEMENT_HEAD.size :])

    def to_bytes(self) -> bytes:
        return ELEMENT_HEAD.pack(self.tag, len(self.data)) + self.data


@dataclass(frozen=True)
class Layout:
    """Where things lie after the header; `elements` is empty in GBCS's layout."""

    image: Span
    trailer: Span | None = None
    elements: tuple[ElementSpan, ...] = ()


def walk_elements(data: bytes, start: int, end: int) -> list[ElementSpan]:
    """The sub-elements from `start`, up to the first that is empty or reaches past `end`.

    `end` may lie behind the end of `data` (a file cut short): only heads are read.
    """
    found: list[ElementSpan] = []
    at = start
    while at + ELEMENT_HEAD.size <= min(end, len(data)) and len(found) < ELEMENT_LIMIT:
        tag, length = ELEMENT_HEAD.unpack_from(data, at)
        span = Span(at + ELEMENT_HEAD.size, at + ELEMENT_HEAD.size + length)
        if length == 0 or span.end > end:
            break
        found.append(ElementSpan(tag, at, span))
        at = span.end
    return found


def looks_trailed(data: bytes, start: int, end: int) -> bool:
    """Whether the last 66 of the octets start to end begin as a trailer does (step 2)."""
    return end - start > TRAILER_LENGTH and data.startswith(TRAILER_LEAD, end - TRAILER_LENGTH)


def find_layout(data: bytes, start: int, end: int, *, trailer: bool | None = None) -> Layout:
    """The rule above for the octets after the header, data[start:end].

    `trailer` overrides step 2 for a person who knows better; a device never does.
    """
    elements = walk_elements(data, start, end)
    whole = bool(elements) and elements[-1].data.end == end
    for element in elements if whole else ():
        if element.tag == UPGRADE_IMAGE:
            return Layout(element.data, None, tuple(elements))
    if trailer is None:
        trailer = looks_trailed(data, start, end)
    if trailer and end - start > TRAILER_LENGTH:
        cut = end - TRAILER_LENGTH
        return Layout(Span(start, cut), Span(cut, end))
    return Layout(Span(start, end))
