"""What a file is that is no firmware in GBCS's layout: each kind has its own words and next step."""

from __future__ import annotations

import base64
import gzip
import importlib
import io
import json
import lzma
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bincopy
import pytest
from image_commands import run

from hanlab.errors import HanlabError, UsageError
from hanlab.images import (
    HardwareRange,
    ImageError,
    OtaHeader,
    OtaImage,
    SubElement,
    build,
    image_to_push,
    inspect,
    made_body,
    read_image,
    warnings_about,
)
from hanlab.images.conversion import firmware_from
from hanlab.images.formats import looks_like

BODY = bytes(made_body(600, seed=9))
PLAIN = build(BODY, device_type="PPMID", version="IHDAE06").to_bytes()


def ota(payload: bytes, **fields: Any) -> bytes:
    """An OTA file as vendors' tools make them: no optional field."""
    given: dict[str, Any] = {
        "manufacturer": 0x121D,
        "image_type": 0x0084,
        "file_version": 0x01020304,
        "string": b"PPMID test".ljust(32, b"\0"),
        "total_size": 0,
        **fields,
    }
    header = OtaHeader(**given)
    total = header.total_size or header.length + len(payload)
    return replace(header, total_size=total).to_bytes() + payload


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    return tmp_path


def refused(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as e:
        image_to_push(data)
    assert e.value.next_step
    return e.value


# -- sub-elements that are none


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (SubElement(3, bytes(16)).to_bytes() + SubElement(4, b"p" * 64).to_bytes(), "none of its"),
        (SubElement(0xF000, BODY).to_bytes() + b"\x34\x12", "break off 2 octets.*|Telink"),
        (SubElement(0xF001, BODY).to_bytes(), "none of its sub-elements .tags 0xF001."),
        (SubElement(0x1234, BODY).to_bytes(), "none of its sub-elements .tags 0x1234."),
        (struct.pack("<HI", 0, 5000) + BODY, "upgrade image. says 5,000 octets, and 600 follow"),
        (struct.pack("<HI", 0xF000, 601) + BODY, "says 601 octets, and 600 follow"),
        (struct.pack("<HI", 0, 0) + struct.pack("<I", 600) + BODY, "has length 0"),
        (struct.pack("<HI", 0, 0), "has length 0"),
    ],
)
def test_damaged_sub_elements_are_not_pushed_and_not_gbcs(payload: bytes, words: str) -> None:
    data = ota(payload)
    error = refused(data)
    assert re.search(words, error.what)
    assert "take all of it for firmware" in error.what
    found = inspect(data)
    assert found.layout == "damaged ZCL sub-elements"
    assert found.push_problem
    assert re.search(words, found.doubts[0])


@pytest.mark.parametrize(
    "body",
    [
        bytes(1000),
        b"\0\0\1\0\0\0" + BODY,  # tag 0 with one octet, by chance
        struct.pack("<II", 0x20010000, 0x080001C1) + BODY,  # a Cortex-M vector table
        struct.pack("<HI", 0, 5000) + BODY,
        b"\xe9\x05\x02\x20" + bytes(20) + BODY,
    ],
)
def test_any_firmware_that_is_wrapped_can_be_pushed(body: bytes) -> None:
    """A header in GBCS's form announces raw firmware, whatever that begins with."""
    data = build(body, device_type="PPMID", version="IHDAE06").to_bytes()
    assert image_to_push(data).body == body
    assert inspect(data).layout == "GBCS"


def test_raw_firmware_of_a_cortex_m_is_no_damaged_sub_element() -> None:
    data = ota(struct.pack("<II", 0x20010000, 0x080001C1) + BODY)
    assert inspect(data).doubts == ()


