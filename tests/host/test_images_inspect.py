"""`inspect` explains whatever it is given: good images, vendors' files, and any octets at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlab.images import (
    ImageError,
    Inspection,
    OtaHeader,
    OtaImage,
    SubElement,
    build,
    image_to_push,
    inspect,
    made_body,
)
from hanlab.images.inspection import REGION_KINDS

BODY = bytes(made_body(1000))
GOOD = build(BODY, device_type="PPMID", version="IHDAE06").to_bytes()
ELEMENTS = (SubElement(0xF000, b"key"), SubElement(0, BODY), SubElement(3, bytes(16)))


def vendor_image(*elements: SubElement) -> bytes:
    payload = b"".join(element.to_bytes() for element in elements)
    header = OtaHeader(0x117C, 0x4105, 0x01010007, b"GBL x".ljust(32, b"\0"), 56 + len(payload))
    return header.to_bytes() + payload


def ikea_container(image: bytes) -> bytes:
    """The container of IKEA's signed files: 'NGIS', where the image is, and 512 octets after it."""
    head = b"NGIS" + bytes(12) + (616).to_bytes(4, "little") + len(image).to_bytes(4, "little")
    return head.ljust(616, b"\x5a") + image + bytes(range(256)) * 2


def legrand_container(image: bytes) -> bytes:
    return len(image).to_bytes(4, "little") + image + bytes(range(17))


def third_reality_container(image: bytes) -> bytes:
    signed = bytes(4) + len(bytes(88) + image).to_bytes(4, "little") + bytes(80) + image
    return hashlib.sha512(signed).digest() + signed


def kinds(found: Inspection) -> list[str]:
    return [region.kind for region in found.regions]


def value_of(found: Inspection, name: str) -> str:
    return next(field.value for field in found.fields if field.name == name)


def test_good_image() -> None:
    found = inspect(GOOD)
    assert (found.layout, found.version, found.device_type) == ("GBCS", "IHDAE06", "PPMID")
    assert found.image == OtaImage.from_bytes(GOOD)
    assert found.manufacturer_image_hash == hashlib.sha256(BODY).hexdigest()
    assert found.file_hash == found.image_hash == hashlib.sha256(GOOD).hexdigest()
    assert [(r.offset, r.size, r.kind) for r in found.regions] == [
        (0, 60, "header"),
        (60, 1000, "firmware"),
    ]
    assert value_of(found, "total size") == "1,060"
    assert value_of(found, "image type") == "0x0084"
    assert (found.problem, found.push_problem, found.warnings) == (None, None, ())


def test_image_types_and_metadata_that_are_illustrative_say_so() -> None:
    found = inspect(build(BODY, device_type="GSME", version="1", for_ch="Secure").to_bytes())
    assert any("illustrative" in field.meaning for field in found.fields if "type" in field.name)
    assert kinds(found) == ["header", "metadata", "firmware"]
    assert value_of(found, "CH manufacturer") == "Secure"
    assert any("locked to CHs made by Secure" in note for note in found.notes)
    assert any("illustrative" in note for note in found.notes)


def test_trailer_is_only_looked_like_unless_hanlab_made_it() -> None:
    made = inspect(build(BODY, device_type="PPMID", version="1", trailer=True).to_bytes())
    assert kinds(made) == ["header", "firmware", "trailer"]
    assert "signed by nobody" in made.regions[-1].note
    image = OtaImage.from_bytes(
        build(BODY, device_type="PPMID", version="1", trailer=True).to_bytes()
    )
    signed = replace(image, trailer=b"\x00\x40" + bytes(range(64))).to_bytes()
    found = inspect(signed)
    assert "looks like" in found.regions[-1].note
    assert any("1 raw image in 65,536" in note for note in found.notes)
    assert found.manufacturer_image_hash == hashlib.sha256(BODY).hexdigest()


