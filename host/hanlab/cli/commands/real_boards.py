"""`hanlab ports` and `hanlab flash`: boards at the computer's ports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hanlab.cli.commands.options import JsonOption, LabOption


def ports(
    ble: Annotated[
        bool, typer.Option("--ble", help="The boards around that advertise hanlab's BLE service.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is plugged in, who has it, and what runs on it."""
    from hanlab.cli.ports import run

    run(ble=ble, as_json=as_json)


def flash(
    port: Annotated[
        str | None,
        typer.Argument(
            metavar="PORT", help="The board's own USB. (default: the only one that it can be)"
        ),
    ] = None,
    lab: LabOption = None,
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Which board of the lab it is to be."),
    ] = None,
    micropython: Annotated[
        str | None,
        typer.Option(
            "--micropython",
            metavar="FILE|download",
            help="First MicroPython itself: a .uf2 or .bin file, or what mpflash gets.",
        ),
    ] = None,
    library: Annotated[
        Path | None,
        typer.Option(
            "--library",
            metavar="FOLDER",
            help="A checkout of micropython-lib, for a Pico. (default: from micropython.org)",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take over another lab's board; what it stored goes.")
    ] = False,
    sources: Annotated[
        bool, typer.Option("--sources", help="The firmware as .py files, not compiled.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a real board one of the lab: firmware, keys, MicroPython."""
    from hanlab.cli.flash import run

    run(
        port,
        lab=lab,
        name=name,
        micropython=micropython,
        library=library,
        force=force,
        sources=sources,
        as_json=as_json,
    )
