"""Firmware as build tools write it, made into the octets that a board runs: Intel HEX and S-records."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hanlab.images.errors import ImageError
from hanlab.images.formats import COMMENT, HEX, SREC, format_of
from hanlab.images.ota import DUIS_IMAGE_LIMIT
from hanlab.texts import decoded

_FILL: Final = 0xFF
"""What flash has between the parts of a file: erased."""
_BLANK: Final = {0x00, _FILL}
_ENDS: Final = {HEX.name: (":00000001",), SREC.name: ("S5", "S6", "S7", "S8", "S9")}
"""What the record begins with that ends a file, without which it is cut short."""

_RECORDS: Final = (".hex", ".ihex", ".ihx", ".srec", ".s19", ".s28", ".s37", ".mot")
"""How the names of such files end."""

_FILE_ENDS: Final = " \t\r\n\x1a\0"
"""What some tools leave at the end of a text file, with DOS's Ctrl-Z and blocks of zeros."""


@dataclass(frozen=True)
class Firmware:
    """A firmware body; `note` says what was done for it."""

    octets: bytes
    note: str = ""


def firmware_from(data: bytes, name: str) -> Firmware:
    """The firmware in the file `name` whose octets are `data`, converted if it is text.

    Raises:
        ImageError: it is a file of a kind that no board runs, or damaged; says what helps.
    """
    found = format_of(data)
    if found is None and name.lower().endswith(_RECORDS):
        raise ImageError(
            f"{name} has no Intel HEX or S-records in it, which its name promises",
            next_step="give the .bin of the same build; or --as-is, to wrap its octets as they are",
        )
    if found is None or found.firmware:
        if data and not set(data) - _BLANK:
            raise ImageError(
                f"{name} has nothing in it but octets 00 and FF: no firmware, but flash that nobody has written",
                next_step="read or build it again; or --as-is, to wrap its octets as they are",
            )
        return Firmware(data)
    if not found.convertible:
        raise ImageError(
            f"{name} is {found.name}: no board runs that",
            next_step=f"{found.way_out(shlex.quote(name))}; or --as-is, to wrap its octets as they are",
        )
    return _converted(data, name, found.name)


def _converted(data: bytes, name: str, kind: str) -> Firmware:
    import bincopy

    text = decoded(data).removeprefix("\ufeff").rstrip(_FILE_ENDS).upper()
    lines = [re.split(COMMENT, line, maxsplit=1)[0].strip() for line in text.splitlines()]
    last = next(line for line in reversed(lines) if line)
    if not last.startswith(_ENDS[kind]):
        raise ImageError(
            f"{name} is cut short: its last line is no end record, but {last[:20]!r}",
            next_step="copy or build it again",
        )
    file = bincopy.BinFile()
    add, unpack = (
        (file.add_ihex, bincopy.unpack_ihex)
        if kind == HEX.name
        else (file.add_srec, bincopy.unpack_srec)
    )
    try:
        add("\n".join(filter(None, lines)))
    except bincopy.AddDataError:
        raise ImageError(
            f"{name} has two records for the same address",
            next_step="give the file of one build, not several in one",
        ) from None
    except (bincopy.Error, ValueError, IndexError) as e:
        raise ImageError(
            f"{name}: {_damaged_line(lines, unpack) or e}", next_step="copy or build it again"
        ) from None
    parts = [(segment.address, len(segment.data)) for segment in file.segments]
    if not parts:
        raise ImageError(f"{name} has no data records", next_step="build it again")
    start, size = file.minimum_address, file.maximum_address - file.minimum_address
    if size > DUIS_IMAGE_LIMIT:
        tool = "intel" if kind == HEX.name else "motorola"
        where = ", ".join(f"0x{address:X} ({length:,} octets)" for address, length in parts[:8])
        raise ImageError(
            f"{name} has parts that lie too far from each other for one image: {where}",
            next_step=f"keep the firmware's alone: srec_cat {shlex.quote(name)} -{tool} -crop 0x{start:X} "
            f"0x{start + parts[0][1]:X} -o OUT.hex -intel",
        )
    gaps = size - sum(length for _, length in parts)
    filled = f", gaps of {gaps:,} octets filled with FF" if gaps else ""
    note = f"converted from {kind}: {size:,} octets from address 0x{start:X}{filled}"
    return Firmware(bytes(file.as_binary(padding=bytes([_FILL]))), note)


def _damaged_line(lines: list[str], unpack: Callable[[str], Any]) -> str:
    """Which of `lines` is no record, and why; "" if each one is, or empty."""
    import bincopy

    for number, line in enumerate(lines, 1):
        try:
            if line:
                unpack(line)
        except (bincopy.Error, ValueError, IndexError) as e:
            return f"line {number}, {line[:40]!r}, is no record: {e}"
    return ""
