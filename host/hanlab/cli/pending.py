"""`hanlab requests`: what was accepted and has not ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    invoke_without_command=True,
    help="Service Requests that were accepted and have not ended. Alone: list them.",
)
_Lab = Annotated[Path | None, typer.Option("--lab", metavar="FILE", help="A lab.toml.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.callback()
def show(context: typer.Context, lab: _Lab = None, as_json: _Json = False) -> None:
    if context.invoked_subcommand is None:
        from hanlab.cli import pending_requests

        pending_requests.show(lab=lab, as_json=as_json)


@app.command()
def cancel(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Its RequestID, as the list has it.")],
    lab: _Lab = None,
    as_json: _Json = False,
) -> None:
    """Take one back; it is never carried out, and its user gets an alert."""
    from hanlab.cli import pending_requests

    pending_requests.cancel(id_, lab=lab, as_json=as_json)


@app.command()
def resume(
    id_: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Only it and what falls due before it, at its date."),
    ] = None,
    lab: _Lab = None,
    as_json: _Json = False,
) -> None:
    """Carry out what is overdue, in the order in which it fell due."""
    from hanlab.cli import pending_requests

    pending_requests.resume(id_, lab=lab, as_json=as_json)
