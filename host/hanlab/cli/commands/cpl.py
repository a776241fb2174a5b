"""`hanlab cpl`: the Central Products List of a lab's DSP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hanlab.cli.commands.options import JsonOption, LabFileOption

app = typer.Typer(
    invoke_without_command=True,
    help="The CPL: which firmware versions may be used. Alone: show it.",
)


@app.callback()
def show(context: typer.Context, lab: LabFileOption = None, as_json: JsonOption = False) -> None:
    if context.invoked_subcommand is None:
        from hanlab.cli import cpl_entries

        cpl_entries.show(lab=lab, as_json=as_json)


@app.command()
def add(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|VERSION",
            help="An OTA file, a list of entries (.toml, .csv, .tsv, .txt), or a version that was "
            "withdrawn or expired, to list it again.",
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="VERSION of that Device Model only.")
    ] = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="List an OTA file that no device of this lab takes.")
    ] = False,
    lab: LabFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List products, as their manufacturer would.

    An OTA file is listed for every Device Model of the lab that takes it; if there is none, all that
    speaks against it is said.
    """
    from hanlab.cli import cpl_entries

    cpl_entries.add(what, model, anyway=anyway, lab=lab, as_json=as_json)


@app.command()
def withdraw(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="As DUIS writes it.")],
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Only that Device Model's entry.")
    ] = "",
    lab: LabFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a version off the CPL; what runs it is Suspended."""
    from hanlab.cli import cpl_entries

    cpl_entries.withdraw(version, model, lab=lab, as_json=as_json)
