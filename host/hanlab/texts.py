"""Texts as people's programs save and type them: their encodings, and what was probably meant."""

from __future__ import annotations

import codecs
import difflib
import unicodedata
from collections.abc import Iterable

from hanlab.errors import UsageError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"))
_SHOWN = 20
_TAB = 9
_LOOKED_AT = 512
INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
"""Characters of no width, which come along when a text is copied from a web page or a document."""
_FULL_WIDTH = range(0xFF01, 0xFF5F)
_LIKE_LATIN = ("CYRILLIC", "GREEK")


def decoded(octets: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 as spreadsheets' "Unicode text" is.

    UTF-16 is known by its byte order mark, or by every other one of its first octets being 0.

    Raises:
        UsageError: it is neither; says in which line and where.
    """
    for mark, name in _OTHERS:
        if octets.startswith(mark):
            raise UsageError(f"it is in {name}", next_step="save it again as UTF-8")
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


def is_text(octets: bytes) -> bool:
    """Whether it can be meant for one, in whatever encoding; an image has control characters at once."""
    marked = octets.startswith(tuple(mark for mark, _ in (*_MARKS, *_OTHERS)))
    return marked or not any(o < _TAB for o in octets[:_LOOKED_AT])


def folded(text: str) -> str:
    """`text` without case, width, blanks and what is not seen: what two names have in common that look
    alike."""
    seen = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in seen if c.isprintable() and not c.isspace())


def misleading(text: str) -> str:
    """What in a name cannot be seen or looks like something else, in words; "" if nothing does."""
    if text.isascii() and text.isprintable():
        return ""
    for at, c in enumerate(text, 1):
        if not c.isprintable() or ord(c) in _FULL_WIDTH:
            return _character(c, at)
    for at, c in enumerate(text, 1):
        if _script(c) in _LIKE_LATIN and any(_script(other) == "LATIN" for other in text):
            return _character(c, at)
    return ""


def refuse_misleading(name: str, text: str) -> None:
    """UsageError for a `text` called `name` that is not what it looks like."""
    if found := misleading(text):
        plain = made_plain(text)
        raise UsageError(
            f"{name} {text!r} has {found}",
            next_step=f"write {plain!r}, if that is meant"
            if plain != text
            else "type it anew: it looks like a Latin letter, and is none",
        )


def made_plain(text: str) -> str:
    """`text` with blanks in place of other white space, and without what is not seen."""
    seen = unicodedata.normalize("NFKC", text)
    return " ".join("".join(c if c.isprintable() else " " * c.isspace() for c in seen).split())


def _character(c: str, at: int) -> str:
    name = unicodedata.name(c, "a control character")
    return f"U+{ord(c):04X} ({name}) as character {at}"


def _script(c: str) -> str:
    return unicodedata.name(c, "?").split()[0] if c.isalpha() else ""


def like(name: str, known: Iterable[str]) -> str:
    """What `name` was probably meant to be, ready to follow it: "; did you mean PPMID?", or ""."""
    by_fold = {folded(other): other for other in known}
    close = difflib.get_close_matches(folded(name), by_fold, n=1)
    return f"; did you mean {by_fold[close[0]]}?" if close else ""
