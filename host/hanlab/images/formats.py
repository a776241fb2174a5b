"""What files are that are no OTA image: how they are known by their first octets, and what helps.

People push what they have: a .hex, a ZIP, the page that a server sent in place of the file. Each has
its own words and its own next step. `FIRMWARE` formats are what a boot loader takes: an image may
hold them. The others no board can run.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hanlab.images.header import MAGIC

_LOOKED_AT: Final = 4096
"""Octets from the start that decide."""


@dataclass(frozen=True)
class Format:
    """A file format: "a ZIP archive". `next_step` says how to get firmware out of it, "" for `firmware`.

    `convertible`: `image build` makes a firmware body of it.
    """

    name: str
    next_step: str = ""
    convertible: bool = False

    @property
    def firmware(self) -> bool:
        """Whether a board could run its octets as they are."""
        return not self.next_step and not self.convertible


_PAGE: Final = "the server sent a page in place of the file: download the file itself (its raw or download link)"
_SPREADSHEET: Final = Format("an office document", 'save a list as "CSV UTF-8", and give that')
_UNPACK: Final = "unpack it, and give the .bin or .hex that is in it"

# Offset, octets there, the format.
_SIGNATURES: Final[tuple[tuple[int, bytes, Format], ...]] = (
    (0, b"UF2\n", Format("a UF2 file", "give the .bin or .hex that the same build makes")),
    (
        0,
        b"\x7fELF",
        Format(
            "an ELF file", "objcopy -O binary IN.elf OUT.bin, of its toolchain, makes a .bin of it"
        ),
    ),
    (30, b"[Content_Types].xml", _SPREADSHEET),
    (30, b"mimetypeapplication/vnd.oasis.opendocument", _SPREADSHEET),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _SPREADSHEET),
    (0, b"PK\x03\x04", Format("a ZIP archive", _UNPACK)),
    (0, b"\x1f\x8b\x08", Format("a gzip file", f"gunzip: {_UNPACK}")),
    (0, b"BZh", Format("a bzip2 file", f"bunzip2: {_UNPACK}")),
    (0, b"\xfd7zXZ", Format("an xz file", f"unxz: {_UNPACK}")),
    (0, b"\x28\xb5\x2f\xfd", Format("a zstd file", f"unzstd: {_UNPACK}")),
    (0, b"7z\xbc\xaf\x27\x1c", Format("a 7-Zip archive", _UNPACK)),
    (257, b"ustar", Format("a tar archive", _UNPACK)),
    (0, b"DfuSe", Format("a DfuSe file", "give the .bin or .hex that the same build makes")),
    (0, b"%PDF", Format("a PDF document", "give the firmware's own file")),
    (
        0,
        b"version https://git-lfs",
        Format("a Git LFS pointer", "git lfs pull fetches the file itself"),
    ),
    (
        0,
        b"-----BEGIN ",
        Format("PEM text", "that is a key or a certificate: give the firmware's file"),
    ),
    (
        0,
        b"<?xml",
        Format("an XML file", "give the firmware's own file, which it may only describe"),
    ),
    (0, b'{"', Format("JSON text", _PAGE)),
    (0, b"\xeb\x17\xa6\x03", Format("a Silicon Labs GBL file")),
    (0, b"\x00\x00\x00\x8c", Format("an Ember EBL file")),
    (0, b"\x2a\x00\x01", Format("Philips Hue's boot loader format")),
    (8, b"KNLT", Format("Telink firmware")),
    (0, b"\x3d\xb8\xf3\x96", Format("an MCUboot image")),
)

HEX: Final = Format("an Intel HEX file", convertible=True)
SREC: Final = Format("a Motorola S-record file", convertible=True)
_HTML: Final = Format("an HTML page", _PAGE)
_ESP: Final = Format("an ESP32 application image")
_BASE64: Final = Format("base64 text", "base64 --decode IN > OUT decodes it")
_BASE64_OTA: Final = Format(
    "base64 text of an OTA image", "base64 --decode IN > OUT.ota decodes it"
)


def _is_esp(head: bytes) -> bool:
    """Its magic, 1 to 16 segments, a flash mode and a flash size that there are."""
    return len(head) >= 24 and head[0] == 0xE9 and 1 <= head[1] <= 16 and head[2] <= 5


def _matches(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda head: compiled.match(head) is not None


_PATTERNS: Final[tuple[tuple[Callable[[bytes], bool], Format], ...]] = (
    (_matches(rb"(?:\xef\xbb\xbf)?\s*(?:<!doctype\s+html|<html|<head)"), _HTML),
    (_matches(rb"(?:\xef\xbb\xbf)?\s*:[0-9a-f]{8}(?:[0-9a-f]{2})+\s*(?:[\r\n]|$)"), HEX),
    (_matches(rb"(?:\xef\xbb\xbf)?\s*S[0-9][0-9a-f]{6}(?:[0-9a-f]{2})+\s*(?:[\r\n]|$)"), SREC),
    (_is_esp, _ESP),
)


def format_of(data: bytes, start: int = 0) -> Format | None:
    """The format that data[start:] begins like, None if it is none of those above."""
    for offset, octets, found in _SIGNATURES:
        if data.startswith(octets, start + offset):
            return found
    head = data[start : start + _LOOKED_AT]
    for matches, found in _PATTERNS:
        if matches(head):
            return found
    return _base64(head)


def looks_like(data: bytes, start: int = 0) -> str:
    """What data[start:] looks like by its first octets ("a UF2 file"), or ""."""
    found = format_of(data, start)
    return found.name if found else ""


def _base64(head: bytes) -> Format | None:
    text = b"".join(head.split())
    text = text[: len(text) // 4 * 4]
    if len(text) < 64 or len(head.split(maxsplit=1)[0]) < 32:
        return None
    mixed = re.search(rb"[a-z]", text) and re.search(rb"[A-Z]", text) and re.search(rb"[0-9]", text)
    try:
        octets = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    if octets.startswith(MAGIC):
        return _BASE64_OTA
    return _BASE64 if mixed else None
