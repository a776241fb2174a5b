"""What ends a command other than well, as its reader wants it: a sentence with the next step, or JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, Final

from hanlab.cli import hints, streams
from hanlab.errors import STOPPED, CarriedOn, HanlabError, UsageError

_AFTER_CTRL_C: Final = {
    "push": "run it again: it goes on where it stopped",
    "activate": "hanlab version DEVICE shows what it runs; if that is the old version, run it again",
    "sweep": "run it again: its boards are its own and are gone; --every N or --only CUT tries fewer cuts",
    "demo": "run it again: its boards are its own and are gone",
    "serve": "run it again: what was acknowledged and is not done is done then",
    "up": "run it again: the boards' flash stays",
}
"""What a user does after Ctrl-C in a command; in any other there is nothing that goes on."""


def fail(error: HanlabError, *, as_json: bool, lab: str = "") -> int:
    """Print an error as its reader wants it; the exit code. `lab` is what `--lab` said."""
    next_step = hints.with_lab(error.next_step, lab)
    cause = getattr(error, "cause", None)
    if as_json:
        report: dict[str, Any] = {"error": error.what, "next_step": next_step}
        if outcome := getattr(error, "outcome", None):
            report["outcome"] = str(outcome)
        if code := getattr(error, "code", None):
            report["code"] = code
        if cause:
            report["cause"] = {"what": cause.what, "outcome": getattr(cause, "outcome", None)}
        report.update(error.besides)
        streams.complain(json.dumps(report), on_stdout=True)
    else:
        lines = [streams.between_words(f"hanlab: {error.what}")]
        lines += [streams.between_words(f"  cause: {cause.what}")] if cause else []
        lines += [f"  next: {next_step}"] if next_step else []
        streams.complain("\n".join(lines))
    return error.exit_code


def stopped(by: KeyboardInterrupt, arguments: Sequence[str]) -> UsageError:
    """Ctrl-C ended the command that `arguments` name."""
    command = next((a for a in arguments if not a.startswith("-")), "")
    next_step = _AFTER_CTRL_C.get(command, "run it again")
    if isinstance(by, CarriedOn):
        next_step = by.next_step
    return UsageError(STOPPED, next_step=next_step)


def of_the_system(error: OSError) -> UsageError:
    """What the operating system refused."""
    where = f"{error.filename}: " if error.filename else ""
    return UsageError(
        f"{where}{error.strerror or error}",
        next_step="check that it is there, may be written to and has room",
    )


def shown(usage: Any) -> str:
    """A usage error as Typer shows it."""
    shown = io.StringIO()
    usage.show(file=shown)
    return shown.getvalue().rstrip()
