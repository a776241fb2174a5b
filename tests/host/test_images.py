"""Images as octets: header, layouts, metadata lock, and the files that are refused."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlab.errors import UsageError
from hanlab.images import (
    DUIS_IMAGE_LIMIT,
    HardwareRange,
    ImageError,
    MetadataBlock,
    OtaHeader,
    OtaImage,
    SubElement,
    build,
    find_layout,
    made_body,
    read_image,
    version_of,
)
from hanlab.images.layout import Span

# Written by hand from the field table of the Zigbee OTA header, not by the code under test.
GBCS_HEADER = bytes.fromhex(
    "1E F1 EE 0B"  # file identifier 0x0BEEF11E
    "00 01"  # header version 0x0100
    "3C 00"  # header length 60
    "04 00"  # field control: hardware versions
    "1D 12"  # manufacturer code 0x121D
    "84 00"  # image type 0x0084
    "78 56 34 12"  # file version 0x12345678
    "02 00"  # stack version: Zigbee PRO
    "50 50 4D 49 44 20 49 48 44 41 45 30 36 00 00 00"  # header string "PPMID IHDAE06"
    "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
    "40 00 00 00"  # total size 64
    "02 01 FF 03"  # hardware 0x0102 to 0x03FF
)
LONGEST_HEADER = bytes.fromhex(
    "1E F1 EE 0B 00 01 45 00 07 00 7C 11 01 41 07 00 01 01 02 00"
    "47 42 4C 20 78 20 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
    "AA"  # the header string's last octet: padding may be anything
    "46 00 00 00"  # total size 70
    "02"  # security credential version
    "A2 90 78 56 34 12 DB 00"  # destination 00-DB-12-34-56-78-90-A2
    "01 00 02 00"
)


def ppmid(body: bytes = b"firmware", **options: Any) -> OtaImage:
    return build(body, device_type="PPMID", version="IHDAE06", **options)


def with_elements(*elements: SubElement) -> bytes:
    """An OTA file with ZCL sub-elements, as other vendors' tools make them."""
    payload = b"".join(element.to_bytes() for element in elements)
    header = OtaHeader(0x117C, 0x4105, 0x01010007, b"GBL x".ljust(32, b"\0"), 56 + len(payload))
    return header.to_bytes() + payload


# -- header


def test_header_fields_are_where_the_specification_has_them() -> None:
    header = OtaHeader.from_bytes(GBCS_HEADER)
    assert header == OtaHeader(
        manufacturer=0x121D,
        image_type=0x0084,
        file_version=0x12345678,
        string=b"PPMID IHDAE06".ljust(32, b"\0"),
        total_size=64,
        hardware=HardwareRange(0x0102, 0x03FF),
        stack_version=2,
    )
    assert (header.length, header.field_control) == (60, 0x0004)
    assert header.to_bytes() == GBCS_HEADER


def test_header_with_all_optional_fields_has_69_octets() -> None:
    header = OtaHeader.from_bytes(LONGEST_HEADER + b"what follows is not looked at")
    assert header.length == len(LONGEST_HEADER) == 69
    assert header.security_credential == 2
    assert header.destination == bytes.fromhex("A2907856 3412DB00")
    assert header.hardware == (1, 2)
    assert header.to_bytes() == LONGEST_HEADER


@pytest.mark.parametrize(
    ("at", "octets", "words"),
    [
        (4, "00 02", "header version is 0x0200"),
        (6, "38 00", "the header length says 56 octets; with field control 0x0004 a header has 60"),
        (8, "0C 00", "unknown bits 0x0008"),
    ],
)
def test_damaged_header_is_refused_with_what_it_says(at: int, octets: str, words: str) -> None:
    damaged = bytearray(GBCS_HEADER + b"body")
    damaged[at : at + 2] = bytes.fromhex(octets)
    with pytest.raises(ImageError, match="its OTA header is damaged") as refused:
        OtaImage.from_bytes(bytes(damaged))
    assert words in refused.value.what
    assert "hanlab image inspect FILE" in refused.value.next_step