# -- evidence for GBCS's layout


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        ({"hardware": HardwareRange(1, 1), "image_type": 0x4105, "string": bytes(32)}, BODY),
        ({"image_type": 0x4105, "manufacturer": 0x117C}, BODY),
        ({"string": bytes(32)}, BODY),
        ({"string": "Zähler £5".encode().ljust(32, b"\0")}, BODY),
        ({"security_credential": 2}, BODY),
        (
            {"image_type": 0x4105, "string": bytes(32)},
            b"S1MD\1\x20\0\0Secure".ljust(32, b"\0") + BODY,
        ),
    ],
)
def test_gbcs_where_there_is_evidence_for_it(fields: dict[str, object], payload: bytes) -> None:
    found = inspect(ota(payload, **fields))
    assert (found.layout, found.doubts, found.push_problem) == ("GBCS", (), None)


def test_a_vendors_file_without_evidence_is_doubtful_and_not_good(here: Path) -> None:
    vendors = {"image_type": 0x4105, "manufacturer": 0x117C, "string": bytes(32)}
    data = ota(bytes(made_body(8000)), **vendors)
    found = inspect(data)
    assert found.layout == "unknown"
    assert "nothing shows that it is GBCS's layout" in found.doubts[0]
    assert "look encrypted or compressed" in found.doubts[0]
    assert warnings_about(OtaImage.from_bytes(data)) == list(found.doubts)
    assert "look encrypted" not in inspect(ota(b"plain text " * 800, **vendors)).doubts[0]
    Path("v.ota").write_bytes(data)
    shown = run("inspect", "v.ota").stdout
    assert "Good" not in shown
    assert "GBCS layout" not in shown
    assert "Doubtful: nothing shows" in shown


def test_hardware_the_wrong_way_round_is_not_good() -> None:
    found = inspect(ota(BODY, hardware=HardwareRange(0x200, 0x100)))
    assert "no hardware may run this image" in found.doubts[0]


def test_firmware_that_no_board_runs_is_said() -> None:
    data = build(b":020000040800F2\n" * 9, device_type="PPMID", version="1").to_bytes()
    assert "the firmware in it is an Intel HEX file" in inspect(data).doubts[0]


# -- header fields


def test_the_wildcard_file_version_has_one_rule() -> None:
    words = "file version 0xFFFFFFFF means 'any version'"
    data = ota(BODY, file_version=0xFFFFFFFF)
    assert words in refused(data).what
    with pytest.raises(ImageError, match=words):
        build(BODY, device_type="PPMID", version="1", file_version=0xFFFFFFFF)
    found = inspect(data)
    assert words in str(found.problem)
    assert found.image is None


def test_fields_without_effect_are_shown_as_not_used() -> None:
    found = inspect(ota(BODY, security_credential=2, destination=bytes(range(8))))
    meanings = {field.name: field.meaning for field in found.fields}
    assert meanings["security credential"] == "its version: SE 2.0; not used"
    assert meanings["stack version"] == "Zigbee PRO; not used"
    assert any("07-06-05-04-03-02-01-00 alone" in note for note in found.notes)


# -- sizes that are told wrong: nothing that is advised loses an octet


@pytest.mark.parametrize("fields", [{}, {"hardware": HardwareRange(1, 1)}])
def test_a_total_size_without_the_header_is_put_right(
    here: Path, fields: dict[str, object]
) -> None:
    data = ota(BODY, total_size=len(BODY), **fields)
    error = refused(data)
    assert f"total size, 600, leaves the header out: the file has {len(data)} octets" in error.what
    found = inspect(data)
    assert found.image is not None
    assert found.image.manufacturer_image == BODY
    assert found.manufacturer_image_hash == found.image.manufacturer_image_hash.hex()
    Path("w.ota").write_bytes(data)
    shown = run("inspect", "w.ota", "--extract", "right.ota").stdout
    assert "Good" not in shown
    assert "Put right: the header's total size" in shown
    right = read_image("right.ota")
    assert right.manufacturer_image == BODY
    assert right.header.total_size == len(data)


