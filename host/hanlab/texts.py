"""Texts as people's programs save and type them: their encodings, and what was probably meant."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Iterable

from hanlab.errors import UsageError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SHOWN = 20


def decoded(octets: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 as spreadsheets' "Unicode text" is.

    UTF-16 is known by its byte order mark, or by every other one of its first octets being 0.

    Raises:
        UsageError: it is neither; says in which line and where.
    """
    encoding = next((name for mark, name in _MARKS if octets.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in octets[:2] and octets[:4].count(0) == 2:
        encoding = "utf-16-be" if octets[0] == 0 else "utf-16-le"
    try:
        return octets.decode(encoding)
    except UnicodeDecodeError as e:
        before = octets[: e.start]
        line = before.count(b"\n") + 1
        around = octets[max(before.rfind(b"\n") + 1, e.start - _SHOWN) : e.start + _SHOWN]
        shown = repr(around.split(b"\n")[0].strip())[2:-1]  # control characters as \x..
        raise UsageError(
            f"line {line} has the octet 0x{octets[e.start]:02X}, which is no "
            f"{'UTF-8' if encoding.startswith('utf-8') else 'UTF-16'}: …{shown}…",
            next_step='save it again as UTF-8 (a spreadsheet calls it "CSV UTF-8")',
        ) from None


def folded(text: str) -> str:
    """`text` without case and blanks of any kind: what two names have in common that look alike."""
    return "".join(text.casefold().split())


def like(name: str, known: Iterable[str]) -> str:
    """What `name` was probably meant to be, ready to follow it: "; did you mean PPMID?", or ""."""
    by_fold = {folded(other): other for other in known}
    close = difflib.get_close_matches(folded(name), by_fold, n=1)
    return f"; did you mean {by_fold[close[0]]}?" if close else ""
