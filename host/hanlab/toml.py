"""TOML as hanlab's files have it: whatever the text is, it gives a table or a ValueError."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from datetime import date, datetime, time
from typing import Any, Final

from hanlab.errors import UsageError

_DEPTH: Final = 20
"""Tables and arrays inside each other; more than any file here has, far fewer than upset Python."""
_INTEGER: Final = range(-(1 << 63), 1 << 63)
"""TOML's integers; Python's own have no end, but cannot be printed beyond 4,300 digits."""
_TOO_LONG: Final = "it has an integer of more than 64 bits"

TOP: Final = ("seed", "keys", "october_2021", "wan_open", "join_rounding")
"""Settings of a lab.toml that belong to no table."""


def parse_toml(text: str) -> dict[str, Any]:
    """The table that `text` is, with or without a byte order mark as some editors put before it.

    Raises ValueError if it is none, or goes beyond TOML's bounds.
    """
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("it is nested without end") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's own bound of an integer's digits
        raise ValueError(_TOO_LONG) from None
    values: list[tuple[Any, int]] = [(table, 0)]
    while values:
        value, depth = values.pop()
        if isinstance(value, int) and value not in _INTEGER:
            raise ValueError(_TOO_LONG)
        if isinstance(value, dict | list):
            if depth > _DEPTH:
                raise ValueError(f"it has more than {_DEPTH} tables inside each other")
            inner = value.values() if isinstance(value, dict) else value
            values += [(v, depth + 1) for v in inner]
    return table


def shown(value: object) -> str:
    """A value in a sentence, as TOML writes it: true, 2026-12-31; a text in quotes."""
    match value:
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(shown, value))}]"
        case dict():
            return "a table"
    return repr(value)


def check_keys(table: Mapping[str, Any], where: str, known: Collection[str]) -> None:
    """Refuse what is none of the settings `known` of a lab.toml's table.

    Raises:
        UsageError: names the first that is unknown, and what there is; a setting of the whole file that
            stands below a table's head is that table's to TOML, and where it has to stand is said.
    """
    for key in table:
        if key in known:
            continue
        if key in TOP:
            raise UsageError(
                f"{where} has no setting {key!r}: TOML gives a line to the [table] that is above it",
                next_step=f"{key} is the whole file's: put it at the top, above the first [table]",
            )
        raise UsageError(
            f"{where} has no setting {key!r}", next_step=f"there are {', '.join(sorted(known))}"
        )
