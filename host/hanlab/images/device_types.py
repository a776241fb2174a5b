"""Which devices an image can be for, and how an image carries the version its device will report.

The OTA header has a 32-octet string and a u32 file version, and no room for DUIS's FirmwareVersion
(1 to 8 characters), so an image built here says it in the string: "<device type> <version>", for
example "PPMID IHDAE06". Firmware applies the rule of `version_of`; keep the two alike.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanlab.errors import UsageError

if TYPE_CHECKING:
    from hanlab.images.header import OtaHeader

VERSION_LIMIT = 8
"""Characters that DUIS's FirmwareVersion takes (11.1, 11.3)."""

ANY_FILE_VERSION = 0xFFFFFFFF
"""The file version that means "any" in the OTA Upgrade cluster: no image may have it."""


GFI_MANUFACTURER = 0x121D
"""The manufacturer code in the published GFI sample images; the default for built images."""


@dataclass(frozen=True)
class DeviceType:
    """A device that takes images; `published` is False where the image type is illustrative."""

    name: str
    image_type: int
    published: bool
    meaning: str


# The published two are those of the GFI sample images in the DUIS templates of 11.1 and 11.4.
# No public source gives the image types of the other two: these numbers are illustrative.
DEVICE_TYPES: tuple[DeviceType, ...] = (
    DeviceType("ESME", 0x0000, True, "electricity meter"),
    DeviceType("GSME", 0x0001, False, "gas meter"),
    DeviceType("CHF", 0x0002, False, "Communications Hub"),
    DeviceType("PPMID", 0x0084, True, "prepayment meter interface device"),
)

_BY_NAME = {kind.name: kind for kind in DEVICE_TYPES}
_BY_IMAGE_TYPE = {kind.image_type: kind for kind in DEVICE_TYPES}
_ALIASES = {"CH": "CHF"}  # the CH is the box, the CHF the function in it that takes the image


def device_type_named(name: str) -> DeviceType:
    """The device type called `name` (any case; CH is CHF). Raises UsageError for others."""
    upper = name.upper()
    found = _BY_NAME.get(_ALIASES.get(upper, upper))
    if found is None:
        known = ", ".join(_BY_NAME)
        raise UsageError(
            f"there is no device type {name!r} that takes images", next_step=f"use one of {known}"
        )
    return found


def device_type_of(header: OtaHeader) -> DeviceType | None:
    """The device type an image is for, by its image type, as devices and CH tell; None if unknown.

    The header string counts for the version only: no device looks there for what is meant for it.
    """
    return _BY_IMAGE_TYPE.get(header.image_type)


def said_in(string: bytes) -> tuple[str, str] | None:
    """Device type and version in the OTA header string (32 octets), None where it has other text.

    The rule, the same in firmware: the octets before the first 0x00, split at spaces, are two
    words: a known device type and 1 to 8 octets of 0x21 to 0x7E.
    """
    words = string.split(b"\x00", 1)[0].split(b" ")
    if len(words) != 2:
        return None
    kind, version = words
    if not 1 <= len(version) <= VERSION_LIMIT or not all(0x21 <= o <= 0x7E for o in version):
        return None
    name = kind.decode("ascii", "replace")
    return (name, version.decode("ascii")) if name in _BY_NAME else None


def version_of(header: OtaHeader) -> str:
    """The version a device reports once it runs this image.

    What the header string says (`said_in`); for others' files the file version as 8 hex digits.
    """
    said = said_in(header.string)
    return said[1] if said else f"{header.file_version:08X}"


def check_version(version: str) -> str:
    """`version` if DUIS and the OTA header can carry it, else UsageError.

    DUIS takes 1 to 8 characters, and many manufacturers' strings are longer (rule 145), so those
    need a short form. A space would end the version in the OTA header string.
    """
    short = "".join(c for c in version if "!" <= c <= "~")[:VERSION_LIMIT]
    next_step = f"for example {short!r}" if short else "for example 'IHDAE06'"
    if not 1 <= len(version) <= VERSION_LIMIT:
        raise UsageError(
            f"firmware version {version!r} has {len(version)} characters; "
            f"DUIS takes 1 to {VERSION_LIMIT}",
            next_step=f"give a short form, {next_step}",
        )
    if not all("!" <= c <= "~" for c in version):
        raise UsageError(
            f"firmware version {version!r} has a space or a character outside printable ASCII",
            next_step=f"leave it out, {next_step}",
        )
    return version


def file_version_for(version: str) -> int:
    """The u32 file version: the number itself if `version` is 8 hex digits, else its CRC-32."""
    if re.fullmatch("[0-9A-Fa-f]{8}", version):
        return int(version, 16)
    return zlib.crc32(version.encode("ascii"))