@pytest.mark.parametrize("length", range(4, 60))
def test_file_that_ends_inside_the_header_is_cut_short(length: int) -> None:
    with pytest.raises(ImageError, match=f"cut short inside the OTA header: {length} octets"):
        OtaImage.from_bytes(GBCS_HEADER[:length])


def test_header_refuses_numbers_that_do_not_fit() -> None:
    with pytest.raises(ImageError, match="image type 65536 is not in 0 to 0xFFFF"):
        replace(OtaHeader.from_bytes(GBCS_HEADER), image_type=0x10000)


# -- building


def test_built_image_is_header_then_firmware() -> None:
    image = ppmid(b"body", hardware=(0x0102, 0x03FF), file_version=0x12345678)
    assert image.to_bytes() == GBCS_HEADER + b"body"
    assert image.manufacturer_image == b"body"
    assert image.manufacturer_image_hash == hashlib.sha256(b"body").digest()
    assert image.file_hash == hashlib.sha256(GBCS_HEADER + b"body").digest()
    assert (image.device_type, image.version, image.layout) == ("PPMID", "IHDAE06", "GBCS")


@pytest.mark.parametrize(
    ("name", "image_type"), [("ESME", 0x0000), ("ppmid", 0x0084), ("CHF", 0x0002), ("CH", 0x0002)]
)
def test_device_type_sets_the_image_type(name: str, image_type: int) -> None:
    image = build(b"body", device_type=name, version="1")
    assert image.header.image_type == image_type
    assert image.device_type == ("CHF" if name == "CH" else name.upper())


def test_trailer_follows_the_firmware_and_is_not_hashed() -> None:
    image = ppmid(b"body", trailer=True)
    data = image.to_bytes()
    assert data[60:66] == b"body\x00\x40"
    assert len(data) == image.header.total_size == 60 + 4 + 66
    read = OtaImage.from_bytes(data)
    assert read == image
    assert read.manufacturer_image_hash == ppmid(b"body").manufacturer_image_hash


@pytest.mark.parametrize("version", ["", "ABCDEFGHI", "1 2", "caf\u00e9", "a\n"])
def test_version_that_duis_or_the_header_cannot_carry_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match="firmware version") as refused:
        build(b"body", device_type="PPMID", version=version)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("version", ["ASP04.04.01-55497", "03.07.09 (49) - REV09"])
def test_manufacturers_longer_version_needs_a_short_form(version: str) -> None:  # rule 145
    with pytest.raises(UsageError, match=f"has {len(version)} characters; DUIS takes 1 to 8"):
        build(b"body", device_type="ESME", version=version)


@pytest.mark.parametrize(
    ("version", "file_version"),
    [
        ("00000010", 0x10),
        ("acDC0001", 0xACDC0001),
        ("IHDAE06", zlib.crc32(b"IHDAE06")),
        ("0x123456", zlib.crc32(b"0x123456")),
        ("1_234_56", zlib.crc32(b"1_234_56")),
    ],
)
def test_file_version_is_the_version_in_hex_or_its_crc(version: str, file_version: int) -> None:
    image = build(b"body", device_type="PPMID", version=version)
    assert image.header.file_version == file_version
    assert image.version == version


@pytest.mark.parametrize(
    ("string", "version"),
    [
        (b"PPMID IHDAE06", "IHDAE06"),
        (b"CHF HUB3F0X\0left over", "HUB3F0X"),
        (b"GSME Q4X2G0E ", "12345678"),
        (b"PPMID", "12345678"),
        (b"PPMID ", "12345678"),
        (b"PPMID 123456789", "12345678"),
        (b"ppmid IHDAE06", "12345678"),
        (b"IHD IHDAE06", "12345678"),
        (b"PPMID IHD\x7f", "12345678"),
        (b"I am a GFI PPMID firmware image ", "12345678"),
        (b"", "12345678"),
    ],
)
def test_version_of_other_header_strings_is_the_file_version(string: bytes, version: str) -> None:
    header = replace(OtaHeader.from_bytes(GBCS_HEADER), string=string.ljust(32, b"\0"))
    assert version_of(header) == version


