"""The OTA header's fields in words, also of headers that no device would take."""

from __future__ import annotations

from dataclasses import dataclass

from hanlab.images import header as ota
from hanlab.images.device_types import ANY_FILE_VERSION, DEVICE_TYPES, GFI_MANUFACTURER, said_in


@dataclass(frozen=True)
class Field:
    """A field of a header or block: where it is, what it holds, what that means."""

    offset: int
    size: int
    name: str
    value: str
    meaning: str = ""


def number_field(
    offset: int, size: int, name: str, value: int, meaning: str, *, hexadecimal: bool = True
) -> Field:
    """A field that holds one number."""
    return Field(
        offset, size, name, f"0x{value:0{2 * size}X}" if hexadecimal else f"{value:,}", meaning
    )


def header_fields(data: bytes, start: int) -> tuple[Field, ...]:
    """The fields of the OTA header at data[start:], as many as are there."""
    fixed = data[start : start + ota.FIXED_LENGTH]
    if len(fixed) < ota.FIXED_LENGTH:
        return (Field(start, len(ota.MAGIC), "file identifier", "0x0BEEF11E", "OTA magic"),)

    def number(at: int, size: int) -> int:
        return int.from_bytes(fixed[at : at + size], "little")

    control = number(8, 2)
    string = fixed[20:52]
    said = said_in(string)
    rows = (
        (0, 4, "file identifier", "OTA magic", True),
        (4, 2, "header version", _header_version(number(4, 2)), True),
        (6, 2, "header length", _header_length(number(6, 2), control), False),
        (8, 2, "field control", _field_control(control), True),
        (10, 2, "manufacturer code", _manufacturer(number(10, 2)), True),
        (12, 2, "image type", _image_type(number(12, 2)), True),
        (14, 4, "file version", _file_version(number(14, 4)), True),
        (18, 2, "stack version", _stack(number(18, 2)), True),
        (52, 4, "total size", "octets, this header included", False),
    )
    fields = [
        number_field(start + at, size, name, number(at, size), meaning, hexadecimal=hexadecimal)
        for at, size, name, meaning, hexadecimal in rows
    ]
    meaning = f"{said[0]}, version {said[1]}" if said else "free text, no version"
    fields.insert(-1, Field(start + 20, 32, "header string", text(string), meaning))
    if len(data) - start >= ota.length_for(control):
        fields += _optional_fields(data[start:], start, control)
    return tuple(fields)


def _optional_fields(header: bytes, start: int, control: int) -> list[Field]:
    credential, destination, hardware = ota.optional_fields(header, control)
    fields: list[Field] = []
    at = start + ota.FIXED_LENGTH
    if credential is not None:
        fields.append(
            number_field(at, 1, "security credential", credential, _credential(credential))
        )
        at += 1
    if destination is not None:
        eui = destination[::-1].hex("-").upper()
        fields.append(Field(at, 8, "destination", eui, "EUI-64: for this device only"))
        at += 8
    if hardware is not None:
        low, high = hardware
        fields.append(number_field(at, 2, "minimum hardware", low, _hardware(low)))
        fields.append(number_field(at + 2, 2, "maximum hardware", high, _hardware(high)))
    return fields


def text(octets: bytes) -> str:
    """Octets as text, 0x00 at the end left off; anything but printable ASCII as \\xNN."""
    return "".join(
        chr(octet) if 0x20 <= octet <= 0x7E and octet != 0x5C else f"\\x{octet:02x}"
        for octet in octets.rstrip(b"\x00")
    )


def _header_version(value: int) -> str:
    known = value == ota.HEADER_VERSION
    return f"{value >> 8}.{value & 0xFF}" + ("" if known else "; unknown, 1.0 is the only one")


def _header_length(value: int, control: int) -> str:
    expected = ota.length_for(control)
    return "octets" if value == expected else f"octets; by its field control {expected}"


def _field_control(value: int) -> str:
    names = {
        ota.HAS_SECURITY_CREDENTIAL: "security credential",
        ota.HAS_DESTINATION: "destination",
        ota.HAS_HARDWARE: "hardware versions",
    }
    has = [name for bit, name in names.items() if value & bit]
    if unknown := value & ~sum(names):
        has.append(f"unknown bits 0x{unknown:04X}")
    return "has " + ", ".join(has) if has else "no optional fields"


def _manufacturer(value: int) -> str:
    return {GFI_MANUFACTURER: "as in the GFI samples", 0xFFFF: "any"}.get(value, "")


_SPECIAL_IMAGE_TYPES = {
    0xFFC0: "security credentials",
    0xFFC1: "configuration",
    0xFFC2: "log",
    0xFFFF: "any",
}


def _image_type(value: int) -> str:
    for kind in DEVICE_TYPES:
        if kind.image_type == value:
            return f"{kind.name} ({'as in the GFI samples' if kind.published else 'illustrative'})"
    return _SPECIAL_IMAGE_TYPES.get(value, "manufacturer's own" if value < 0xFFC0 else "reserved")


def _file_version(value: int) -> str:
    return "any: no image may have it" if value == ANY_FILE_VERSION else ""


def _stack(value: int) -> str:
    names = {0: "ZigBee 2006", 1: "ZigBee 2007", 2: "Zigbee PRO", 3: "Zigbee IP"}
    return f"{names.get(value, 'unknown')}; not used"


def _credential(value: int) -> str:
    names = {0: "SE 1.0", 1: "SE 1.1", 2: "SE 2.0", 3: "SE 1.2"}
    return f"its version: {names.get(value, 'unknown')}; not used"


def _hardware(value: int) -> str:
    return f"version {value >> 8}, revision {value & 0xFF}"
