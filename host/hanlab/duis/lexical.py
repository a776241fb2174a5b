"""What the text of an element or attribute may be, by its XML Schema type; decided here alone.

The types are those of the DUIS schema's elements (XML Schema part 2: datatypes). Most collapse the white
space around them; white space is XML's four characters, digits are ASCII's.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final, Generic, TypeVar

T = TypeVar("T")

WHITE: Final = " \t\r\n"
"""XML's white space; str.isspace() knows more characters, such as the no-break space."""
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True)
class XsType(Generic[T]):
    """A datatype: its name, what its text looks like without the white space around it, its value.

    `convert` raises ValueError or OverflowError for a text that looks right and has no value, such
    as the 30th of February.
    """

    name: str
    pattern: re.Pattern[str]
    convert: Callable[[str], T]

    def read(self, text: str) -> T:
        """The value that `text` stands for.

        Raises:
            ValueError: it stands for none; says of which type.
        """
        collapsed = text.strip(WHITE)
        try:
            if self.pattern.fullmatch(collapsed):
                return self.convert(collapsed)
        except (ValueError, OverflowError):
            pass
        shown = collapsed if len(collapsed) <= 40 else f"{collapsed[:40]}…"
        raise ValueError(f"is no {self.name}: {shown!r}")


def _date_time(text: str) -> datetime:
    """In UTC, to the microsecond; without a zone it is UTC, DUIS's only one."""
    match = DATE_TIME.pattern.fullmatch(text)
    assert match
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, zone = match[7] or "", match[8]
    microsecond = int(fraction[:6].ljust(6, "0"))
    midnight = hour == 24
    if midnight and (minute or second or fraction.strip("0")):
        raise ValueError("24 is midnight alone")
    when = datetime(
        year, month, day, 0 if midnight else hour, minute, second, microsecond, _zone(zone)
    )
    return (when + timedelta(days=midnight)).astimezone(UTC)


def _date(text: str) -> date:
    match = DATE.pattern.fullmatch(text)
    assert match
    _zone(match[4])
    return date(int(match[1]), int(match[2]), int(match[3]))


def _zone(text: str | None) -> timezone:
    """`Z`, nothing, or up to 14 hours east or west."""
    if text in (None, "Z"):
        return UTC
    assert text
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:]))
    if offset > timedelta(hours=14) or int(text[4:]) > 59:
        raise ValueError("no place is that far from Greenwich")
    return timezone(-offset if text[0] == "-" else offset)


_DAY: Final = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_ZONE: Final = r"(Z|[+-][0-9]{2}:[0-9]{2})?"

TOKEN: Final = XsType("xs:token", re.compile(r"[^\t\r\n]*"), str)
BOOLEAN: Final = XsType("xs:boolean", re.compile("true|false|1|0"), lambda t: t in ("true", "1"))
INTEGER: Final = XsType("xs:integer", re.compile("[+-]?[0-9]+"), int)
DECIMAL: Final = XsType("xs:decimal", re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"), Decimal)
HEX_BINARY: Final = XsType("xs:hexBinary", re.compile("([0-9A-Fa-f]{2})*"), bytes.fromhex)
DATE_TIME: Final = XsType(
    "xs:dateTime",
    re.compile(_DAY + r"T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?" + _ZONE),
    _date_time,
)
DATE: Final = XsType("xs:date", re.compile(_DAY + _ZONE), _date)


def base64_binary(text: str) -> bytes:
    """The octets of an xs:base64Binary: white space may stand anywhere in it, and nothing else may.

    It is no XsType because a regular expression over 14 million characters would take too long.

    Raises:
        ValueError: another character, a group that is not whole, padding that is not at the end, or
            bits in the last group that belong to no octet (the datatype's lexical rule).
    """
    try:
        compact = text.encode("ascii").translate(None, WHITE.encode())
    except UnicodeEncodeError as e:
        raise ValueError(f"is no xs:base64Binary: {text[e.start]!r} is in it") from None
    if not _BASE64.fullmatch(compact):
        other = re.search(rb"[^A-Za-z0-9+/=]|=(?=[^=])", compact) or re.search(rb"===", compact)
        what = chr(other[0][0]) if other else "="
        raise ValueError(f"is no xs:base64Binary: {what!r} is in it")
    if len(compact) % 4:
        raise ValueError("is no xs:base64Binary: its last group has not four characters")
    octets = binascii.a2b_base64(compact, strict_mode=True)
    last = octets[len(octets) - ((len(octets) - 1) % 3 + 1) :] if octets else b""
    if binascii.b2a_base64(last, newline=False) != compact[-4:] * bool(compact):
        raise ValueError("is no xs:base64Binary: its last group has bits that belong to no octet")
    return octets
