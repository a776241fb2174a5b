"""OTA files: each codec of the host both ways, and a board reads in a file what the host reads in it."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hanlab.errors import UsageError
from hanlab.images import (
    DEVICE_TYPES,
    HardwareRange,
    ImageError,
    MetadataBlock,
    OtaHeader,
    OtaImage,
    SubElement,
    find_layout,
)
from hanlab.images.header import MAGIC
from hanlab.images.metadata import has_metadata

from .vm_oracle import Firmware

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=24)
KIND = st.sampled_from([kind.name for kind in DEVICE_TYPES])
VERSION = st.text("ABZ019.-", min_size=1, max_size=9)
STRING = st.one_of(
    st.builds(lambda kind, version: f"{kind} {version}".encode().ljust(32, b"\0"), KIND, VERSION),
    st.binary(min_size=32, max_size=32),
    st.builds(
        lambda kind, space, version, end: (kind.encode() + space + version + end)[:32].ljust(
            32, b"\0"
        ),
        KIND | st.sampled_from(["IHD", "PPMID\xe9", ""]),
        st.sampled_from([b" ", b"  ", b"\0", b""]),
        st.binary(max_size=9) | VERSION.map(str.encode),
        st.sampled_from([b"", b"\0rubbish", b" ", b"\xff"]),
    ),
)
HEADER = st.builds(
    OtaHeader,
    manufacturer=U16,
    image_type=U16 | st.sampled_from([kind.image_type for kind in DEVICE_TYPES]),
    file_version=st.integers(0, 0xFFFFFFFE),  # the last one means "any"
    string=STRING,
    total_size=U32,
    hardware=st.none() | st.builds(HardwareRange, U16, U16),
    security_credential=st.none() | st.integers(0, 0xFF),
    destination=st.none() | st.binary(min_size=8, max_size=8),
    stack_version=U16,
)
BLOCK = st.builds(MetadataBlock, PRINTABLE, U16)
ELEMENT = st.builds(SubElement, st.sampled_from([0, 0, 1, 3, 0xF000]) | U16, st.binary(max_size=80))

BODY = st.binary(min_size=1, max_size=150)
PAYLOAD = st.one_of(
    BODY,
    st.builds(lambda block, body: block.to_bytes() + body, BLOCK, BODY | st.just(b"")),
    st.builds(
        lambda body, rest: body + b"\0\x40" + rest, BODY, st.binary(min_size=62, max_size=66)
    ),
    st.builds(lambda body: b"S1MD\1\x20" + body, BODY),
    st.lists(
        ELEMENT.map(SubElement.to_bytes) | st.just(b"") | BLOCK.map(MetadataBlock.to_bytes),
        max_size=4,
    ).map(b"".join),
    st.builds(
        lambda n: SubElement(0xF001, b"x").to_bytes() * n + SubElement(0, b"y").to_bytes(),
        st.integers(253, 258),
    ),
)


def with_size(header: OtaHeader, total: int) -> bytes:
    octets = bytearray(header.to_bytes())
    struct.pack_into("<I", octets, 52, total)
    return bytes(octets)


FILE = st.builds(
    lambda header, payload, more: with_size(header, header.length + len(payload) + more) + payload,
    HEADER,
    PAYLOAD,
    st.sampled_from([0, 0, 0, 0, 1, -1, 1000, -40]),
)
DAMAGED = st.builds(
    lambda data, at, octets: data[: at % len(data)] + octets + data[at % len(data) + len(octets) :],
    FILE,
    st.integers(0, 70) | st.integers(0, 1000),
    st.binary(max_size=4),
)


# -- both ways


@given(HEADER, st.binary(max_size=20))
def test_header(header: OtaHeader, rest: bytes) -> None:
    octets = header.to_bytes()
    assert len(octets) == header.length
    assert OtaHeader.from_bytes(octets + rest) == header


@given(BLOCK)
def test_metadata_block(firmware: Firmware, block: MetadataBlock) -> None:
    octets = block.to_bytes()
    assert MetadataBlock.from_bytes(octets) == block
    assert firmware.ask("metadata", octets) == block.ch_manufacturer


@given(ELEMENT)
def test_sub_element(element: SubElement) -> None:
    assert SubElement.from_bytes(element.to_bytes()) == element


# -- any octets


@given(st.binary(max_size=90) | st.binary(max_size=66).map(lambda b: MAGIC + b))
def test_header_of_any_octets(octets: bytes) -> None:
    try:
        header = OtaHeader.from_bytes(octets)
    except ImageError:
        return
    assert octets.startswith(header.to_bytes())


@given(
    st.binary(max_size=40)
    | st.binary(max_size=30).map(lambda b: b"S1MD\1\x20" + b)
    | st.builds(
        lambda name, end: b"S1MD\1\x20\0\0" + (name.encode() + end)[:24].ljust(24, b"\0"),
        PRINTABLE,
        st.binary(max_size=3),
    )
)
def test_metadata_block_of_any_octets(firmware: Firmware, octets: bytes) -> None:
    """Host and firmware find the same name in it, or none."""
    try:
        block = MetadataBlock.from_bytes(octets)
    except ImageError:
        assert firmware.ask("metadata", octets) is None
        return
    assert octets.startswith(block.to_bytes())
    assert firmware.ask("metadata", octets) == block.ch_manufacturer


@given(st.binary(max_size=20) | ELEMENT.map(SubElement.to_bytes))
def test_sub_element_of_any_octets(octets: bytes) -> None:
    try:
        element = SubElement.from_bytes(octets)
    except ImageError:
        return
    assert element.to_bytes() == octets


# -- host and board


READ = ["length", "size", "manufacturer", "image_type", "file_version", "hardware"]
READ += ["version", "device_type", "raw", "span", "destination"]


def read_by(firmware: Firmware, data: bytes) -> dict[str, Any] | None:
    """What a board makes of a file; None: it is no OTA file."""
    answer = firmware.try_("ota", data, refusal="NotOta")
    return None if answer is None else dict(zip(READ, answer, strict=True))


@settings(max_examples=3 * settings().max_examples)  # not every file is one that the host takes
@given(FILE | DAMAGED)
def test_board_and_host_read_a_file_alike(firmware: Firmware, data: bytes) -> None:
    """What the host takes, a board takes: with the same header, version and Manufacturer Image."""
    board = read_by(firmware, data)  # any octets: NotOta, or what it reads; no other exception
    try:
        image = OtaImage.from_bytes(data)
    except UsageError:
        return
    assert board is not None
    header = image.header
    start, end = board["span"]
    assert data[start:end] == image.manufacturer_image
    assert board["length"] == header.length
    assert board["size"] == header.total_size == len(data)
    assert board["manufacturer"] == header.manufacturer
    assert board["image_type"] == header.image_type
    assert board["file_version"] == header.file_version
    assert board["hardware"] == list(header.hardware or (0, 0xFFFF))
    assert board["version"] == image.version
    assert board["destination"] == (header.destination and header.destination[::-1])
    assert board["device_type"] == (image.device_type or f"{header.image_type:04X}")
    if board["raw"]:
        assert not image.elements, "judged by the head alone, the CH takes it for a raw image"


@given(HEADER, BODY)
def test_board_and_host_take_no_file_version_that_means_any(
    firmware: Firmware, header: OtaHeader, body: bytes
) -> None:
    wildcard = dataclasses.replace(header, file_version=0xFFFFFFFF)
    data = with_size(wildcard, header.length + len(body)) + body
    assert read_by(firmware, data) is None
    with pytest.raises(ImageError, match="means 'any version'"):
        OtaImage.from_bytes(data)


@given(st.binary(max_size=100) | st.binary(max_size=120).map(lambda b: MAGIC + b))
@example(MAGIC)
def test_board_takes_any_octets(firmware: Firmware, octets: bytes) -> None:
    board = read_by(firmware, octets)
    if board is not None:
        start, end = board["span"]
        assert board["length"] <= start < end <= board["size"]


@given(HEADER, PAYLOAD)
def test_head_alone_tells_a_locked_image(
    firmware: Firmware, header: OtaHeader, payload: bytes
) -> None:
    """The CH refuses another manufacturer's image by its first octets (rules 28 to 30): `looks_raw`."""
    data = with_size(header, header.length + len(payload)) + payload
    board = read_by(firmware, data)
    if board and has_metadata(payload) and len(payload) >= 32:
        layout = find_layout(data, header.length, len(data))
        assert board["raw"] == (not layout.elements)
