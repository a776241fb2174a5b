"""Next steps that can be pasted: with the lab that was given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

_LAB: Final = "--lab"
_ON_A_LAB: Final = (
    "push|version|activate|store|devices|events|join|leave|move|request|provision|flash|sign|serve|inventory|alerts|audit|up"
    "|sweep|reset|requests(?: (?:cancel|resume))?|dsp [a-z-]+|cpl(?: (?:add|withdraw))?"
)
_COMMAND: Final = re.compile(rf"\bhanlab (?:{_ON_A_LAB})(?![\w-])")
_BARE: Final = re.compile(rf"{_LAB}(?= -|$)")
"""Without a FILE: the lab that this is about."""
_END: Final = re.compile(r"hanlab |[,;`]")
"""Where a command in a sentence is over."""


def given_lab(arguments: Sequence[str]) -> str:
    """The value of `--lab` on a command line; empty: there is none."""
    for number, argument in enumerate(arguments):
        if argument == _LAB and number + 1 < len(arguments):
            return arguments[number + 1]
        if argument.startswith(f"{_LAB}="):
            return argument.partition("=")[2]
    return ""


def with_lab(text: str, lab: str) -> str:
    """`text` with `--lab` in each command that it names, so that it can be pasted."""
    if not lab:
        return text
    option = f"{_LAB} {shlex.quote(lab)}"
    text = _BARE.sub(option, text)

    def named(found: re.Match[str]) -> str:
        rest = _END.split(text[found.end() :], maxsplit=1)[0]
        return found[0] if _LAB in rest else f"{found[0]} {option}"

    return _COMMAND.sub(named, text)


def say_next(out: Console, text: str, lab: object) -> None:
    """Print the next step after something that went well."""
    out.print(f"  next: {with_lab(text, str(lab or ''))}", soft_wrap=True)
