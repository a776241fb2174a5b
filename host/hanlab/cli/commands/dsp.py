"""`hanlab dsp`: what an operator of the lab's DSP sees to; each change stands in the audit log."""

from __future__ import annotations

from typing import Annotated

import typer

from hanlab.cli.commands.options import JsonOption, LabFileOption

app = typer.Typer(no_args_is_help=True, help="The DSP's operator: users' counters.")


@app.command()
def counters(lab: LabFileOption = None, as_json: JsonOption = False) -> None:
    """Each Service User's last counter, and the next's bound."""
    from hanlab.cli import office

    office.counters(lab=lab, as_json=as_json)


@app.command()
def reset_counter(
    user: Annotated[str, typer.Argument(metavar="USER", help="A Service User, e.g. supplier.")],
    to: Annotated[
        int, typer.Option("--to", min=0, metavar="N", help="The counter to go on from.")
    ] = 0,
    lab: LabFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a Service User count from a lower counter again.

    Requests above it that were recorded can be sent again from then on.
    """
    from hanlab.cli import office

    office.reset_counter(user, to, lab=lab, as_json=as_json)
