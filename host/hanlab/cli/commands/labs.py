"""Commands of a lab: demos, boards that stay up, cuts of the power, a lab.toml to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hanlab.cli.commands.options import ImpairOption, JsonOption, LabOption, PcapOption
from hanlab.errors import UsageError


def demo(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One demo; without it: a tour.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name every demo, a line each.")] = False,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", metavar="FILE", help="Your own OTA file, through each --ch to its device."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="N|96K", help="With --image: octets of each CH's image store."),
    ] = None,
    hubs: Annotated[
        list[str] | None,
        typer.Option(
            "--ch",
            metavar="MODEL",
            help="With --image: a CH of `hanlab boards`, as often as you like. (default: both)",
        ),
    ] = None,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an update that works, and the ways in which updates fail."""
    if list_:
        from hanlab.cli.demo_list import list_demos

        list_demos(as_json=as_json)
    elif image or store or hubs:
        from hanlab.cli import demos

        if image is None or name is not None:
            raise UsageError(
                f"--image is a demo of its own, and {name} another one"
                if image
                else "--store and --ch are for a demo of your own --image",
                next_step="hanlab demo --image FILE --store 96K --ch skyline-i510 --ch am110r",
            )
        demos.run_own(image, hubs or [], store, pcap=pcap, impair=impair, as_json=as_json)
    else:
        from hanlab.cli import demos

        demos.run(name, pcap=pcap, impair=impair, as_json=as_json)


def up(
    lab: LabOption = None,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    open_wan: Annotated[
        bool,
        typer.Option(
            "--open-wan", help="Let any SMP client upload and reset, not only read and echo."
        ),
    ] = False,
    tcp: Annotated[
        str | None,
        typer.Option(
            "--tcp",
            metavar="[HOST:]PORT",
            help="TCP ports instead of PTYs, from this one on; without a host for this computer alone.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON as soon as the boards answer.")
    ] = False,
) -> None:
    """Keep the boards up until Ctrl-C, each one's UART on a PTY.

    In real time, so that any SMP tool can attach.
    """
    from hanlab.cli.up import run

    run(lab=lab, pcap=pcap, impair=impair, open_wan=open_wan, tcp=tcp, as_json=as_json)


def sweep(
    lab: LabOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="DEVICE", help="The device that is updated; hub: the CH itself."
        ),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option("--join", metavar="DEVICE", help="Not an update: that device joins its HAN."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|16K|1M", help="Octets of the firmware in the update. (default: 16K)"
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            metavar="hub|device|both",
            help="Only cuts that meet the CH alone, the device alone, or all boards and the host.",
        ),
    ] = None,
    every: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="One cut in N, by chance, of each kind of cut on each board."
        ),
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of --every's choice. (default: the lab's)")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="CUT", help="One cut again, e.g. hub:torn:12 or PPMID:after:3:both."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes at once. (default: one each core)"),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the result to this file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Cut the power at every flash operation of an update or a join.

    And look what is lost; in a lab of its own, on emulated boards.
    """
    from hanlab.cli.sweep import run

    run(
        lab=lab,
        to=to,
        join=join,
        size=size,
        which=board,
        every=every,
        seed=seed,
        only=only,
        processes=jobs,
        picture=svg,
        as_json=as_json,
    )


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to. (default: here)", show_default=False)
    ] = Path(),
    homes: Annotated[
        int | None,
        typer.Option("--homes", metavar="N", min=1, max=500, help="A lab of so many homes."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a lab.toml with comments, and sample Service Requests."""
    from hanlab.cli import begin

    begin.init(folder, homes, as_json=as_json)


def new_test(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file, e.g. tests/test_ppmid.py.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Write a first pytest file for boards."""
    from hanlab.cli import new_test as first_test

    first_test.new_test(file, as_json=as_json)


def reset(lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Forget what the lab's boards and its DSP hold; keys stay.

    Real boards keep what is on them.
    """
    from hanlab.cli import begin

    begin.reset(lab=lab, as_json=as_json)


def boards(as_json: JsonOption = False) -> None:
    """The board types and Device Models that a lab.toml can name."""
    from hanlab.cli import catalogue

    catalogue.show(as_json=as_json)
