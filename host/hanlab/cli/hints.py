"""Next steps that really help here: with the lab that was given, and with what is odd about it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hanlab.errors import HanlabError
from hanlab.files import board_log

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from hanlab.lab.config import LabConfig

_LAB: Final = "--lab"
_ON_A_LAB: Final = (
    "push|version|activate|store|devices|events|join|leave|move|request|provision|sign|serve|inventory|alerts|audit|up"
    "|sweep|reset|requests(?: (?:cancel|resume))?|dsp [a-z-]+|cpl(?: (?:add|withdraw))?"
)
_COMMAND: Final = re.compile(rf"\bhanlab (?:{_ON_A_LAB})(?![\w-])")
_BARE: Final = re.compile(rf"{_LAB}(?= -|$)")
"""Without a FILE: the lab that this is about."""
_END: Final = re.compile(r"hanlab |[,;`]")
"""Where a command in a sentence is over."""
_SILENT: Final = ("no-contact", "no-answer", "silent")


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


def help_here(error: HanlabError, config: LabConfig, folder: Path, device: str = "") -> None:
    """Give `error` the next step of this lab, if a board is silent: emulated ones are always on.

    `config` has what `--impair` says, too; `folder` is the lab's state, `device` the name of whom the request was for.
    """
    from hanlab.wan.errors import NoAnswer

    failure = getattr(error, "cause", None) or error
    silent = str(getattr(failure, "outcome", "")) in _SILENT or isinstance(failure, NoAnswer)
    if not silent or config.is_real:
        return
    if device and config.node(device).stranger:
        error.next_step = (
            f"take stranger = true of {device} out of lab.toml: it has another HAN's key"
        )
    elif config.wan.any or config.han.any:
        spoilt = "; ".join(
            f"{name} {wire}"
            for name, wire in (("wan", config.wan), ("han", config.han))
            if wire.any
        )
        error.next_step = f"without --impair (or [wan], [han] in lab.toml) it answers; now {spoilt}"
    else:
        for node in config.nodes:
            log = board_log(folder, node.name)
            printed = log.read_text(errors="replace").splitlines() if log.exists() else []
            if printed:
                error.next_step = (
                    f"board {node.name} printed {printed[-1]!r}, which may be why; see {log}"
                )
                return
