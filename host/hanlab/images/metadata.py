"""The metadata lock: a block in front of the firmware body that names the CH's manufacturer.

A CH manufacturer may need metadata with an image, and the hash covers metadata and firmware, so
one hash fits one manufacturer's CH only (rules 28 to 31). That is public; the fields are not. This
block is hanlab's own and ILLUSTRATIVE: 32 octets,

    0   4  magic "S1MD"
    4   1  format version, 1
    5   1  length of the block, 32
    6   2  Zigbee manufacturer code of the CH's manufacturer, little-endian (0: unknown)
    8  24  name of the CH's manufacturer, printable ASCII, padded with 0x00
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hanlab.errors import UsageError
from hanlab.images.errors import ImageError

METADATA_MAGIC = b"S1MD"
METADATA_LENGTH = 32
NAME_LIMIT = 24

_FORMAT_VERSION = 1
_BLOCK = struct.Struct("<4sBBH24s")
_LEAD = METADATA_MAGIC + bytes([_FORMAT_VERSION, METADATA_LENGTH])


def has_metadata(image: bytes, start: int = 0) -> bool:
    """Whether a metadata block begins at image[start]: its first six octets say so."""
    return image.startswith(_LEAD, start)


@dataclass(frozen=True)
class MetadataBlock:
    """Names the one CH manufacturer whose hubs take the image behind it."""

    ch_manufacturer: str
    ch_manufacturer_code: int = 0

    def __post_init__(self) -> None:
        name = self.ch_manufacturer
        if not 1 <= len(name) <= NAME_LIMIT or not all(" " <= c <= "~" for c in name):
            raise UsageError(
                f"CH manufacturer {name!r} does not fit the metadata block",
                next_step=f"give 1 to {NAME_LIMIT} printable ASCII characters",
            )
        if not 0 <= self.ch_manufacturer_code <= 0xFFFF:
            raise UsageError(
                f"CH manufacturer code {self.ch_manufacturer_code} is no 16-bit number",
                next_step="give 0x0000 (unknown) to 0xFFFF",
            )

    @classmethod
    def from_bytes(cls, data: bytes) -> MetadataBlock:
        """The block in data[:32]. Raises ImageError if there is none or it is damaged."""
        if not has_metadata(data) or len(data) < METADATA_LENGTH:
            raise ImageError("there is no metadata block")
        *_, code, padded = _BLOCK.unpack_from(data)
        name = padded.rstrip(b"\x00")
        if not name or not all(0x20 <= octet <= 0x7E for octet in name):
            raise ImageError(
                "the metadata block names no CH manufacturer in printable ASCII, but has "
                f"{padded.hex(' ').upper()}"
            )
        return cls(name.decode("ascii"), code)

    def to_bytes(self) -> bytes:
        return _BLOCK.pack(
            METADATA_MAGIC,
            _FORMAT_VERSION,
            METADATA_LENGTH,
            self.ch_manufacturer_code,
            self.ch_manufacturer.encode("ascii"),
        )