def test_person_can_overrule_the_guess_about_the_trailer() -> None:
    trailed = build(BODY, device_type="PPMID", version="1", trailer=True).to_bytes()
    without = inspect(trailed, trailer=False)
    assert kinds(without) == ["header", "firmware"]
    assert without.manufacturer_image_hash == hashlib.sha256(trailed[60:]).hexdigest()
    assert any("a device decides otherwise" in warning for warning in without.warnings)
    with_one = inspect(GOOD, trailer=True)
    assert with_one.manufacturer_image_hash == hashlib.sha256(BODY[:-66]).hexdigest()
    assert any("a device decides otherwise" in warning for warning in with_one.warnings)
    assert inspect(GOOD, trailer=False).warnings == inspect(trailed, trailer=True).warnings == ()
    short = build(b"body", device_type="PPMID", version="1").to_bytes()
    assert any("too few" in warning for warning in inspect(short, trailer=True).warnings)


def test_sub_elements() -> None:
    found = inspect(vendor_image(*ELEMENTS))
    assert found.layout == "ZCL sub-elements"
    assert kinds(found) == ["header", "element", "element", "firmware", "element"]
    assert [region.note for region in found.regions if region.kind == "element"] == [
        "manufacturer's own",
        "upgrade image: tag and length",
        "image integrity code",
    ]
    assert found.manufacturer_image_hash == hashlib.sha256(BODY).hexdigest()
    assert found.version == "01010007"
    assert found.push_problem is None


def test_sub_elements_that_break_off_are_explained() -> None:
    """As Telink's encrypted files: 2 octets more than the length says, so no chain."""
    data = SubElement(0xF000, BODY).to_bytes()
    payload = data[:6] + b"\x01\x0c" + data[6:]
    header = OtaHeader(0x1286, 0x0815, 0x1102, bytes(32), 56 + len(payload))
    found = inspect(header.to_bytes() + payload)
    assert found.layout == "damaged ZCL sub-elements"
    assert "break off 2 octets before the image's end" in found.doubts[0]
    assert "Telink" in found.doubts[0]
    assert found.push_problem is not None
    no_upgrade_image = inspect(vendor_image(SubElement(0xF001, BODY)))
    assert (
        "none of its sub-elements (tags 0xF001) is an upgrade image" in no_upgrade_image.doubts[0]
    )
    assert no_upgrade_image.push_problem is not None


@pytest.mark.parametrize(
    ("wrap", "name", "before", "after"),
    [
        (ikea_container, "IKEA signed container", 616, 512),
        (legrand_container, "Legrand container", 4, 17),
        (third_reality_container, "Third Reality container", 152, 0),
    ],
)
def test_vendors_container(
    wrap: Callable[[bytes], bytes], name: str, before: int, after: int
) -> None:
    image = vendor_image(*ELEMENTS)
    data = wrap(image)
    found = inspect(data, name="bulb.ota")
    assert found.image is not None
    assert (found.image.prefix_length, found.image.suffix_length) == (before, after)
    assert found.image.to_bytes() == image
    assert found.image_hash == hashlib.sha256(image).hexdigest()
    assert found.problem is None
    assert found.push_problem is not None
    assert f"begins at octet {before}" in found.push_problem
    assert "hanlab image inspect bulb.ota --extract" in found.push_problem
    assert all(name in region.note for region in found.regions if region.kind == "around")
    with pytest.raises(ImageError):
        OtaImage.from_bytes(data)


@pytest.mark.parametrize(
    ("suffix", "note"),
    [
        (b"\xff" * 100, "padding, all FF"),
        (GOOD, "has another OTA magic at 1,060"),
        (b"\x1f\x8b\x08", "like a gzip file"),
        (b"\xd7\x9f\xab\x30", "begins D7 9F AB 30"),
    ],
)
def test_octets_after_the_image_are_explained(suffix: bytes, note: str) -> None:
    found = inspect(GOOD + suffix)
    assert found.regions[-1].note == note
    assert found.regions[-1].size == len(suffix)
    assert found.image is not None
    assert found.image.suffix_length == len(suffix)
    assert f"{len(suffix):,} octets after the image's end" in str(found.push_problem)


