"""The octets of an XML document as UTF-8, whatever encoding they came in; XML has two for everybody.

What the rest of hanlab looks at are these octets alone, so that nothing hides in another encoding.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_DECLARED: Final = re.compile(
    rb"""<\?xml[ \t\r\n][^>]{0,200}?encoding[ \t\r\n]*=[ \t\r\n]*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']"""
)
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_UTF16: Final = frozenset({"utf-16", "utf16", "utf-16le", "utf-16be"})
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNMARKED: Final = (
    (re.compile(rb"<\0[^\0]\0|\0<\0[^\0]"), "UTF-16 without a byte order mark"),
    (re.compile(rb"<\0\0\0|\0\0\0<"), "UTF-32"),
    (re.compile(rb"\x4c\x6f\xa7\x94"), "EBCDIC"),
)
"""How a document begins that is in another encoding and has no mark (XML 1.0, appendix F)."""


def as_utf8(octets: bytes) -> bytes:
    """The same document in UTF-8, without a byte order mark.

    Raises:
        ValueError: it is in an encoding that not every XML processor has, or not in the one that it
            says; says which.
    """
    for mark, name in _MARKS:
        if octets.startswith(mark):
            if name != "utf-16":
                raise ValueError(f"is in {name}")
            return _from_utf16(octets)
    for beginning, name in _UNMARKED:
        if beginning.match(octets):
            raise ValueError(f"is in {name}")
    octets = octets.removeprefix(codecs.BOM_UTF8)
    _check_declared(octets, _UTF8, "UTF-8")
    return octets


def _from_utf16(octets: bytes) -> bytes:
    try:
        utf8 = octets.decode("utf-16").encode()
    except UnicodeDecodeError as e:
        raise ValueError(f"is no UTF-16: {e.reason} at octet {e.start:,}") from None
    _check_declared(utf8, _UTF16, "UTF-16")
    return utf8


def _check_declared(utf8: bytes, allowed: frozenset[str], actual: str) -> None:
    declared = _DECLARED.match(utf8)
    if declared and (name := declared[1].decode().lower()) not in allowed:
        raise ValueError(f"says that it is in {name}, and begins as {actual} does")
