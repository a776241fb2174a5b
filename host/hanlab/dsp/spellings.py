"""Hashes and days as tools and spreadsheets write them, and what was probably meant by a wrong one."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Final

from hanlab.texts import INVISIBLE

_IN_HASHES: Final = re.compile(
    rf"^['`]|^sha-?256\s*[:=(]|\b0x|[\s:_{INVISIBLE}-]|\)$", re.IGNORECASE
)
"""What stands around the digits of a hash; the apostrophe is a spreadsheet's, for "this is text"."""


def read_hash(text: str) -> bytes:
    """A hash in hex, as tools print them: with SHA256: or 0x before it, or colons, dashes, blanks in it.

    ValueError if it is not 32 octets.
    """
    octets = bytes.fromhex(_IN_HASHES.sub("", text))
    if len(octets) != 32:
        raise ValueError
    return octets


_NUMBER: Final = re.compile(r"[0-9.,]+[eE][+-]?[0-9]+")
_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY_OF_YEAR: Final = re.compile(
    rf"[0-9]{{1,2}}-{_MONTH}|{_MONTH}-[0-9]{{1,2}}|[0-9]{{1,2}}/[0-9]{{1,2}}/[0-9]{{2}}"
)


def read_version(text: str) -> str:
    """The text, without a spreadsheet's apostrophe; ValueError for what a spreadsheet has made of another one."""
    if version_hint(text):
        raise ValueError
    return text.removeprefix("'")


def version_hint(text: str) -> str:
    """What has become of a version in a spreadsheet, ready to follow it; "" if it may be as it was."""
    for pattern, what in ((_NUMBER, "number"), (_DAY_OF_YEAR, "day")):
        if pattern.fullmatch(text):
            return f": a spreadsheet has taken it for a {what}"
    return ""


def hash_hint(text: str) -> str:
    """What may have become of a text that is no hash, ready to follow it."""
    if _NUMBER.fullmatch(text):
        return ": a spreadsheet has taken it for a number, and its other digits are lost"
    return f": it has {len(text)} characters"


def read_day(text: str) -> date:
    """A day such as 2026-12-31; ValueError for any other text."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        raise ValueError
    return date.fromisoformat(text)


_SPREADSHEETS_DAY_0: Final = date(1899, 12, 30)
_SPREADSHEETS_DAYS: Final = range(36_526, 73_051)  # of 2000 to 2099


def day_hint(text: str) -> str:
    """What day a text may mean, ready to follow it."""
    if text.isdecimal() and text.isascii() and len(text) == 5 and int(text) in _SPREADSHEETS_DAYS:
        return f": as a spreadsheet counts days it is {_SPREADSHEETS_DAY_0 + timedelta(int(text))}"
    meant = sorted({day for pattern in _DAYS for day in _day_by(pattern, text)})
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


_DAYS: Final = (
    *("%Y-%m-%d", "%Y/%m/%d"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %B %Y"),
)
"""How spreadsheets write days."""
_TIME: Final = re.compile(r"[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9:]+)?$")


def _day_by(pattern: str, text: str) -> list[str]:
    """What day `text` is by `pattern`, with or without a time behind it: one or none."""
    dated = _TIME.sub("", text)
    for written in (dated, dated.replace(".", "/").replace("-", "/")):
        try:
            return [datetime.strptime(written, pattern).date().isoformat()]
        except ValueError:
            continue
    return []