def test_build_refuses_values_that_make_no_image() -> None:
    with pytest.raises(ImageError, match="the firmware body is empty"):
        ppmid(b"")
    with pytest.raises(UsageError, match="no device type 'IHD'"):
        build(b"body", device_type="IHD", version="1")
    with pytest.raises(UsageError, match="wrong way round"):
        ppmid(hardware=(2, 1))
    with pytest.raises(UsageError, match="means 'any version'"):
        ppmid(file_version=0xFFFFFFFF)
    with pytest.raises(ImageError, match="the image has 10,240,001 octets"):
        ppmid(bytes(DUIS_IMAGE_LIMIT - 59))
    assert ppmid(bytes(DUIS_IMAGE_LIMIT - 60)).header.total_size == DUIS_IMAGE_LIMIT


# -- which octets the hash covers


def test_body_that_ends_like_a_trailer_is_refused_unless_one_follows() -> None:
    body = b"firmware\x00\x40" + bytes(range(64))
    with pytest.raises(ImageError, match="read as an authorisation trailer") as refused:
        ppmid(body)
    assert "hash 8 octets, not 74" in refused.value.what
    assert "--trailer" in refused.value.next_step
    trailed = ppmid(body, trailer=True)
    assert OtaImage.from_bytes(trailed.to_bytes()).body == body
    longer = ppmid(body + b"\x00")
    assert OtaImage.from_bytes(longer.to_bytes()).body == body + b"\x00"


def test_body_that_reads_as_sub_elements_is_refused() -> None:
    with pytest.raises(ImageError, match="reads as 2 ZCL sub-elements"):
        ppmid(SubElement(0xF000, b"x").to_bytes() + SubElement(0, b"firmware").to_bytes())


def test_body_with_a_metadata_block_is_refused() -> None:
    locked = MetadataBlock("Secure").to_bytes() + b"firmware"
    for for_ch in (None, "Elster"):
        with pytest.raises(ImageError, match="begins with a metadata block already"):
            ppmid(locked, for_ch=for_ch)


def test_blank_flash_is_no_chain_of_sub_elements() -> None:
    image = ppmid(bytes(600))  # tag 0x0000 and length 0, a hundred times
    assert OtaImage.from_bytes(image.to_bytes()).manufacturer_image == bytes(600)


def test_sub_elements_image_is_the_data_of_the_first_upgrade_image() -> None:
    data = with_elements(
        SubElement(0xF000, b"key"), SubElement(0, b"firmware"), SubElement(3, b"check")
    )
    image = OtaImage.from_bytes(data)
    assert image.layout == "ZCL sub-elements"
    assert image.manufacturer_image_hash == hashlib.sha256(b"firmware").digest()
    assert [element.tag for element in image.elements] == [0xF000, 0x0000, 0x0003]
    assert image.to_bytes() == data


@pytest.mark.parametrize(
    "elements",
    [
        [SubElement(0xF001, b"no upgrade image")],
        [SubElement(0, b"firmware"), SubElement(3, b"")],
        [SubElement(0xF000, b"x")] * 256 + [SubElement(0, b"firmware")],
    ],
)
def test_other_chains_are_taken_as_firmware(elements: list[SubElement]) -> None:
    data = with_elements(*elements)
    assert OtaImage.from_bytes(data).manufacturer_image == data[56:]


def as_firmware_reads(data: bytes) -> tuple[int, int]:
    """Where the Manufacturer Image lies, by the rule as a board applies it: few small reads."""
    at, total = struct.unpack_from("<H", data, 6)[0], struct.unpack_from("<I", data, 52)[0]
    start, found, count = at, None, 0
    while at < total and count < 256:
        if at + 6 > total:
            break
        tag, length = struct.unpack("<HI", data[at : at + 6])
        if length == 0 or at + 6 + length > total:
            break
        if tag == 0 and found is None:
            found = (at + 6, at + 6 + length)
        at += 6 + length
        count += 1
    if at == total and found:
        return found
    if total - start > 66 and data[total - 66 : total - 64] == b"\x00\x40":
        return start, total - 66
    return start, total


