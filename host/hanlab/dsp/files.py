"""Lists in files: TOML (an array of tables) or CSV (a header line, then a line each)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from hanlab.errors import UsageError
from hanlab.toml import parse_toml

_T = TypeVar("_T")


def read_rows(path: Path, name: str, read: Callable[[Mapping[str, str]], _T]) -> list[_T]:
    """`read` of each row of the file; `name` is the TOML array's. Empty CSV fields are left out.

    Raises:
        UsageError: the file cannot be read or is cut off, or `read` raised one; says which row.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is no UTF-8 text"
        raise UsageError(
            f"{path} cannot be read: {reason}", next_step="a list is a .toml or a .csv file"
        ) from None
    rows = _csv(text) if path.suffix.lower() == ".csv" else _toml(text, path, name)
    if not rows:
        raise UsageError(f"{path} is empty", next_step=f"write [[{name}]], or CSV lines")
    things = []
    for number, row in enumerate(rows, 1):
        try:
            things.append(read(_texts(row)))
        except UsageError as e:
            raise UsageError(f"{path}: {name} {number}: {e.what}", next_step=e.next_step) from None
    return things


def _csv(text: str) -> list[Mapping[Any, Any]]:
    try:
        rows: list[Mapping[Any, Any]] = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as e:
        raise UsageError(f"the CSV cannot be read: {e}", next_step="check its quotes") from None
    if rows and not text.endswith("\n"):
        # what a writer that died in the middle of a line leaves behind
        rows[-1] = {**rows[-1], None: ["the file ends in the middle of a line"]}
    return rows


def _toml(text: str, path: Path, name: str) -> list[Mapping[Any, Any]]:
    try:
        data = parse_toml(text)
    except ValueError as e:
        raise UsageError(
            f"{path} is no TOML: {e}", next_step="put it right there; texts stand in quotes"
        ) from None
    rows = data.get(name, [])
    if (
        set(data) - {name}
        or not isinstance(rows, list)
        or not all(isinstance(row, Mapping) for row in rows)
    ):
        raise UsageError(f"{path} has to have [[{name}]] and nothing else", next_step="see README")
    return rows


def _texts(row: Mapping[Any, Any]) -> dict[str, str]:
    texts = {}
    for key, value in row.items():
        if key is None:
            raise UsageError(
                f"more fields than the header line has, or {value[0]!r}",
                next_step="every line has as many fields as the first, and ends with a new line",
            )
        if value is None:
            raise UsageError(f"{key} is missing: the line is cut off", next_step="complete it")
        if isinstance(value, date):
            value = value.isoformat()
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, str):
            raise UsageError(f"{key} = {value!r} is no text", next_step=f'{key} = "{value}"')
        if value:
            texts[key] = value
    return texts