def test_octets_that_may_be_firmware_are_not_left_out(here: Path) -> None:
    data = ota(BODY, total_size=500)  # too small by any number
    assert "--extract" not in str(refused(data))
    Path("w.ota").write_bytes(data)
    with pytest.raises(
        HanlabError, match="may be firmware that the header's total size leaves out"
    ):
        run("inspect", "w.ota", "--extract", "cut.ota")
    assert not Path("cut.ota").exists()
    run("inspect", "w.ota", "--extract", "cut.ota", "--drop-rest")
    assert Path("cut.ota").stat().st_size == 500
    run("inspect", "w.ota", "--extract", "kept.ota", "--keep-rest")
    assert read_image("kept.ota").manufacturer_image == BODY


@pytest.mark.parametrize("last", [b"\x1a", b"\xff", b"\0", b"\n\n\n\n"])
def test_the_end_of_firmware_is_no_padding_because_its_octets_are_alike(last: bytes) -> None:
    data = ota(BODY + last, total_size=56 + len(BODY))  # too small by `last`
    assert "--extract" not in str(refused(data))
    assert inspect(data).left_out


def test_what_a_transfer_in_text_mode_does_is_said() -> None:
    body = bytes(made_body(4000, seed=9))
    image = build(body, device_type="PPMID", version="IHDAE06").to_bytes()
    assert b"\n" in image[60:]
    error = refused(image.replace(b"\n", b"\r\n"))
    assert "each line feed in it has become CR LF" in error.what
    assert "as binary" in error.next_step


@pytest.mark.parametrize("last", [b"\xff" * 2, bytes(40), b"\xff" * 56, b"\xff" * 60])
@pytest.mark.parametrize("after", [b"", PLAIN])
def test_octets_alike_may_be_padding_or_the_end_of_firmware(
    here: Path, last: bytes, after: bytes
) -> None:
    """Nothing in the file tells which: both hashes are said, and either image can be had."""
    whole = build(BODY + last, device_type="PPMID", version="IHDAE06")
    Path("w.ota").write_bytes(PLAIN + last + after)
    shown = run("inspect", "w.ota", "--extract", "out.ota").stdout
    assert Path("out.ota").read_bytes() == PLAIN
    assert f"leaves {len(last)} octets {last.hex()[:2].upper()} after the image's end out" in shown
    assert f"without the {len(last) + len(after)} around it" in shown
    for image in (read_image("out.ota"), whole):
        assert image.manufacturer_image_hash.hex() in shown
    run("inspect", "w.ota", "--extract", "whole.ota", "--keep-rest")
    assert Path("whole.ota").read_bytes() == whole.to_bytes()
    assert bool(after) == ("another OTA image follows" in shown)


@pytest.mark.parametrize("more", [{"trailer": True}, {"layout": "zigbee"}])
def test_padding_behind_an_end_that_shows_is_padding(here: Path, more: dict[str, Any]) -> None:
    image = build(BODY, device_type="PPMID", version="IHDAE06", **more).to_bytes()
    Path("w.ota").write_bytes(image + b"\xff" * 40)
    assert inspect(image + b"\xff" * 40).warnings == ()
    run("inspect", "w.ota", "--extract", "out.ota")
    assert Path("out.ota").read_bytes() == image
    with pytest.raises(UsageError, match="no octets after the image's end that may be firmware"):
        run("inspect", "w.ota", "--extract", "more.ota", "--keep-rest")


def test_of_two_images_in_a_row_none_is_lost(here: Path) -> None:
    found = inspect(PLAIN + PLAIN, name="two.ota")
    assert any(f"tail -c +{len(PLAIN) + 1} two.ota has the rest" in note for note in found.notes)


def test_a_container_that_has_more_than_the_header_says_is_not_cut() -> None:
    head = b"NGIS" + bytes(12) + struct.pack("<II", 64, len(PLAIN) + 7)
    data = head.ljust(64, b"\x5a") + PLAIN + b"7 more." + bytes(range(200))
    found = inspect(data)
    assert f"has {len(PLAIN) + 7:,} octets for the image" in str(found.left_out)
    kept = inspect(data, keep_rest=True).image
    assert kept is not None
    assert kept.manufacturer_image == BODY + b"7 more."


# -- files of other kinds


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("fw.bin", BODY)
    return file.getvalue()


