"""What speaks against an OTA file that a device would take: is its payload firmware at all?

Nothing in the header says whether GBCS's layout follows or a vendor's own, perhaps encrypted. A
device takes whatever comes; a person should hear of it first. So there has to be evidence *for*
GBCS's layout before a file is called that, and what looks damaged is not pushed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hanlab.errors import UsageError
from hanlab.images.device_types import GFI_MANUFACTURER, device_type_of, said_in
from hanlab.images.errors import ImageError
from hanlab.images.formats import format_of
from hanlab.images.header import HAS_HARDWARE, OtaHeader
from hanlab.images.layout import (
    ELEMENT_HEAD,
    FIRST_MANUFACTURER_TAG,
    find_layout,
    is_known_tag,
    tag_meaning,
    walk_elements,
)
from hanlab.images.metadata import METADATA_LENGTH, has_metadata
from hanlab.images.ota import DUIS_IMAGE_LIMIT, OtaImage

_FIRST_TAGS: Final = frozenset(
    {*range(7), *range(FIRST_MANUFACTURER_TAG, FIRST_MANUFACTURER_TAG + 16)}
)
"""Tags that a damaged chain of sub-elements is believed to begin with: 1 raw image in a million has one
by chance, with a length that an image could have."""
_ZEROS: Final = bytes(32)
"""Firmware that begins so is padded, and no sub-element without data."""
_WRAP: Final = (
    "ask who made it for the firmware itself; `hanlab image build --as-is` wraps any octets, to "
    "see how such a file fares"
)


@dataclass(frozen=True)
class Doubt:
    """Why a file may be no firmware; `refused`: it is not pushed."""

    why: str
    next_step: str = ""
    refused: bool = False


def evidence_for_gbcs(header: OtaHeader, payload: bytes) -> str:
    """What shows that GBCS's layout follows the header, in words; "" if nothing does."""
    if header.field_control == HAS_HARDWARE:
        return "the header has GBCS's form: 60 octets, with hardware versions"
    if said_in(header.string):
        return "the header string names a device type and a version"
    if header.manufacturer == GFI_MANUFACTURER and device_type_of(header):
        return "manufacturer code and image type are those of the GFI samples"
    if has_metadata(payload):
        return "it begins with a metadata block"
    return ""


def doubts_about(header: OtaHeader, payload: bytes) -> list[Doubt]:
    """The doubts about the octets `payload` behind `header`, gravest first."""
    layout = find_layout(payload, 0, len(payload))
    doubts = []
    if not layout.elements:
        gbcs_form = header.field_control == HAS_HARDWARE
        if broken := broken_elements(payload, gbcs_form=gbcs_form):
            doubts.append(broken)
        elif not evidence_for_gbcs(header, payload):
            doubts.append(_no_evidence(header, payload))
    start = layout.image.start
    body = start + METADATA_LENGTH if has_metadata(payload, start) else start
    seems = format_of(payload, body)
    if seems and not seems.firmware:
        doubts.append(Doubt(f"the firmware in it is {seems.name}, which no board runs", _WRAP))
    low, high = header.hardware or (0, 0)
    if low > high:
        doubts.append(
            Doubt(
                f"the lowest hardware version, 0x{low:04X}, is above the highest, 0x{high:04X}: no "
                "hardware may run this image",
                "build it again with --hw MIN:MAX",
            )
        )
    return doubts


def broken_elements(payload: bytes, *, gbcs_form: bool) -> Doubt | None:
    """The doubt about a payload that begins like ZCL sub-elements, but is none with an upgrade image.

    A header in GBCS's form announces raw firmware, which may begin with any octets: it is believed
    unless sub-elements fill the payload exactly.
    """
    end = len(payload)
    walked = walk_elements(payload, 0, end)
    if walked and (is_known_tag(walked[0].tag) or walked[-1].data.end == end):
        tags = ", ".join(dict.fromkeys(f"0x{element.tag:04X}" for element in walked[:4]))
        left = end - walked[-1].data.end
        if not left:
            return _broken(
                f"none of its sub-elements (tags {tags}) is an upgrade image (0x0000)", True
            )
        telink = " (as in encrypted files for Telink chips)" if walked[0].tag == 0xF000 else ""
        why = f"its sub-elements (tags {tags}{telink}) break off {left:,} octets before the image's end"
        return _broken(why, not gbcs_form)
    if end < ELEMENT_HEAD.size:
        return None
    tag, length = ELEMENT_HEAD.unpack_from(payload)
    if tag not in _FIRST_TAGS or length > DUIS_IMAGE_LIMIT or payload.startswith(_ZEROS):
        return None
    said = f"its first sub-element (tag 0x{tag:04X}, {tag_meaning(tag)})"
    if length == 0:
        return _broken(f"{said} has length 0", not gbcs_form or end == ELEMENT_HEAD.size)
    return _broken(
        f"{said} says {length:,} octets, and {end - ELEMENT_HEAD.size:,} follow", not gbcs_form
    )


def _broken(why: str, refused: bool) -> Doubt:
    return Doubt(f"{why}: a device would take all of it for firmware", _WRAP, refused)


def _no_evidence(header: OtaHeader, payload: bytes) -> Doubt:
    random = len(payload) >= 4096 and _is_even(payload)
    return Doubt(
        f"nothing shows that it is GBCS's layout: the header has {header.length} octets instead of 60, its "
        f"string names no device type, and 0x{header.manufacturer:04X} with image type "
        f"0x{header.image_type:04X} is no device's of SMETS1. It may be a vendor's own format"
        + (", and its octets look encrypted or compressed" if random else ""),
        _WRAP,
    )


def _is_even(octets: bytes) -> bool:
    """Whether every octet value is about as frequent as the others (chi-squared, 255 degrees)."""
    some = octets[:65_536]
    expected = len(some) / 256
    spread = sum((some.count(value) - expected) ** 2 for value in range(256)) / expected
    return spread < 400


def image_to_push(data: bytes, *, name: str = "FILE") -> OtaImage:
    """The image that `data` is, if it may be pushed; else ImageError: also for what is damaged.

    `OtaImage.from_bytes` alone is what a device does.
    """
    image = OtaImage.from_bytes(data, name=name)
    for doubt in doubts_about(image.header, data[image.header.length :]):
        if doubt.refused:
            raise ImageError(doubt.why, next_step=doubt.next_step)
    return image


def warnings_about_octets(data: bytes) -> list[str]:
    """What speaks against the octets of an 11.1, which goes on its way all the same, in words."""
    try:
        return warnings_about(OtaImage.from_bytes(data))
    except UsageError as error:
        return [error.what]


def warnings_about(image: OtaImage) -> list[str]:
    """The doubts about an image that is pushed all the same, in words."""
    payload = image.to_bytes()[image.header.length :]
    return [doubt.why for doubt in doubts_about(image.header, payload)]
