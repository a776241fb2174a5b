"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hanlab.boards.uf2 import RP2040

LabOption = Annotated[
    Path | None,
    typer.Option(
        "--lab",
        metavar="FILE",
        help="A lab.toml; without it: one emulated CH with one PPMID; "
        f"{RP2040}: the same, the PPMID an emulated RP2040.",
    ),
]
LabFileOption = Annotated[Path | None, typer.Option("--lab", metavar="FILE", help="A lab.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
PcapOption = Annotated[
    Path | None,
    typer.Option(
        "--pcap",
        metavar="FILE",
        help="Capture the HAN (Zigbee) to this file; the key for Wireshark goes beside it.",
    ),
]
ImpairOption = Annotated[
    str,
    typer.Option(
        "--impair",
        metavar="WIRE.WHAT=N,…",
        help="Spoil wires, e.g. wan.loss=0.2,han.loss=0.2,wan.pulled=12+30: wan or han; loss, burst, "
        "flips, truncate, duplicate, reorder, stall, stall_s, pulled.",
    ),
]
DirectOption = Annotated[
    bool, typer.Option("--direct", help="Straight to the S1SP: no DSP, no CPL, no inventory.")
]
AsOption = Annotated[
    str,
    typer.Option("--as", metavar="USER", help="The Service User who sends it, e.g. supplier."),
]
PrintDuisOption = Annotated[
    bool,
    typer.Option("--print-duis", help="Print the Service Request as signed XML, and send nothing."),
]
DEVICE = "A device of the lab by its name, EUI-64 or type, e.g. PPMID."
LastOption = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many.")]
HomeOption = Annotated[
    str | None, typer.Option("--home", metavar="NAME", help="One home of a lab that has several.")
]
MinutesOption = Annotated[
    int,
    typer.Option("--minutes", min=1, max=60, metavar="N", help="How long it may take to join."),
]
DeviceArgument = Annotated[str, typer.Argument(metavar="DEVICE", help=DEVICE)]