def test_magic_by_chance_before_the_image_is_passed_over() -> None:
    found = inspect(b"\x1e\xf1\xee\x0b by chance " + GOOD)
    assert found.image is not None
    assert found.image.prefix_length == 15


def test_file_cut_short() -> None:
    found = inspect(GOOD[:500])
    assert (found.image, found.missing, found.manufacturer_image_hash) == (None, 560, "")
    assert "560 are missing" in str(found.problem)
    assert kinds(found) == ["header", "firmware"]
    assert found.version == "IHDAE06"
    inside_the_header = inspect(GOOD[:20])
    assert kinds(inside_the_header) == ["unknown"]
    assert "cut short inside the OTA header: 20 octets" in str(inside_the_header.problem)


def test_no_image_at_all() -> None:
    assert "it is empty" in str(inspect(b"").problem)
    found = inspect(b"UF2\nWQ]\x9e")
    assert kinds(found) == ["unknown"]
    assert found.regions[0].note == "like a UF2 file"
    assert "it looks like a UF2 file" in str(found.problem)


def test_odd_header_fields_are_warned_of() -> None:
    damaged = bytearray(GOOD)
    damaged[6] = 64
    found = inspect(bytes(damaged))
    assert any("header length says 64 octets" in warning for warning in found.warnings)
    assert "its OTA header is damaged" in str(found.problem)
    for_an_esme = GOOD[:12] + b"\x00\x00" + GOOD[14:]
    assert any("says PPMID" in warning for warning in inspect(for_an_esme).warnings)


def test_hardware_the_wrong_way_round_is_warned_of() -> None:
    data = GOOD[:56] + b"\x02\x00\x01\x00" + GOOD[60:]
    assert any("no hardware may run" in doubt for doubt in inspect(data).doubts)


def test_header_string_cannot_write_to_the_terminal() -> None:
    data = GOOD[:20] + b"\x1b[31mred\n\\".ljust(32, b"\0") + GOOD[52:]
    assert value_of(inspect(data), "header string") == r"\x1b[31mred\x0a\x5c"


anything = st.one_of(
    st.binary(max_size=300),
    st.tuples(st.binary(max_size=20), st.just(b"\x1e\xf1\xee\x0b\x00\x01"), st.binary()).map(
        b"".join
    ),
    st.tuples(
        st.sampled_from([GOOD, vendor_image(*ELEMENTS), ikea_container(vendor_image(*ELEMENTS))]),
        st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), max_size=6),
        st.integers(0, 2000),
        st.binary(max_size=5),
    ).map(lambda case: mutated(*case)),
)


def mutated(data: bytes, changes: list[tuple[int, int]], length: int, suffix: bytes) -> bytes:
    octets = bytearray(data)
    for at, value in changes:
        octets[at] = value
    return bytes(octets[:length]) + suffix


@settings(deadline=None)
@given(anything, st.sampled_from([None, True, False]))
def test_any_octets_are_explained_without_gap(data: bytes, trailer: bool | None) -> None:
    found = inspect(data, trailer=trailer)
    at = 0
    for region in found.regions:
        assert region.offset == at
        assert region.size > 0
        assert region.kind in REGION_KINDS
        at += region.size
    assert at == len(data) == found.file_size
    assert (found.image is None) == (found.problem is not None)
    if found.push_problem is None:
        assert image_to_push(data).to_bytes() == data
    else:
        with pytest.raises(ImageError):
            image_to_push(data)
    if found.mended:
        assert found.image is not None
        assert found.image.suffix_length == 0
        assert found.image.to_bytes()[60:] == data[found.image.prefix_length :][60:]
    elif found.image is not None:
        start = found.image.prefix_length
        end = len(data) - found.image.suffix_length
        assert found.image.to_bytes() == data[start:end]
        if trailer is None:
            expected = found.image.manufacturer_image_hash.hex()
            assert found.manufacturer_image_hash == expected
    json.dumps(found.as_dict())
