"""Commands that take a device onto a HAN, off it, and to another."""

from __future__ import annotations

from typing import Annotated

import typer

from hanlab.cli.commands.options import DeviceArgument, JsonOption, LabOption, MinutesOption


def join(
    device: DeviceArgument,
    to: Annotated[
        str | None, typer.Option("--to", metavar="HOME", help="The home; by default its own.")
    ] = None,
    minutes: MinutesOption = 5,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a device onto a CH's HAN, and wait for it.

    Sends 12.2 if the inventory does not have it, 8.11, and 8.7.2 (a meter: 8.1.1) when it has joined.
    """
    from hanlab.cli import joining

    joining.join(device, to, minutes, lab=lab, as_json=as_json)


def leave(
    device: DeviceArgument,
    decommission: Annotated[
        bool, typer.Option("--decommission", help="For good: 8.3 after the 8.11.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a device off its CH's HAN (8.11 Remove)."""
    from hanlab.cli import joining

    joining.leave(device, decommission=decommission, lab=lab, as_json=as_json)


def move(
    device: DeviceArgument,
    to: Annotated[str, typer.Option("--to", metavar="HOME", help="The home it moves to.")],
    minutes: MinutesOption = 5,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a device to another home: leave, then join."""
    from hanlab.cli import joining

    joining.move(device, to, minutes, lab=lab, as_json=as_json)
