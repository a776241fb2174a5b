"""`hanlab dsp`: what an operator of the lab's DSP sees to; each change stands in the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The DSP's operator: users' counters.")
_Lab = Annotated[Path | None, typer.Option("--lab", metavar="FILE", help="A lab.toml.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command()
def counters(lab: _Lab = None, as_json: _Json = False) -> None:
    """Each Service User's last counter, and the next's bound."""
    from hanlab.cli import office

    office.counters(lab=lab, as_json=as_json)


@app.command()
def reset_counter(
    user: Annotated[str, typer.Argument(metavar="USER", help="A Service User, e.g. supplier.")],
    to: Annotated[
        int, typer.Option("--to", min=0, metavar="N", help="The counter to go on from.")
    ] = 0,
    lab: _Lab = None,
    as_json: _Json = False,
) -> None:
    """Let a Service User count from a lower counter again.

    Requests above it that were recorded can be sent again from then on.
    """
    from hanlab.cli import office

    office.reset_counter(user, to, lab=lab, as_json=as_json)
