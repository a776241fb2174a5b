"""Standard output and error as they are: an encoding with no arrows, a reader that has gone."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Final

_PLAIN: Final = {
    "→": ">",
    "…": "~",
    "✓": "+",
    "✗": "!",
    "█": "#",
    "▒": "%",
    "░": ".",
    "■": "#",
    "✕": "x",
    "▕": "|",
    "▏": "|",
    "━": "=",
    "─": "-",
    "µ": "u",
}
"""One ASCII character for each that hanlab draws with, so that columns stay columns."""


def prepare() -> None:
    """Make printing safe: what the encoding does not have is drawn in ASCII (a name's octets as ?)."""
    codecs.register_error("hanlab", _draw_plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="hanlab")


def flush() -> None:
    """Write what is still buffered, so that a failure is seen while it can be reported."""
    if sys.stdout is not None:
        sys.stdout.flush()


def settle() -> None:
    """Flush; what cannot be written (nobody reads it, the disk is full) goes nowhere."""
    try:
        flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _draw_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wanted = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in wanted), error.end
