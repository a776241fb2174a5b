"""The OTA header: the first 56 to 69 octets of a Zigbee OTA file (Zigbee OTA Upgrade cluster).

Little-endian. GBCS's form has the hardware versions and nothing else optional: 60 octets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from hanlab.images.errors import ImageError

MAGIC = b"\x1e\xf1\xee\x0b"
"""The file identifier 0x0BEEF11E as it lies in the file."""

HEADER_VERSION = 0x0100
FIXED_LENGTH = 56
"""Octets of a header without optional fields."""

HAS_SECURITY_CREDENTIAL, HAS_DESTINATION, HAS_HARDWARE = 0x0001, 0x0002, 0x0004
"""Bits of the field control; the optional fields follow in this order: u8, 8 octets, u16 + u16."""

STRING_LENGTH = 32
STACK_ZIGBEE_PRO = 2

_FIXED = struct.Struct("<4sHHHHHIH32sI")
_U16_PAIR = struct.Struct("<HH")


class HardwareRange(NamedTuple):
    """The hardware versions that may run an image, both ends included.

    A u16 each: version in the high octet, revision in the low one.
    """

    minimum: int
    maximum: int


ANY_HARDWARE = HardwareRange(0x0000, 0xFFFF)


def length_for(field_control: int) -> int:
    """Octets of a header with this field control."""
    return (
        FIXED_LENGTH
        + (1 if field_control & HAS_SECURITY_CREDENTIAL else 0)
        + (8 if field_control & HAS_DESTINATION else 0)
        + (4 if field_control & HAS_HARDWARE else 0)
    )


@dataclass(frozen=True)
class OtaHeader:
    """An OTA header; `total_size` counts the whole file, this header included.

    `string` is the 32 octets as they are, padding included. `destination` is the EUI-64 of the one
    device the file is for, 8 octets as they lie in the file (low octet first).
    """

    manufacturer: int
    image_type: int
    file_version: int
    string: bytes
    total_size: int
    hardware: HardwareRange | None = None
    security_credential: int | None = None
    destination: bytes | None = None
    stack_version: int = STACK_ZIGBEE_PRO

    def __post_init__(self) -> None:
        limits = (
            ("manufacturer code", self.manufacturer, 0xFFFF),
            ("image type", self.image_type, 0xFFFF),
            ("file version", self.file_version, 0xFFFFFFFF),
            ("total size", self.total_size, 0xFFFFFFFF),
            ("stack version", self.stack_version, 0xFFFF),
            ("security credential version", self.security_credential or 0, 0xFF),
            ("minimum hardware version", self.hardware.minimum if self.hardware else 0, 0xFFFF),
            ("maximum hardware version", self.hardware.maximum if self.hardware else 0, 0xFFFF),
        )
        for name, value, limit in limits:
            if not 0 <= value <= limit:
                raise ImageError(f"{name} {value} is not in 0 to 0x{limit:X}")
        if len(self.string) != STRING_LENGTH:
            raise ImageError(
                f"the OTA header string has {len(self.string)} octets, not {STRING_LENGTH}"
            )
        if self.destination is not None and len(self.destination) != 8:
            raise ImageError(f"the destination has {len(self.destination)} octets, not 8")

    @property
    def field_control(self) -> int:
        return (
            (HAS_SECURITY_CREDENTIAL if self.security_credential is not None else 0)
            | (HAS_DESTINATION if self.destination is not None else 0)
            | (HAS_HARDWARE if self.hardware is not None else 0)
        )

    @property
    def length(self) -> int:
        """Octets of this header."""
        return length_for(self.field_control)

    @classmethod
    def from_bytes(cls, data: bytes) -> OtaHeader:
        """The header that `data` begins with; octets after it are not looked at.

        Raises ImageError if there is none, if it is cut short, or if its own fields contradict
        each other.
        """
        if not data.startswith(MAGIC):
            raise ImageError(
                f"no OTA magic ({MAGIC.hex(' ').upper()}) at its start, but "
                f"{data[:4].hex(' ').upper() or 'nothing'}"
            )
        if len(data) < FIXED_LENGTH:
            raise ImageError(
                f"cut short inside the OTA header: {len(data)} octets, "
                f"a header has at least {FIXED_LENGTH}"
            )
        fields = _FIXED.unpack_from(data)
        _, version, length, control, manufacturer, image_type, file_version = fields[:7]
        stack_version, string, total_size = fields[7:]
        if version != HEADER_VERSION:
            raise ImageError(
                f"OTA header version is 0x{version:04X}; only 0x{HEADER_VERSION:04X} is known"
            )
        if unknown := control & ~(HAS_SECURITY_CREDENTIAL | HAS_DESTINATION | HAS_HARDWARE):
            raise ImageError(f"field control 0x{control:04X} has unknown bits 0x{unknown:04X}")
        if length != length_for(control):
            raise ImageError(
                f"the header length says {length} octets; "
                f"with field control 0x{control:04X} a header has {length_for(control)}"
            )
        if len(data) < length:
            raise ImageError(
                f"cut short inside the OTA header: {len(data)} octets, this header has {length}"
            )
        credential, destination, hardware = optional_fields(data, control)
        return cls(
            manufacturer=manufacturer,
            image_type=image_type,
            file_version=file_version,
            string=string,
            total_size=total_size,
            hardware=hardware,
            security_credential=credential,
            destination=destination,
            stack_version=stack_version,
        )

    def to_bytes(self) -> bytes:
        octets = _FIXED.pack(
            MAGIC,
            HEADER_VERSION,
            self.length,
            self.field_control,
            self.manufacturer,
            self.image_type,
            self.file_version,
            self.stack_version,
            self.string,
            self.total_size,
        )
        if self.security_credential is not None:
            octets += bytes([self.security_credential])
        if self.destination is not None:
            octets += self.destination
        if self.hardware is not None:
            octets += _U16_PAIR.pack(*self.hardware)
        return octets


def optional_fields(
    data: bytes, field_control: int
) -> tuple[int | None, bytes | None, HardwareRange | None]:
    """The optional fields that `field_control` announces; `data` holds the whole header."""
    at = FIXED_LENGTH
    credential = destination = hardware = None
    if field_control & HAS_SECURITY_CREDENTIAL:
        credential, at = data[at], at + 1
    if field_control & HAS_DESTINATION:
        destination, at = data[at : at + 8], at + 8
    if field_control & HAS_HARDWARE:
        hardware = HardwareRange(*_U16_PAIR.unpack_from(data, at))
    return credential, destination, hardware
