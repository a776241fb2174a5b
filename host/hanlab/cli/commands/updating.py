"""Commands of an image's way into a device: 11.1, 11.2, 11.3, and the boards that they meet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hanlab.cli.commands.options import (
    DEVICE,
    AsOption,
    DeviceArgument,
    DirectOption,
    HomeOption,
    ImpairOption,
    JsonOption,
    LabOption,
    PcapOption,
    PrintDuisOption,
)


def push(
    image: Annotated[
        Path,
        typer.Argument(metavar="IMAGE", help="An OTA file; `hanlab image build` makes one."),
    ],
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="DEVICE",
            help="A device by its name, EUI-64 or type; or several (--to A --to B, --to 'oak/*'): one 11.1 for all.",
        ),
    ],
    lab: LabOption = None,
    direct: DirectOption = False,
    user: AsOption = "",
    print_duis: PrintDuisOption = False,
    cut: Annotated[
        str,
        typer.Option(
            metavar="BOARD@N%",
            help="The power of a board fails for a second, e.g. PPMID@43% or hub@43%.",
        ),
    ] = "",
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.1 Update Firmware: an image through the CH to a device.

    Stopped half-way, the same command goes on where it stopped.
    """
    from hanlab.cli import requests
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        requests.push(
            image,
            to,
            lab=lab,
            pcap=pcap,
            impair=impair,
            direct=direct,
            user=user,
            print_duis=print_duis,
            cut=cut,
            as_json=as_json,
        )


def version(
    device: DeviceArgument,
    lab: LabOption = None,
    direct: DirectOption = False,
    user: AsOption = "",
    print_duis: PrintDuisOption = False,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.2 Read Firmware Version: what the device itself answers."""
    from hanlab.cli import requests
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        requests.version(
            device,
            lab=lab,
            pcap=pcap,
            impair=impair,
            direct=direct,
            user=user,
            print_duis=print_duis,
            as_json=as_json,
        )


def activate(
    device: DeviceArgument,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", metavar="FILE", help="The OTA file whose hash the command carries."
        ),
    ] = None,
    hash_: Annotated[
        str | None,
        typer.Option("--hash", metavar="HEX", help="The Manufacturer Image hash: 64 hex digits."),
    ] = None,
    lab: LabOption = None,
    direct: DirectOption = False,
    user: AsOption = "",
    print_duis: PrintDuisOption = False,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.3 Activate Firmware: start the image with a given hash.

    Give --image or --hash. The device compares it, answers, and restarts with its image.
    """
    from hanlab.cli import requests
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        requests.activate(
            device,
            image,
            hash_,
            lab=lab,
            pcap=pcap,
            impair=impair,
            direct=direct,
            user=user,
            print_duis=print_duis,
            as_json=as_json,
        )


def store(
    evict: Annotated[
        int | None,
        typer.Option("--evict", metavar="ID", help="Remove the image with this number."),
    ] = None,
    home: HomeOption = None,
    lab: LabOption = None,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """The CH's image store: its budget and what it holds."""
    from hanlab.cli import homes
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        homes.store(evict, home, lab=lab, pcap=pcap, impair=impair, as_json=as_json)


def devices(
    lab: LabOption = None,
    counters: Annotated[
        bool, typer.Option("--counters", help="Also what happened on the wires and was dropped.")
    ] = False,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """The lab's boards, and the devices that the CH knows on its HAN."""
    from hanlab.cli import homes
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        homes.devices(lab=lab, pcap=pcap, impair=impair, counters=counters, as_json=as_json)


def events(
    device: Annotated[str | None, typer.Argument(metavar="DEVICE", help=DEVICE)] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the boards say of themselves since they started."""
    from hanlab.cli import event_logs

    event_logs.events(device, lab=lab, as_json=as_json)
