"""XML Schema's lexical rules, type by type, and where messages go by them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlab.dsp.accepted import is_cancellation
from hanlab.duis.lexical import (
    BOOLEAN,
    DATE,
    DATE_TIME,
    DECIMAL,
    HEX_BINARY,
    INTEGER,
    XsType,
    base64_binary,
)
from hanlab.duis.messages import ActivateFirmware, UpdateFirmware
from hanlab.duis.parsing import DuisError
from hanlab.duis.reading import read_request, read_response
from hanlab.duis.responses import FirmwareVersionRead

SAMPLES = Path(__file__).parent / "duis_samples"
NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (BOOLEAN, "1", True),
        (BOOLEAN, " false\n", False),
        (INTEGER, "+8", 8),
        (INTEGER, "\t0008 ", 8),
        (INTEGER, "-0", 0),
        (DECIMAL, "5.40", 5.4),
        (HEX_BINARY, "\n0aFF ", b"\x0a\xff"),
        (HEX_BINARY, "", b""),
        (DATE, "2026-02-28+01:00", datetime(2026, 2, 28).date()),
        (DATE_TIME, "2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (DATE_TIME, " 2026-01-02T03:04:05Z\n", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (DATE_TIME, "2026-01-02T03:04:05-14:00", datetime(2026, 1, 2, 17, 4, 5, tzinfo=UTC)),
        (DATE_TIME, "2026-12-31T24:00:00.0Z", datetime(2027, 1, 1, tzinfo=UTC)),
        (DATE_TIME, "2026-01-02T03:04:05.1234567Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_what_a_type_allows(kind: XsType[Any], text: str, value: object) -> None:
    assert float(kind.read(text)) == value if kind is DECIMAL else kind.read(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((BOOLEAN, text) for text in ("True", "yes", "", "01", f"{NBSP}true")),
        *(
            (INTEGER, text)
            for text in ("", "+", "1_000", "1.0", "८", "²", "1 0", f"8{NBSP}", "0x8")
        ),
        *((DECIMAL, text) for text in ("", ".", "1e3", "5,4", "५.४", "NaN")),
        *((HEX_BINARY, text) for text in ("0", "0g", "00 00", "२२")),
        *((DATE, text) for text in ("2026-02-30", "20260228", "2026-02-28T00:00:00")),
        *(
            (DATE_TIME, text)
            for text in (
                "2026-01-02",
                "2026-01-02 03:04:05",
                "20260102T030405Z",
                "2026-W01-1T03:04:05",
                "2026-01-02T03:04Z",
                "2026-01-02T03:04:05,5Z",
                "2026-01-02T03:04:05.Z",
                "2026-01-02T03:04:60Z",
                "2026-01-02T24:00:01Z",
                "2026-01-02T03:04:05+0100",
                "2026-01-02T03:04:05+14:01",
                "2026-01-02T03:04:05+01:60",
                "2026-01-02t03:04:05z",
                "2026-02-30T00:00:00Z",
                "0000-01-01T00:00:00Z",
                "9999-12-31T24:00:00Z",
                "0001-01-01T00:00:00+00:01",
                "२०२६-01-02T03:04:05Z",
                f"2026-01-02T03:04:05Z{NBSP}",
            )
        ),
    ],
)
def test_what_a_type_does_not_allow(kind: XsType[Any], text: str) -> None:
    with pytest.raises(ValueError, match=kind.name):
        kind.read(text)


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=20), st.data())
def test_white_space_may_stand_anywhere_in_base64(
    octets: bytes, places: list[int], data: st.DataObject
) -> None:
    text = base64.b64encode(octets).decode()
    for place in places:
        text = text[:place] + data.draw(st.sampled_from(" \t\r\n")) + text[place:]
    assert base64_binary(text) == octets


@pytest.mark.parametrize("other", ["*", "-", "_", ".", "\0", NBSP, "\x0b", "\u2028", "é", "=", "A"])
@pytest.mark.parametrize("place", [0, 101, 200])
def test_and_nothing_else_may(other: str, place: int) -> None:
    """White space among the first characters is no reason to overlook what stands after them."""
    text = " ".join(base64.b64encode(bytes(150)).decode())
    assert base64_binary(text) == bytes(150)
    with pytest.raises(ValueError, match="xs:base64Binary"):
        base64_binary(text[:place] + other + text[place:])


@pytest.mark.parametrize(
    "text", ["QQ", "QQ=", "QQ===", "=QQ=", "QQ==QQ==", "QR==", "QUJ=", "====", "A"]
)
def test_groups_of_base64_are_whole_and_have_no_bits_to_spare(text: str) -> None:
    with pytest.raises(ValueError, match="xs:base64Binary"):
        base64_binary(text)


# -- in messages


def sample(name: str, old: str, new: str) -> bytes:
    text = (SAMPLES / name).read_text("utf-8")
    assert old in text
    return text.replace(old, new).encode()


def test_an_image_whose_lines_are_broken() -> None:
    whole = (SAMPLES / "11.1_request.xml").read_text("utf-8")
    image = whole.split("FirmwareImage>")[1].split("<")[0]
    broken = whole.replace(image, "\r\n ".join(image[i : i + 5] for i in range(0, len(image), 5)))
    expected = read_request(whole.encode()).body
    assert isinstance(expected, UpdateFirmware)
    assert read_request(broken.encode()).body == expected
    with pytest.raises(DuisError, match="FirmwareImage"):
        read_request(whole.replace(image, f"{image[:8]}\n{image[8:]}*").encode())


@pytest.mark.parametrize("written", [" 1 ", "+1", "01", "\n0001\t"])
def test_a_command_variant_is_an_integer(written: str) -> None:
    old = "<sr:CommandVariant>1<"
    octets = sample("11.2_request_future.xml", old, f"<sr:CommandVariant>{written}<")
    assert read_request(octets).command_variant == 1


@pytest.mark.parametrize("written", ["", "0", "10", "-1", "1.0", "१", "²", f"1{NBSP}"])
def test_a_command_variant_is_from_1_to_9(written: str) -> None:
    old = "<sr:CommandVariant>1<"
    octets = sample("11.2_request_future.xml", old, f"<sr:CommandVariant>{written}<")
    with pytest.raises(DuisError, match="CommandVariant"):
        read_request(octets)


@pytest.mark.parametrize(("written", "right"), [("true", True), ("0", True), ("maybe", False)])
def test_first_in_sequence_is_a_boolean(written: str, right: bool) -> None:
    old = "<sr:CommandVariant>"
    new = f"<sr:FirstInSequence>{written}</sr:FirstInSequence>{old}"
    octets = sample("11.2_request_future.xml", old, new)
    if right:
        assert read_request(octets).service == "11.2"
        return
    with pytest.raises(DuisError, match="FirstInSequence"):
        read_request(octets)


@pytest.mark.parametrize(("written", "success"), [("true", True), ("1", True), ("0", False)])
def test_success_is_a_boolean(written: str, success: bool) -> None:
    old = 'MessageSuccess="true"'
    octets = sample("11.2_smets1_response_I0.xml", old, f'MessageSuccess="{written}"')
    body = read_response(octets).body
    assert isinstance(body, FirmwareVersionRead)
    assert body.success is success


def test_a_success_that_is_no_boolean() -> None:
    octets = sample("11.2_smets1_response_I0.xml", 'MessageSuccess="true"', 'MessageSuccess="ja"')
    with pytest.raises(DuisError, match="MessageSuccess"):
        read_response(octets)


def test_white_space_around_a_hash_and_a_date_does_not_count() -> None:
    text = (SAMPLES / "11.3_request_future.xml").read_text("utf-8")
    hash_ = text.split("FirmwareHash>")[1].split("<")[0]
    date = text.split("ExecutionDateTime>")[1].split("<")[0]
    spaced = text.replace(hash_, f"\n  {hash_}\n").replace(date, f" {date}\t")
    assert read_request(spaced.encode()) == read_request(text.encode())
    body = read_request(text.replace(date, "2026-01-02T12:00:00+03:00").encode()).body
    assert isinstance(body, ActivateFirmware)
    assert body.execution == datetime(2026, 1, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize("text", ["\u00a0", "\u2028", "x"])
def test_text_beside_elements_is_white_as_xml_says(text: str) -> None:
    octets = sample("11.2_request_future.xml", "<sr:Header>", f"{text}<sr:Header>")
    with pytest.raises(DuisError, match="text between"):
        read_request(octets)


@pytest.mark.parametrize("version", ["3.0", "5.1", "5.40", "+5.4", " 5.4 ", "5", "05.3"])
def test_a_schema_version_that_was_published(version: str) -> None:
    octets = sample("11.2_request_future.xml", 'schemaVersion="5.4"', f'schemaVersion="{version}"')
    assert read_request(octets).service == "11.2"


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("9.9", "never published"),
        ("5.5", "never published"),
        ("0", "never published"),
        ("-5.4", "never published"),
        ("2.0", "never published"),
        ("", "xs:decimal"),
        ("5.4.1", "xs:decimal"),
        ("५.४", "xs:decimal"),
    ],
)
def test_a_schema_version_that_was_not(version: str, why: str) -> None:
    octets = sample("11.2_request_future.xml", 'schemaVersion="5.4"', f'schemaVersion="{version}"')
    with pytest.raises(DuisError, match=why) as e:
        read_request(octets)
    if why == "never published":
        assert "5.1" in e.value.next_step


@pytest.mark.parametrize(
    ("text", "cancels"),
    [
        ("3000-12-31T00:00:00.00Z", True),
        ("3000-12-31T00:00:00", True),
        ("3000-12-31T01:00:00+01:00", True),
        ("3000-12-31T00:00:00.000001Z", False),
        ("3000-12-31T00:00:01Z", False),
        ("3000-12-30T00:00:00Z", False),
        ("3000-01-01T00:00:00Z", False),
    ],
)
def test_only_the_documented_instant_cancels(text: str, cancels: bool) -> None:
    assert is_cancellation(DATE_TIME.read(text)) is cancels


# -- encodings


REQUEST = (SAMPLES / "11.2_request_future.xml").read_text("utf-8")


def declaring(encoding: str) -> str:
    return REQUEST.replace("UTF-8", encoding)


@pytest.mark.parametrize(
    "octets",
    [
        declaring("UTF-16").encode("utf-16"),
        declaring("utf-16").encode("utf-16-be").join([b"\xfe\xff", b""]),
        REQUEST.encode("utf-8-sig"),
        declaring("US-ASCII").encode(),
        REQUEST.split("?>", 1)[1].encode("utf-16"),
        REQUEST.split("?>", 1)[1].strip().encode(),
    ],
)
def test_utf_8_and_utf_16_as_xml_has_them(octets: bytes) -> None:
    assert read_request(octets) == read_request(REQUEST.encode())


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (declaring("UTF-16").encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (declaring("UTF-16").encode("utf-16-be"), "UTF-16 without a byte order mark"),
        (declaring("UTF-16").encode("utf-16")[:-1], "no UTF-16"),
        (declaring("UTF-16").encode(), "utf-16"),
        (REQUEST.encode("utf-16"), "utf-8"),
        (declaring("UTF-32").encode("utf-32"), "UTF-32"),
        (declaring("UTF-32").encode("utf-32-be"), "UTF-32"),
        (declaring("ISO-8859-1").encode("latin-1"), "iso-8859-1"),
        (declaring("UTF-7").encode(), "utf-7"),
        (declaring("cp037").encode("cp037"), "EBCDIC"),
    ],
)
def test_another_encoding_is_refused_by_name(octets: bytes, said: str) -> None:
    with pytest.raises(DuisError) as e:
        read_request(octets)
    assert said in e.value.what


def test_a_document_type_does_not_hide_in_utf_16() -> None:
    entity = '<!DOCTYPE a [<!ENTITY b "c">]><sr:Request'
    octets = declaring("UTF-16").replace("<sr:Request", entity, 1).encode("utf-16")
    with pytest.raises(DuisError, match="entities"):
        read_request(octets)
