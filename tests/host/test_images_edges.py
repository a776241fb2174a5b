"""Images at the edges of the rules."""

from __future__ import annotations

import struct

import pytest

from hanlab.images import ImageError, MetadataBlock, OtaHeader, SubElement, build, find_layout
from hanlab.images.layout import TRAILER_LEAD, TRAILER_LENGTH, looks_trailed

HEADER = build(b"firmware", device_type="PPMID", version="IHDAE06").header.to_bytes()


@pytest.mark.parametrize("more", [-4, -1, 1, 9])
def test_a_header_is_as_long_as_its_fields(more: int) -> None:
    octets = bytearray(HEADER + bytes(16))
    struct.pack_into("<H", octets, 6, len(HEADER) + more)
    with pytest.raises(ImageError, match=f"the header length says {len(HEADER) + more} octets"):
        OtaHeader.from_bytes(bytes(octets))


def test_a_trailer_alone_is_the_firmware() -> None:
    trailer = TRAILER_LEAD + bytes(TRAILER_LENGTH - len(TRAILER_LEAD))
    for front, cut in ((b"", TRAILER_LENGTH), (b"x", 1), (b"firmware", 8)):
        data = front + trailer
        layout = find_layout(data, 0, len(data))
        assert (layout.image.size, layout.trailer is None) == (cut, not front)
        assert looks_trailed(data, 0, len(data)) == bool(front)


@pytest.mark.parametrize(("number", "read"), [(256, 256), (257, 0)])
def test_a_file_has_256_sub_elements_at_most(number: int, read: int) -> None:
    data = SubElement(0xF001, b"x").to_bytes() * (number - 1) + SubElement(0, b"y").to_bytes()
    layout = find_layout(data, 0, len(data))
    assert len(layout.elements) == read
    assert layout.image.size == (1 if read else len(data))


@pytest.mark.parametrize("name", [b"", b"\x00Secure", b"Sec\x00ure", b"\x7f"])
def test_a_metadata_block_names_somebody(name: bytes) -> None:
    block = MetadataBlock("Secure").to_bytes()[:8] + name.ljust(24, b"\x00")
    with pytest.raises(ImageError, match="names no CH manufacturer"):
        MetadataBlock.from_bytes(block)
