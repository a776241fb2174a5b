"""Lists in files: TOML (an array of tables) or CSV (a header line, then a line each).

CSV as spreadsheets save it: UTF-8 or UTF-16 with a byte order mark, commas, semicolons or tabs, a
first line `sep=;`, blanks around the fields, rows and columns that are empty. What would have to be
guessed at is refused, with the line and the value.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from hanlab.errors import UsageError
from hanlab.images.formats import TEXT, looks_like
from hanlab.texts import INVISIBLE, decoded, like
from hanlab.toml import parse_toml

_T = TypeVar("_T")

LISTS: Final = (".toml", ".csv", ".tsv", ".txt")
"""How the names of list files end; all but the first are CSV."""
_DELIMITERS: Final = ",;\t|"
_BLANK: Final = (
    "".join(c for c in map(chr, range(0x3001)) if unicodedata.category(c) == "Zs")
    + "\t"
    + INVISIBLE
)
"""What is no part of a field at its ends: blanks of any kind, as the no-break space of web pages."""
_FILE_ENDS: Final = "\x1a\0"
"""What some tools leave at the end of a file."""
_SEP_LINE: Final = re.compile(r"""sep\s*=\s*(\\t|.)?[\s"]*[,;|\s"]*""", re.IGNORECASE)
_TEXT_FORMULA: Final = re.compile('="(.*)"')
"""How exports keep a spreadsheet from taking digits for a number."""
_MOST_OCTETS: Final = 64 * 1024 * 1024
"""Of a list; 100,000 entries have some 12 million."""
_NO_ALIASES: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class Row(Generic[_T]):
    """A thing that was read, and where: "cpl.csv: line 2"."""

    where: str
    thing: _T


def read_rows(
    path: Path,
    name: str,
    read: Callable[[Mapping[str, str]], _T],
    columns: Collection[str],
    optional: Collection[str],
    aliases: Mapping[str, str] = _NO_ALIASES,
) -> list[Row[_T]]:
    """`read` of each row of the file; `name` is the TOML array's. Empty fields are left out.

    `columns` are the keys there are, `optional` those that a row may lack; `aliases` are further names
    of columns in CSV, such as other systems' exports have.

    Raises:
        UsageError: the file cannot be read or is cut off, or `read` raised one; says which row.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(_MOST_OCTETS + 1)
    except OSError as e:
        raise UsageError(
            f"{path} cannot be read: {e.strerror}", next_step=f"a list is a {', '.join(LISTS)} file"
        ) from None
    if len(octets) > _MOST_OCTETS:
        raise UsageError(
            f"{path} has more than {_MOST_OCTETS:,} octets",
            next_step="a list is far smaller: check it",
        )
    is_toml = path.suffix.lower() == ".toml"
    try:
        text = decoded(octets)
        rows = list(_toml(text, name) if is_toml else _csv(text, columns, optional, aliases))
    except UsageError as e:
        seems = looks_like(octets)
        if seems and not seems.startswith(TEXT):
            raise UsageError(
                f"{path} is no list: it looks like {seems}",
                next_step='save the list as "CSV UTF-8", and give that',
            ) from None
        raise UsageError(f"{path}: {e.what}", next_step=e.next_step) from None
    if not rows:
        wanted = f"write [[{name}]]" if is_toml else f"there are {', '.join(columns)}"
        raise UsageError(
            f"{path} is empty: it has no {name}" + ("" if is_toml else " under a header line"),
            next_step=wanted,
        )
    things = []
    for where, row in rows:
        try:
            things.append(Row(f"{path}: {where}", read(_texts(row))))
        except UsageError as e:
            raise UsageError(f"{path}: {where}: {e.what}", next_step=e.next_step) from None
    return things


def no_row_twice(
    rows: Sequence[Row[_T]], key: Callable[[_T], object], shown: Callable[[_T], object] = str
) -> list[_T]:
    """The things of `rows`, if no two have the same key; else UsageError with both places."""
    first: dict[object, Row[_T]] = {}
    for row in rows:
        if earlier := first.get(key(row.thing)):
            same = earlier.thing == row.thing
            raise UsageError(
                f"{row.where} has {shown(row.thing)} again, which is in "
                f"{earlier.where.rpartition(': ')[2]}"
                + ("" if same else ", and they contradict each other"),
                next_step="leave one of them out"
                if same
                else "find out which is right, and keep that",
            )
        first[key(row.thing)] = row
    return [row.thing for row in rows]


# -- CSV


