"""`hanlab requests`: what was accepted and has not ended."""

from __future__ import annotations

from typing import Annotated

import typer

from hanlab.cli.commands.options import JsonOption, LabFileOption

app = typer.Typer(
    invoke_without_command=True,
    help="Service Requests that were accepted and have not ended. Alone: list them.",
)


@app.callback()
def show(context: typer.Context, lab: LabFileOption = None, as_json: JsonOption = False) -> None:
    if context.invoked_subcommand is None:
        from hanlab.cli import pending_requests

        pending_requests.show(lab=lab, as_json=as_json)


@app.command()
def cancel(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Its RequestID, as the list has it.")],
    lab: LabFileOption = None,
    as_json: JsonOption = False,
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
    lab: LabFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out what is overdue, in the order in which it fell due."""
    from hanlab.cli import pending_requests

    pending_requests.resume(id_, lab=lab, as_json=as_json)
