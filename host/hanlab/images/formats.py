"""What files are that are no OTA image: how they are known by their first octets, and what helps.

People push what they have: a .hex, a ZIP, the page that a server sent in place of the file. Each has
its own words and its own next step. `FIRMWARE` formats are what a boot loader takes: an image may
hold them. The others no board can run.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from hanlab.images.header import MAGIC

_LOOKED_AT: Final = 4096
"""Octets from the start that decide."""


@dataclass(frozen=True)
class Format:
    """A file format: "a ZIP archive". `next_step` says how to get firmware out of {file}, "" for `firmware`.

    `convertible`: `image build` makes a firmware body of it.
    """

    name: str
    next_step: str = ""
    convertible: bool = False

    @property
    def firmware(self) -> bool:
        """Whether a board could run its octets as they are."""
        return not self.next_step and not self.convertible

    def way_out(self, file: str) -> str:
        """`next_step` for that file, whose name is quoted as a shell wants it; what comes of it lies beside it."""
        name = PurePath(shlex.split(file)[0])
        new = {
            ending: shlex.quote(str(name.with_name(f"{name.stem}-firmware.{ending}")))
            for ending in ("bin", "ota")
        }
        return self.next_step.format(file=file, **new)


_DOWNLOAD: Final = "download the file itself (its raw or download link)"
_PAGE: Final = f"the server sent a page in place of the file: {_DOWNLOAD}"
_SPREADSHEET: Final = Format("an office document", 'save a list as "CSV UTF-8", and give that')
_UNPACK: Final = "unpack it, and give the .bin, .hex or .ota that is in it"
_ITS_OWN: Final = "give the firmware's own file"
_AGAIN: Final = "copy or download it again, as binary"
_ZIP: Final = Format("a ZIP archive", _UNPACK)
_PDF: Final = Format("a PDF document", _ITS_OWN)
_PICTURE: Final = Format("a picture", _ITS_OWN)
_PROGRAM: Final = Format(
    "a program for a computer", "the firmware may be in it: install or unpack it"
)

# Offset, octets there, the format.
_SIGNATURES: Final[tuple[tuple[int, bytes, Format], ...]] = (
    (0, b"UF2\n", Format("a UF2 file", "give the .bin or .hex that the same build makes")),
    (
        0,
        b"\x7fELF",
        Format(
            "an ELF file",
            "objcopy -O binary {file} {bin}, of its toolchain, makes a .bin of it",
        ),
    ),
    (30, b"[Content_Types].xml", _SPREADSHEET),
    (30, b"mimetypeapplication/vnd.oasis.opendocument", _SPREADSHEET),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _SPREADSHEET),
    (0, b"PK\x03\x04", _ZIP),
    (0, b"PK\x05\x06", _ZIP),
    (0, b"PK\x07\x08", _ZIP),
    (0, b"\x1f\x8b\x08", Format("a gzip file", f"gunzip: {_UNPACK}")),
    (0, b"BZh", Format("a bzip2 file", f"bunzip2: {_UNPACK}")),
    (0, b"\xfd7zXZ", Format("an xz file", f"unxz: {_UNPACK}")),
    (0, b"\x28\xb5\x2f\xfd", Format("a zstd file", f"unzstd: {_UNPACK}")),
    (0, b"7z\xbc\xaf\x27\x1c", Format("a 7-Zip archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", Format("a RAR archive", _UNPACK)),
    (0, b"MSCF\0\0\0\0", Format("a cabinet file", _UNPACK)),
    (0, b"\x04\x22\x4d\x18", Format("an lz4 file", f"unlz4: {_UNPACK}")),
    (0, b"\x5d\0\0\x80\0", Format("an lzma file", f"unlzma: {_UNPACK}")),
    (0, b"\x1f\x9d\x90", Format("a compress (.Z) file", f"uncompress: {_UNPACK}")),
    (0, b"!<arch>\n", Format("an ar archive or a library", _UNPACK)),
    (257, b"ustar", Format("a tar archive", _UNPACK)),
    (0, b"MZ\x90\0", _PROGRAM),
    (0, b"\xcf\xfa\xed\xfe", _PROGRAM),
    (0, b"\x89PNG\r\n\x1a\n", _PICTURE),
    (0, b"\xff\xd8\xff", _PICTURE),
    (0, b"SQLite format 3\0", Format("an SQLite database", _ITS_OWN)),
    (0, b"\x1e\xc3\xb1\xc3\xae\x0b", Format("an OTA image that was saved as UTF-8 text", _AGAIN)),
    (
        0,
        b"\x1e\xef\xbf\xbd\xef\xbf\xbd\x0b",
        Format("what a text tool has left of an OTA image", _AGAIN),
    ),
    (0, b"DfuSe", Format("a DfuSe file", "give the .bin or .hex that the same build makes")),
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
    (0, b"\xeb\x17\xa6\x03", Format("a Silicon Labs GBL file")),
    (0, b"\x00\x00\x00\x8c", Format("an Ember EBL file")),
    (0, b"\x2a\x00\x01", Format("Philips Hue's boot loader format")),
    (8, b"KNLT", Format("Telink firmware")),
    (0, b"\x3d\xb8\xf3\x96", Format("an MCUboot image")),
)

HEX: Final = Format("an Intel HEX file", convertible=True)
SREC: Final = Format("a Motorola S-record file", convertible=True)
_HTML: Final = Format("an HTML page", _PAGE)
_XML: Final = Format("an XML file", "give the firmware's own file, which it may only describe")
_ANSWER: Final = Format("a server's answer", _PAGE)
_JSON: Final = Format("JSON text", _PAGE)
_DFU: Final = Format(
    "a DFU file", "dfu-suffix --delete {file} takes the 16 octets off that are no firmware"
)
_ESP: Final = Format("an ESP32 application image")
_ANNEX: Final = Format("a git-annex pointer", "git annex get {file} fetches the file itself")
_DIGITS: Final = Format("hex digits", "xxd -r -p {file} > {bin} makes octets of them")
_BASE64: Final = Format("base64 text", "base64 --decode {file} > {bin} decodes it")
_BASE64_OTA: Final = Format(
    "base64 text of an OTA image", "base64 --decode {file} > {ota} decodes it"
)


def _is_esp(head: bytes) -> bool:
    """Its magic, 1 to 16 segments, a flash mode and a flash size that there are."""
    return len(head) >= 24 and head[0] == 0xE9 and 1 <= head[1] <= 16 and head[2] <= 5


def _matches(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return lambda head: compiled.match(head) is not None


_REFUSALS: Final = (
    b"not found|access denied|forbidden|unauthori[sz]ed|bad request|bad gateway|too many requests"
)
COMMENT: Final = r"(?:;|#|//|--)"
"""What begins a comment in a file of records: a line that vendors put in front or at the end, and avrdude's
`I` format behind each record."""
_RECORD: Final = rb"(?:%b[^\r\n]*[\r\n]\s*)*%%b(?:[0-9a-f]{2})+\s*(?:[\r\n]|$|%b)" % (
    COMMENT.encode(),
    COMMENT.encode(),
)
# What texts begin with, white space and a byte order mark aside.
_TEXTS: Final[tuple[tuple[Callable[[bytes], bool], Format], ...]] = (
    (_matches(rb"(?:<!--.{0,500}?-->\s*)*(?:<!doctype\s+html|<html|<head)"), _HTML),
    (_matches(rb"<\?xml|<(?:[a-z_][\w.-]*:)?[a-z_][\w.-]*[\s/>]"), _XML),
    (_matches(rb'\{\s*["}]|\[[\[\s]*[{"\]\d-]'), _JSON),
    (
        _matches(rb"HTTP/\d|(?:error:?\s*)?(?:[45]\d\d\b.{0,3}\s*)?(?:%s)(?:\W|$)" % _REFUSALS),
        _ANSWER,
    ),
    (_matches(rb"%PDF"), _PDF),
    (_matches(rb"(?:/annex/objects/|(?:\.\./)*\.git/annex/objects/)"), _ANNEX),
    (_matches(rb"(?:[0-9a-f]{2}[\s,:]*){64,}[0-9a-f]?$"), _DIGITS),
    (_matches(_RECORD % rb":[0-9a-f]{8}"), HEX),
    (_matches(_RECORD % rb"S[0-9][0-9a-f]{6}"), SREC),
)
_UTF16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_SHORTEST_TEXT: Final = 64
_SHORTEST_LINE: Final = 256
TEXT: Final = "text "
"""What the name of a format begins with that is nothing but text."""
_IN_OFFICE_FILES: Final = (b"[Content_Types].xml", b"opendocument", b"Index/Document.iwa")


def format_of(data: bytes, start: int = 0) -> Format | None:
    """The format that data[start:] begins like, None if it is none of those above."""
    for offset, octets, found in _SIGNATURES:
        if data.startswith(octets, start + offset):
            office = found is _ZIP and any(name in data for name in _IN_OFFICE_FILES)
            return _SPREADSHEET if office else found
    if data[-8:-4] == b"UFD\x10" and len(data) - start >= 16:
        return _DFU
    head = _in_utf8(data[start : start + _LOOKED_AT])
    bare = head.lstrip()
    for matches, found in _TEXTS:
        if matches(bare):
            return found
    return _ESP if _is_esp(head) else _base64(head) or _text(head)


def _in_utf8(head: bytes) -> bytes:
    """`head` without a byte order mark, which may be one of UTF-16."""
    if encoding := _UTF16.get(head[:2]):
        return head[2:].decode(encoding, "replace").encode()
    return head.removeprefix(codecs.BOM_UTF8)


def _text(head: bytes) -> Format | None:
    """What people read is no firmware: notes, a hex dump, another tool's format.

    A short text may be what somebody tries things with.
    """
    lines = head.strip().splitlines()
    if len(head) < _SHORTEST_TEXT or (len(lines) < 2 and len(head) < _SHORTEST_LINE):
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    if not all(c.isprintable() or c in "\t\r\n\f" for c in text):
        return None
    return Format(f"{TEXT}({lines[0][:30].decode('utf-8', 'replace')!r})", _ITS_OWN)


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