elements = st.builds(
    SubElement, st.sampled_from([0, 0, 1, 3, 7, 0xF000]), st.binary(max_size=80)
).map(SubElement.to_bytes)
payloads = st.one_of(
    st.binary(min_size=1, max_size=200),
    st.lists(elements, min_size=1, max_size=5).map(b"".join),
    st.binary(max_size=100).map(lambda body: body + b"\x00\x40" + bytes(64)),
    st.tuples(st.lists(elements, max_size=3).map(b"".join), st.binary(max_size=9)).map(b"".join),
).filter(bool)
headers = st.builds(
    OtaHeader,
    manufacturer=st.integers(0, 0xFFFF),
    image_type=st.integers(0, 0xFFFF),
    file_version=st.integers(0, 0xFFFFFFFE),
    string=st.binary(min_size=32, max_size=32),
    total_size=st.just(0),
    hardware=st.none() | st.builds(HardwareRange, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    security_credential=st.none() | st.integers(0, 0xFF),
    destination=st.none() | st.binary(min_size=8, max_size=8),
    stack_version=st.integers(0, 0xFFFF),
)


def assemble(header: OtaHeader, payload: bytes) -> bytes:
    return replace(header, total_size=header.length + len(payload)).to_bytes() + payload


@settings(deadline=None)
@given(headers, payloads)
def test_any_good_image_comes_apart_and_together_again(header: OtaHeader, payload: bytes) -> None:
    data = assemble(header, payload)
    image = OtaImage.from_bytes(data)
    assert image.to_bytes() == data
    start, end = as_firmware_reads(data)
    assert image.manufacturer_image == data[start:end]
    assert find_layout(data, header.length, len(data)).image == Span(start, end)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=300), st.booleans(), st.sampled_from([None, "Secure"]))
def test_device_hashes_what_the_builder_hashed(
    body: bytes, trailer: bool, for_ch: str | None
) -> None:
    image = ppmid(body, trailer=trailer, for_ch=for_ch)
    data = image.to_bytes()
    start, end = as_firmware_reads(data)
    assert hashlib.sha256(data[start:end]).digest() == image.manufacturer_image_hash
    assert OtaImage.from_bytes(data) == image


def test_image_whose_parts_contradict_the_header_cannot_be_made() -> None:
    image = ppmid()
    with pytest.raises(ImageError, match="the header says 68 octets, the image has 69"):
        replace(image, body=b"firmware!")


# -- metadata lock


def test_metadata_block_octets() -> None:
    block = MetadataBlock("Secure", 0x1234)
    octets = b"S1MD\x01\x20\x34\x12Secure" + bytes(18)
    assert block.to_bytes() == octets
    assert len(octets) == 32
    assert MetadataBlock.from_bytes(octets + b"firmware") == block


def test_same_firmware_has_another_hash_for_each_ch_manufacturer() -> None:  # rules 28, 29, 30
    others = {"Another": MetadataBlock("Another")}
    makers = [None, "Secure", "Elster", "Another"]
    images = {maker: ppmid(b"firmware", for_ch=others.get(maker or "", maker)) for maker in makers}
    assert {image.body for image in images.values()} == {b"firmware"}
    approved = images["Secure"].manufacturer_image_hash
    fits = [m for m, image in images.items() if image.manufacturer_image_hash == approved]
    assert fits == ["Secure"]


def test_metadata_is_in_front_of_the_firmware_and_hashed() -> None:
    image = ppmid(b"firmware", for_ch="Secure")
    data = image.to_bytes()
    assert data[60:92] == MetadataBlock("Secure").to_bytes()
    assert data[92:] == b"firmware"
    assert image.manufacturer_image_hash == hashlib.sha256(data[60:]).digest()
    read = OtaImage.from_bytes(data)
    assert read.metadata == MetadataBlock("Secure")
    assert read.body == b"firmware"


def test_metadata_is_found_in_sub_elements_too() -> None:
    block = MetadataBlock("Secure")
    image = OtaImage.from_bytes(with_elements(SubElement(0, block.to_bytes() + b"firmware")))
    assert (image.metadata, image.body) == (block, b"firmware")


@pytest.mark.parametrize("name", ["", "x" * 25, "caf\u00e9", "tab\t"])
def test_metadata_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="does not fit the metadata block"):
        MetadataBlock(name)


def test_metadata_code_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="is no 16-bit number"):
        MetadataBlock("Secure", 0x10000)


