"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hanlab.cli import image as image_commands
from hanlab.errors import HanlabError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A SMETS1 home area network on a desk: push firmware images through a Communications Hub "
    "into a PPMID, on emulated boards or real ones, and see which fit and which fail.",
)
app.add_typer(image_commands.app, name="image")

LabOption = Annotated[
    Path | None,
    typer.Option("--lab", help="lab.toml; without it: one emulated CH with one PPMID."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
PcapOption = Annotated[
    Path | None,
    typer.Option("--pcap", help="Capture the HAN (Zigbee) to this file; Wireshark opens it."),
]
DeviceArgument = Annotated[str, typer.Argument(help="Name, EUI-64 or type of a device of the lab.")]


@app.command()
def demo(
    name: Annotated[str | None, typer.Argument(help="One demo; without it: a tour.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name every demo in a line each.")] = False,
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an update that works, and the ways in which updates fail."""
    from hanlab.cli import demos

    if list_:
        demos.list_demos(as_json=as_json)
    else:
        demos.run(name, pcap=pcap, as_json=as_json)


@app.command()
def push(
    image: Annotated[Path, typer.Argument(help="An OTA file; `hanlab image build` makes one.")],
    to: Annotated[str, typer.Option("--to", help="Name, EUI-64 or type of the device.")],
    lab: LabOption = None,
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.1 Update Firmware: an image through the CH to a device."""
    from hanlab.cli import requests

    requests.push(image, to, lab=lab, pcap=pcap, as_json=as_json)


@app.command()
def version(
    device: DeviceArgument,
    lab: LabOption = None,
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.2 Read Firmware Version: what the device itself answers."""
    from hanlab.cli import requests

    requests.version(device, lab=lab, pcap=pcap, as_json=as_json)


@app.command()
def activate(
    device: DeviceArgument,
    image: Annotated[
        Path | None, typer.Option("--image", help="The OTA file whose hash the command carries.")
    ] = None,
    hash_: Annotated[
        str | None, typer.Option("--hash", help="The Manufacturer Image hash: 64 hex digits.")
    ] = None,
    lab: LabOption = None,
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.3 Activate Firmware: the device compares the hash and restarts with the image."""
    from hanlab.cli import requests

    requests.activate(device, image, hash_, lab=lab, pcap=pcap, as_json=as_json)


@app.command()
def store(
    evict: Annotated[
        int | None, typer.Option("--evict", help="Remove the image with this number.")
    ] = None,
    lab: LabOption = None,
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """The CH's image store: its budget and what it holds."""
    from hanlab.cli import requests

    requests.store(evict, lab=lab, pcap=pcap, as_json=as_json)


@app.command()
def devices(lab: LabOption = None, pcap: PcapOption = None, as_json: JsonOption = False) -> None:
    """The lab's boards, and the devices that the CH knows on its HAN."""
    from hanlab.cli import requests

    requests.devices(lab=lab, pcap=pcap, as_json=as_json)


@app.command()
def boards(as_json: JsonOption = False) -> None:
    """The board types and Device Models that a lab.toml can name."""
    from hanlab.cli import catalogue

    catalogue.show(as_json=as_json)


def fail(error: HanlabError, *, as_json: bool) -> int:
    """Print an error as its reader wants it; the exit code."""
    if as_json:
        report: dict[str, Any] = {"error": error.what, "next_step": error.next_step}
        if outcome := getattr(error, "outcome", None):
            report["outcome"] = str(outcome)
        print(json.dumps(report))
    else:
        print(f"hanlab: {error.what}", file=sys.stderr)
        if error.next_step:
            print(f"  next: {error.next_step}", file=sys.stderr)
    return error.exit_code


def main() -> None:
    """The `hanlab` command."""
    try:
        app()
    except HanlabError as error:
        sys.exit(fail(error, as_json="--json" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that cannot be written
        path = f" {error.filename}" if error.filename else ""
        sys.exit(fail(UsageError(f"{error.strerror}:{path}"), as_json="--json" in sys.argv))
