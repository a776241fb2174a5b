"""TOML as hanlab's files have it: whatever the text is, it gives a table or a ValueError."""

from __future__ import annotations

import tomllib
from typing import Any, Final

_DEPTH: Final = 20
"""Tables and arrays inside each other; more than any file here has, far fewer than upset Python."""
_INTEGER: Final = range(-(1 << 63), 1 << 63)
"""TOML's integers; Python's own have no end, but cannot be printed beyond 4,300 digits."""


def parse_toml(text: str) -> dict[str, Any]:
    """The table that `text` is. Raises ValueError if it is none, or goes beyond TOML's bounds."""
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested without end") from None
    values: list[tuple[Any, int]] = [(table, 0)]
    while values:
        value, depth = values.pop()
        if isinstance(value, int) and value not in _INTEGER:
            raise ValueError("it has an integer of more than 64 bits")
        if isinstance(value, dict | list):
            if depth > _DEPTH:
                raise ValueError(f"it has more than {_DEPTH} tables inside each other")
            inner = value.values() if isinstance(value, dict) else value
            values += [(v, depth + 1) for v in inner]
    return table