def zipped_image() -> bytes:
    """An OTA image that no compression makes smaller lies in an archive as it is, in blocks."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fw.ota", PLAIN)
    return file.getvalue()


@pytest.mark.parametrize("data", [zipped_image(), gzip.compress(PLAIN), lzma.compress(PLAIN)])
def test_an_image_is_not_cut_out_of_an_archive(data: bytes) -> None:
    assert PLAIN[:4] in data
    error = refused(data)
    assert "unpack it" in error.next_step
    assert "--extract" not in error.next_step
    assert inspect(data).image is None


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("fw.bin"))
    return file.getvalue()


OTHERS = {
    "an HTML page": (b"\r\n<!doctype HTML>\n<html><title>404", "download the file itself"),
    "a Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
        "git lfs pull",
    ),
    "a git-annex pointer": (b"/annex/objects/MD5E-s5--0123\n", "git annex get"),
    "hex digits": (BODY.hex().encode(), "xxd -r -p"),
    "JSON text": (b'{"message": "Not Found"}', "download the file itself"),
    "base64 text": (base64.encodebytes(BODY), "base64 --decode"),
    "base64 text of an OTA image": (base64.b64encode(PLAIN), "base64 --decode"),
    "a UF2 file": (b"UF2\nWQ]\x9e" + BODY, ".bin or .hex"),
    "an ELF file": (b"\x7fELF" + BODY, "objcopy -O binary"),
    "a ZIP archive": (zipped(), "unpack it"),
    "an office document": (b"PK\3\4".ljust(30, b"\0") + b"[Content_Types].xml", "CSV UTF-8"),
    "a gzip file": (gzip.compress(BODY), "gunzip"),
    "a tar archive": (tarred(), "unpack it"),
    "an XML file": (b"<?xml version='1.0'?><a/>", "firmware's own file"),
    "a PDF document": (b"\xef\xbb\xbf%PDF-1.7\n\xe2\xe3", "firmware's own file"),
    "a RAR archive": (b"Rar!\x1a\x07\x01\0" + BODY, "unpack it"),
    "an lz4 file": (b"\x04\x22\x4d\x18" + BODY, "unpack it"),
    "an ar archive": (b"!<arch>\n" + BODY, "unpack it"),
    "a program for a computer": (b"MZ\x90\0" + BODY, "unpack it"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + BODY, "firmware's own file"),
    "a DFU file": (BODY + b"\xff" * 8 + b"UFD\x10" + bytes(4), "dfu-suffix"),
    "a server's answer": (b"404: Not Found", "download the file itself"),
    "an OTA image that was saved as UTF-8 text": (
        PLAIN.decode("latin-1").encode(),
        "as binary",
    ),
    "what a text tool has left of an OTA image": (
        PLAIN.decode("utf-8", "replace").encode(),
        "as binary",
    ),
    "text": (b"00000000: 1ef1 ee0b 0001 3c00 ......<.\n" * 9, "firmware's own file"),
}
SPELLINGS = {
    "an XML file": [
        b"\xef\xbb\xbf<?xml version='1.0'?><a/>",
        b"\n <?xml version='1.0'?><a/>",
        b"<Error><Code>AccessDenied</Code></Error>",
        b'<sr:Request xmlns:sr="u"/>',
        "\ufeff<?xml version='1.0'?><a/>".encode("utf-16-le"),
    ],
    "JSON text": [b"[]", b"{}", b'{\n  "a": 1}', b'\xef\xbb\xbf{"a":1}', b'[{"a":1}]'],
    "an HTML page": [b"<!-- saved -->\n<html>", b"\xef\xbb\xbf<HTML>"],
    "a ZIP archive": [b"PK\5\6" + bytes(18), b"PK\7\x08PK\3\4"],
    "text ('; notes')": [b"; notes\n\n: a list\n# and what else there is to say, by hand\n" * 2],
    "hex digits": [
        BODY.hex(" ").upper().encode(),
        b", ".join(b"%02x" % o for o in BODY[:64]),
        BODY[:64].hex("\n").encode(),
    ],
    "an office document": [
        b"PK\3\4" + bytes(26) + b"docProps/app.xml [Content_Types].xml",
        b"PK\3\4" + bytes(26) + b"Index/Document.iwa",
    ],
    "text ('one line, as long as a paragra')": [b"one line, as long as a paragraph " * 9],
    "a server's answer": [b"Not Found\n", b"HTTP/1.1 200 OK\r\n\r\n", b"error: 403 Forbidden"],
}


@pytest.mark.parametrize(
    ("name", "data"), [(name, data) for name, some in SPELLINGS.items() for data in some]
)
def test_a_kind_of_file_is_known_however_it_begins(name: str, data: bytes) -> None:
    assert looks_like(data) == name


@pytest.mark.parametrize("name", OTHERS)
def test_each_kind_of_file_has_its_words_and_is_not_wrapped(here: Path, name: str) -> None:
    data, helps = OTHERS[name]
    error = refused(data)
    assert f"looks like {name}" in error.what
    assert helps in error.next_step
    assert "image build" not in error.next_step
    assert "{" not in error.next_step
    Path("file").write_bytes(data)
    build_it = ("build", "file", "--type", "PPMID", "--version", "1", "-o", "o.ota")
    with pytest.raises(HanlabError, match=f"file is {name}") as e:
        run(*build_it)
    assert helps in e.value.next_step
    assert not Path("o.ota").exists()
    run(*build_it, "--as-is")
    assert read_image("o.ota").body == data


@pytest.mark.parametrize(
    ("data", "command"),
    [
        (base64.encodebytes(BODY), "base64 --decode 'my fw.txt' > 'my fw-firmware.bin'"),
        (base64.b64encode(PLAIN), "base64 --decode 'my fw.txt' > 'my fw-firmware.ota'"),
        (BODY.hex().encode(), "xxd -r -p 'my fw.txt' > 'my fw-firmware.bin'"),
        (b"/annex/objects/MD5E-s5--0123\n", "git annex get 'my fw.txt'"),
        (b"\x7fELF" + BODY, "objcopy -O binary 'my fw.txt' 'my fw-firmware.bin'"),
    ],
)
def test_a_next_step_names_the_file_as_a_shell_wants_it(
    here: Path, data: bytes, command: str
) -> None:
    Path("my fw.txt").write_bytes(data)
    with pytest.raises(HanlabError) as built:
        run("build", "my fw.txt", "--type", "PPMID", "--version", "1", "-o", "o.ota")
    with pytest.raises(HanlabError) as pushed:
        read_image("my fw.txt")
    for error in (built.value, pushed.value):
        assert error.next_step.startswith(command)


@pytest.mark.parametrize("data", [bytes(64), b"\xff" * 64, b"\xff" * 32 + bytes(8), b"\0"])
def test_octets_that_are_nobodys_firmware_are_not_wrapped(here: Path, data: bytes) -> None:
    """Erased flash, or a file that nobody has written to."""
    Path("file").write_bytes(data)
    build_it = ("build", "file", "--type", "PPMID", "--version", "1", "-o", "o.ota")
    with pytest.raises(HanlabError, match="file has nothing in it but octets 00 and FF"):
        run(*build_it)
    assert not Path("o.ota").exists()
    run(*build_it, "--as-is")
    assert read_image("o.ota").body == data


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xe9\x05\x02\x20" + BODY, "an ESP32 application image"),
        (b"\x3d\xb8\xf3\x96" + BODY, "an MCUboot image"),
        (b"\xeb\x17\xa6\x03" + BODY, "a Silicon Labs GBL file"),
    ],
)
def test_boot_loaders_files_are_named_and_wrapped(here: Path, data: bytes, name: str) -> None:
    error = refused(data)
    assert f"looks like {name}" in error.what
    assert "hanlab image build FILE --lab" in error.next_step
    Path("file.bin").write_bytes(data)
    run("build", "file.bin", "--type", "PPMID", "--version", "1", "-o", "o.ota")
    assert read_image("o.ota").body == data


@pytest.mark.parametrize(
    "data", [b"", b"firmware", BODY, b"\xe9\xff\xff", b"S0S0", b":1", b"A" * 10, bytes(100)]
)
def test_other_octets_look_like_nothing(data: bytes) -> None:
    assert looks_like(data) == ""


# -- Intel HEX and S-records


def text_of(kind: str, *parts: tuple[int, bytes]) -> str:
    file = bincopy.BinFile()
    for address, octets in parts:
        file.add_binary(octets, address=address)
    return str(file.as_ihex() if kind == "hex" else file.as_srec())


@pytest.mark.parametrize("kind", ["hex", "srec"])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8-sig"])
def test_hex_and_srec_are_converted(here: Path, kind: str, encoding: str) -> None:
    text = text_of(kind, (0x0800_0000, BODY), (0x0800_1000, b"tail")).replace("\n", "\r\n")
    Path(f"fw.{kind}").write_text(text, encoding, newline="")
    result = run("build", f"fw.{kind}", "--type", "PPMID", "--version", "1", "-o", "o.ota")
    assert read_image("o.ota").body == BODY.ljust(0x1000, b"\xff") + b"tail"
    assert (
        "4,100 octets from address 0x8000000, gaps of 3,496 octets filled with FF" in result.stderr
    )
    note = json.loads(
        run(
            "build", f"fw.{kind}", "--type", "PPMID", "--version", "1", "-o", "p.ota", "--json"
        ).stdout
    )
    assert note["note"].startswith("converted from")


@pytest.mark.parametrize("kind", ["hex", "srec"])
@pytest.mark.parametrize(
    "saved",
    [
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.lower().encode(),
        lambda text: (text + "\x1a").encode(),
        lambda text: text.encode().ljust(4096, b"\0"),
        lambda text: text.replace("\n", " \r\n\r\n").encode("utf-16"),
        lambda text: ("\n\r\n" + text).encode(),
        lambda text: ("; fw 1.2\r\n\r\n# built\n//x\n-- y\n" + text + ";PIC18F4520\n").encode(),
        lambda text: text.replace("\n", " // 00000> 3@..:A//\n").encode(),  # avrdude's format I
    ],
)
def test_hex_and_srec_are_converted_however_they_are_saved(
    kind: str, saved: Callable[[str], bytes]
) -> None:
    assert firmware_from(saved(text_of(kind, (0x8000, BODY))), "fw").octets == BODY


def test_two_builds_in_one_hex_file_are_told() -> None:
    text = text_of("hex", (0x8000, BODY))
    with pytest.raises(ImageError, match="two records for the same address"):
        firmware_from((text + text).encode(), "fw")


@pytest.mark.parametrize("kind", ["hex", "srec"])
def test_a_damaged_hex_file_is_one_sentence_with_its_line(kind: str) -> None:
    lines = text_of(kind, (0, BODY)).splitlines()
    wrong = lines[3][:-1] + ("0" if lines[3][-1] != "0" else "1")
    with pytest.raises(ImageError, match=r"fw: line 4, .* is no record") as e:
        firmware_from("\n".join([*lines[:3], wrong, *lines[4:]]).encode(), "fw")
    assert "\n" not in e.value.what
    with pytest.raises(ImageError, match=r"fw: line 6, .* is no record"):
        firmware_from("\n".join(["; 1", "", *lines[:3], wrong, *lines[4:]]).encode(), "fw")
    with pytest.raises(ImageError, match="fw is cut short: its last line is no end record"):
        firmware_from("\n".join(lines[:-3]).encode(), "fw")


def test_parts_far_from_each_other_are_no_image() -> None:
    text = text_of("hex", (0, BODY), (0x1000_1000, b"uicr"))
    with pytest.raises(ImageError, match=r"0x0 \(600 octets\), 0x10001000 \(4 octets\)") as e:
        firmware_from(text.encode(), "fw.hex")
    assert "-crop 0x0 0x258" in e.value.next_step


# -- Zigbee's layout


@pytest.mark.parametrize("for_ch", [None, "Secure"])
def test_zigpy_reads_what_is_built_with_the_zigbee_layout(for_ch: str | None) -> None:
    """zigpy's parser is others' code: what it makes of our files is what the Zigbee world does."""
    zigpy = importlib.import_module("zigpy.ota.image")
    image = build(BODY, device_type="PPMID", version="IHDAE06", for_ch=for_ch, layout="zigbee")
    read, rest = zigpy.parse_ota_image(image.to_bytes())
    assert rest == b""
    (element,) = read.subelements
    assert element.tag_id == zigpy.ElementTagId.UPGRADE_IMAGE
    assert bytes(element.data) == image.manufacturer_image
    assert read.header.image_type == 0x0084
    assert read.header.image_size == len(image.to_bytes())
    assert read.header.minimum_hardware_version == 0
    assert read.serialize() == image.to_bytes()


def test_both_layouts_have_one_hash_and_the_device_finds_it(here: Path) -> None:
    gbcs = build(BODY, device_type="PPMID", version="IHDAE06", for_ch="Secure")
    zigbee = build(BODY, device_type="PPMID", version="IHDAE06", for_ch="Secure", layout="zigbee")
    assert zigbee.manufacturer_image_hash == gbcs.manufacturer_image_hash
    assert OtaImage.from_bytes(zigbee.to_bytes()) == zigbee
    Path("fw.bin").write_bytes(BODY)
    given = ("build", "fw.bin", "--type", "PPMID", "--version", "IHDAE06", "-o", "z.ota")
    built = run(*given, "--layout", "zigbee").stdout
    assert "header 60 + sub-element 6 + firmware 600" in built
    assert inspect(Path("z.ota").read_bytes()).layout == "ZCL sub-elements"
    for wrong in (("--layout", "zip"), ("--layout", "zigbee", "--trailer")):
        with pytest.raises(UsageError, match="layout"):
            run(*given, *wrong, "--force")


# -- the version is in what is hashed


def test_made_up_firmware_of_two_versions_has_two_hashes(here: Path) -> None:
    first: dict[str, Any] = {"device_type": "PPMID", "version": "IHDAE06"}
    others: list[dict[str, Any]] = [
        {"version": "IHDAE07"},
        {"device_type": "ESME"},
        {"hardware": (1, 2)},
        {"manufacturer": 1},
        {"file_version": 1},
    ]
    hashes = {
        build(made_body(500), **{**first, **other}).manufacturer_image_hash
        for other in [{}, *others]
    }
    assert len(hashes) == len(others) + 1
    again = build(made_body(500), **first)
    assert again == build(made_body(500), **first)
    assert len(again.body) == 500
    no_boot = build(made_body(500, boots=False), **first)
    assert no_boot.body.startswith(b"hanlab: does not boot\0")
    given = ("build", "--size", "1K", "--type", "PPMID")
    for version in ("IHDAE06", "IHDAE07"):
        run(*given, "--version", version, "-o", f"{version}.ota")
    six, seven = (read_image(f"{v}.ota") for v in ("IHDAE06", "IHDAE07"))
    assert six.manufacturer_image_hash != seven.manufacturer_image_hash


def test_the_firmware_of_an_ota_file_is_wrapped_anew(here: Path) -> None:
    Path("old.ota").write_bytes(PLAIN)
    given = ("build", "old.ota", "--type", "PPMID", "--version", "IHDAE07", "--for-ch", "Secure")
    assert "is an OTA image already" in run(*given, "-o", "new.ota").stderr
    assert (read_image("new.ota").body, read_image("new.ota").version) == (BODY, "IHDAE07")
    run(*given, "-o", "whole.ota", "--as-is")
    assert read_image("whole.ota").body == PLAIN
    Path("cut.ota").write_bytes(PLAIN[:-1])
    with pytest.raises(ImageError, match="is an OTA image already, but"):
        run("build", "cut.ota", *given[2:], "-o", "x.ota")