def _csv(
    text: str, columns: Collection[str], optional: Collection[str], aliases: Mapping[str, str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The rows with their lines, as texts by column."""
    text = text.rstrip(_FILE_ENDS)
    whole = text.endswith(("\n", "\r"))  # or the file may be what a writer that died left behind
    rows = _fields(text)
    try:
        line, header = next(rows)
    except StopIteration:
        return
    names = _column_names(line, header, columns, aliases)
    ends: set[str] = set()  # what the lines before end with
    last: tuple[int, list[str]] | None = None
    for row in rows:
        if last:
            yield f"line {last[0]}", _row(*last, names, optional)
            ends.add(last[1][-1])
        last = row
    if last:
        if not whole:
            _refuse_cut_off(*last, names, ends)
        yield f"line {last[0]}", _row(*last, names, optional)


def _refuse_cut_off(line: int, fields: list[str], names: list[str], ends: set[str]) -> None:
    """UsageError if the last line, which has no end, is as a writer that died leaves one behind."""
    named = max((at for at, name in enumerate(names, 1) if name), default=0)
    short = len(fields) < named or not fields[-1]
    if short or any(end != fields[-1] and end.startswith(fields[-1]) for end in ends):
        raise UsageError(
            f"line {line}: the file ends in the middle of it, after {fields[-1]!r}",
            next_step="complete it, and end it with a new line",
        )


def _fields(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, each with its number, its fields without blanks around them."""
    first, *_ = text.splitlines() or [""]
    skipped = 0
    if said := _sep_line(first):
        delimiter = "\t" if said[1] in (None, "\\t") else said[1]
        text = text[len(first) :].lstrip("\r\n")
        skipped = 1
    else:
        header = next((line for line in text.splitlines() if line.strip(_BLANK)), "")
        delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    begun = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as e:
            raise UsageError(
                f"line {begun + skipped} cannot be read as CSV: {e}", next_step="check its quotes"
            ) from None
        if fields is None:
            return
        fields = [_without_formula(field.strip(_BLANK)) for field in fields]
        if any(fields):
            yield begun + skipped, fields
        begun = reader.line_num + 1


def _sep_line(first: str) -> re.Match[str] | None:
    """The first line if it says what separates the fields: `sep=;`, also with empty fields behind it."""
    return _SEP_LINE.fullmatch(first.strip(_BLANK + '"'))


def _without_formula(field: str) -> str:
    found = _TEXT_FORMULA.fullmatch(field)
    return found[1] if found else field


def _letters(name: str) -> str:
    """What is left of a column's name whichever way it is written: "Device-Type:" is "device_type"."""
    return "".join(c for c in name.casefold() if c.isalnum())


def _column_names(
    line: int, header: list[str], columns: Collection[str], aliases: Mapping[str, str]
) -> list[str]:
    """The header line's names as `columns` writes them; "" for a column without one."""
    known = {_letters(name): name for name in columns} | {
        _letters(alias): name for alias, name in aliases.items()
    }
    names = [known.get(_letters(name), name) for name in header]
    for name, number in Counter(names).items():
        if name and number > 1:
            raise UsageError(
                f"line {line} has the column {name} {number} times",
                next_step="leave one of them out, or give it the name that it should have",
            )
        if name and name not in columns:
            raise UsageError(
                f"line {line}: {name!r} is unknown{like(name, columns)}",
                next_step=f"the first line names the columns; there are {', '.join(columns)}",
            )
    return names


def _row(
    line: int, fields: list[str], names: list[str], optional: Collection[str]
) -> Mapping[str, str]:
    """A line's fields by column.

    Spreadsheets leave empty fields at a line's end out, so the other columns of a short line are
    empty.
    """
    if short := [name for name in names[len(fields) :] if name and name not in optional]:
        raise UsageError(
            f"line {line} has {len(fields)} of {len(names)} fields and ends with {fields[-1]!r}: "
            f"{short[0]} is missing",
            next_step="complete it",
        )
    for at, field in enumerate(fields):
        if field and (at >= len(names) or not names[at]):
            raise UsageError(
                f"line {line} has {field!r} in field {at + 1}, for which the first line has no name",
                next_step=f"it has {len([n for n in names if n])} columns: {', '.join(names)}; "
                "a text with the separator in it stands in quotes",
            )
    return {name: field for name, field in zip(names, fields, strict=False) if name}


# -- TOML


def _toml(text: str, name: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    try:
        data = parse_toml(text)
    except ValueError as e:
        raise UsageError(
            f"it is no TOML: {e}", next_step="put it right there; texts stand in quotes"
        ) from None
    rows = data.get(name, [])
    if (
        set(data) - {name}
        or not isinstance(rows, list)
        or not all(isinstance(row, Mapping) for row in rows)
    ):
        raise UsageError(
            f"it has to have [[{name}]] and nothing else",
            next_step=f"begin each with a line [[{name}]]",
        )
    for number, row in enumerate(rows, 1):
        yield f"{name} {number}", row


def _texts(row: Mapping[Any, Any]) -> dict[str, str]:
    texts = {}
    for key, value in row.items():
        if isinstance(value, date):
            value = value.isoformat()
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, str):
            raise UsageError(
                f"{key} = {value!r} is no text",
                next_step=f'put quotes around what stands there in the file: {key} = "…"',
            )
        if value := value.strip(_BLANK):
            texts[key] = value
    return texts