def test_damaged_metadata_is_refused() -> None:
    data = ppmid(b"firmware", for_ch="Secure").to_bytes()
    with pytest.raises(ImageError, match="names no CH manufacturer"):
        OtaImage.from_bytes(data.replace(b"Secure", b"S\xffcure"))
    block_alone = assemble(OtaHeader.from_bytes(GBCS_HEADER), MetadataBlock("Secure").to_bytes())
    with pytest.raises(ImageError, match="no firmware behind it"):
        OtaImage.from_bytes(block_alone)


# -- made-up firmware


def test_made_body_is_the_same_every_time() -> None:
    assert made_body(1000, seed=7) == made_body(1000, seed=7)
    assert made_body(1000, seed=7) != made_body(1000, seed=8)
    assert hashlib.sha256(made_body(262_144)).hexdigest() == (
        "1d4502b27455fe3b9f2190f00b59e7b7a91b8ed23ea0daeb6ebc4977b0c12619"
    )
    assert len(made_body(DUIS_IMAGE_LIMIT)) == DUIS_IMAGE_LIMIT


def test_made_body_never_ends_like_a_trailer() -> None:
    unlucky = 13202  # the octets made from this seed have 00 40 where a trailer would begin
    body = bytes(made_body(100, seed=unlucky))
    assert body[34:36] == b"\xff\x40"
    assert OtaImage.from_bytes(ppmid(body).to_bytes()).body == body


# -- files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "image.ota"


def test_read_image(file: Path) -> None:
    image = ppmid(made_body(5000), for_ch="Secure", trailer=True)
    file.write_bytes(image.to_bytes())
    assert read_image(file) == image
    assert read_image(str(file)) == image


@pytest.mark.parametrize(
    ("data", "what", "next_step"),
    [
        (b"", "it is empty (0 octets)", "hanlab image build"),
        (b"not an image", "it is no OTA image: the OTA magic 1E F1 EE 0B is nowhere", "wraps it"),
        (b"UF2\nWQ]\x9e", "it looks like a UF2 file", "that the same build makes"),
        (GBCS_HEADER + b"bod", "says 64 octets, the file has 63; 1 are missing", "again"),
        (GBCS_HEADER, "says 64 octets, the file has 60; 4 are missing", "again"),
        (GBCS_HEADER + b"body\xff\xff", "it has 2 octets after the image's end", "--extract"),
        (b"NGIS" + GBCS_HEADER + b"body", "begins at octet 4", "--extract"),
        (
            GBCS_HEADER[:52] + bytes(4) + GBCS_HEADER[56:] + b"body",
            "its header gives the whole image 0 octets, and the header alone has 60",
            "build it again",
        ),
        (
            GBCS_HEADER[:52] + b"\x3c\0\0\0" + GBCS_HEADER[56:],
            "its header gives the whole image 60 octets",
            "build it again",
        ),
    ],
)
def test_bad_file_is_one_sentence_with_the_next_step(
    file: Path, data: bytes, what: str, next_step: str
) -> None:
    file.write_bytes(data)
    with pytest.raises(ImageError) as refused:
        read_image(file)
    assert refused.value.what.startswith(f"{file}: ")
    assert what in refused.value.what
    assert next_step in refused.value.next_step
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_file_of_12_mb_is_over_the_duis_limit(file: Path) -> None:
    with file.open("wb") as sparse:
        sparse.truncate(12_000_000)
    words = r"12,000,000 octets; DUIS takes 10,240,000 at most \(1,760,000 too many\)"
    with pytest.raises(ImageError, match=words):
        read_image(file)


def test_path_that_is_no_readable_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no file"):
        read_image(tmp_path / "none.ota")
    with pytest.raises(ImageError, match="is a directory"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be read: File name too long"):
        read_image(tmp_path / ("x" * 5000))
    with pytest.raises(ImageError, match="cannot be read"):
        read_image("nul\0octet")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="is no ordinary file"):
        read_image(tmp_path / "pipe")


def test_file_without_read_permission(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(GBCS_HEADER + b"body")

    def denied(*_: object) -> None:  # root, too, whom no mode keeps out
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        read_image(file)
