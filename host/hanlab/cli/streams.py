"""Standard output and error as they are: an encoding with no arrows, a reader that has gone."""

from __future__ import annotations

import codecs
import io
import os
import shutil
import sys
import textwrap
from typing import Final, TextIO

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
    """Make printing safe: what the encoding does not have is drawn in ASCII (a name's octets as ?).

    A closed standard stream goes nowhere; else the next file that is opened would take its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    # Python has None for them, which is no stream to libraries that log
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    codecs.register_error("hanlab", _draw_plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="hanlab")


def flush() -> None:
    """Write what is still buffered, so that a failure is seen while it can be reported."""
    if sys.stdout is not None:
        sys.stdout.flush()


def complain(text: str, *, on_stdout: bool = False) -> None:
    """Print what went wrong: on standard error, or on standard output if that takes it.

    Where neither takes anything the exit code has to do.
    """
    streams = [sys.stdout, sys.stderr] if on_stdout else [sys.stderr]
    for stream in streams:
        try:
            if stream is not None:
                print(text, file=stream, flush=True)
                return
        except OSError:
            _nowhere(stream)


def between_words(line: str) -> str:
    """A sentence for a terminal, which itself breaks lines within words; elsewhere it stays one line.

    A command that is to be pasted is not for this.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return line
    width = max(40, shutil.get_terminal_size().columns)
    return "\n".join(
        textwrap.wrap(
            line,
            width,
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
            replace_whitespace=False,
        )
    )


def settle() -> None:
    """Flush; what cannot be written (nobody reads it, the disk is full) goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _nowhere(stream)


def _nowhere(stream: TextIO) -> None:
    """What is still in its buffer, and all that follows, is thrown away."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _draw_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wanted = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in wanted), error.end
