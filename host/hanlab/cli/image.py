"""`hanlab image build|inspect`: make firmware images and explain any of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperCommand

from hanlab.boards.data import makers_of
from hanlab.cli.image_drawing import built, print_built, print_inspection, shown
from hanlab.errors import UsageError
from hanlab.images.conversion import Firmware, firmware_from
from hanlab.images.device_types import DEVICE_TYPES, GFI_MANUFACTURER
from hanlab.images.errors import ImageError
from hanlab.images.files import read_octets, write_octets
from hanlab.images.header import ANY_HARDWARE, MAGIC
from hanlab.images.inspection import inspect
from hanlab.images.making import LAYOUTS, build, lock_for, made_body
from hanlab.images.ota import OtaImage, check_size

if TYPE_CHECKING:
    from hanlab.dsp.service import Dsp
    from hanlab.lab.config import LabConfig
    from hanlab.lab.fitting import Needs
    from hanlab.lab.nodes import NodeConfig

INSPECT_LIMIT = 64 * 1024 * 1024
"""Octets that `inspect` reads: more than any image, less than a laptop's memory."""

app = typer.Typer(no_args_is_help=True, help="Build, inspect and hash firmware images.")

_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
_FORCE = Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")]


class _LabAlone(TyperCommand):
    """A command whose --lab may stand without a FILE: then it is the default lab's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        after = [*args[1:], "-"]
        args = [
            "--lab=" if arg == "--lab" and after[n].startswith("-") else arg
            for n, arg in enumerate(args)
        ]
        return super().parse_args(ctx, args)


@app.command("build", cls=_LabAlone)
def build_command(
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.ota", help="The image file to write.")
    ],
    version: Annotated[
        str,
        typer.Option(metavar="TEXT", help="The version the device will report, 1 to 8 characters."),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help=f"The device it is for: {', '.join(kind.name for kind in DEVICE_TYPES)}.",
        ),
    ] = None,
    firmware: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="The firmware to wrap: a .bin as it is, a .hex or .srec converted, of an OTA file "
            "the firmware in it.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|256K|1M",
            help="Instead of FILE: make up a firmware body of this many octets.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same made-up octets.")] = 0,
    lab: Annotated[
        str | None,
        typer.Option(
            "--lab",
            metavar="[FILE]",
            help="Ask this lab (without FILE: the default one) what its CH and its device need: "
            "--type, --hw, --for-ch and --manufacturer are theirs, unless given.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="With --lab: its device. (default: the only one)"),
    ] = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            "--hw", metavar="MIN:MAX", help="Hardware versions that may run it. (default: any)"
        ),
    ] = None,
    for_ch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Lock it to the CHs of this manufacturer (illustrative)."
        ),
    ] = None,
    ch_code: Annotated[
        str, typer.Option(metavar="CODE", help="With --for-ch: that manufacturer's Zigbee code.")
    ] = "0x0000",
    manufacturer: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Manufacturer code in the OTA header. (default: that of the GFI samples, "
            f"0x{GFI_MANUFACTURER:04X})",
        ),
    ] = None,
    file_version: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="File version in the OTA header. (default: VERSION if it is 8 hex digits, "
            "else its CRC-32)",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            metavar="|".join(LAYOUTS),
            help="What follows the header: the firmware itself, or a ZCL sub-element that holds it.",
        ),
    ] = LAYOUTS[0],
    trailer: Annotated[
        bool, typer.Option("--trailer", help="Add an authorisation trailer (illustrative).")
    ] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Wrap FILE's octets as they are, whatever they are.")
    ] = False,
    force: _FORCE = False,
    as_json: _JSON = False,
) -> None:
    """Wrap firmware as a Zigbee OTA file, in GBCS's layout.

    Without FILE, --size makes its octets up.

    hanlab image build app.bin --lab --version IHDAE06 -o ppmid.ota
    """
    if lab and firmware is None and size is None and not lab.lower().endswith(".toml"):
        firmware, lab = Path(lab), ""  # --lab without FILE, just before the firmware
    asked = None if lab is None else _asked(lab, to)
    needs = asked.needs if asked else None
    if kind is None and needs is None:
        raise UsageError(
            "what is it for? There is neither --type nor --lab",
            next_step="--lab asks the lab; or --type PPMID",
        )
    body, source = _firmware(firmware, size, seed, as_is=as_is)
    wanted = for_ch if for_ch is not None else needs.for_ch if needs else ""
    lock = None
    if for_ch is not None or wanted:
        hubs = [home.hub.model for home in asked.config.homes] if asked else []
        others = {maker for hub in hubs for maker in makers_of(hub)}
        lock = lock_for(wanted, others, code=_number(ch_code, "--ch-code", 0xFFFF))
    image = build(
        body.octets,
        device_type=kind or (needs.device_type if needs else ""),
        version=version,
        hardware=_hardware(hardware, needs),
        manufacturer=_manufacturer(manufacturer, needs),
        for_ch=lock,
        file_version=(
            None if file_version is None else _number(file_version, "--file-version", 0xFFFFFFFF)
        ),
        trailer=trailer,
        layout=layout,
    )
    if asked:
        _refuse_taken(image, asked)
    write_octets(out, image.to_bytes(), force=force)
    if as_json:
        typer.echo(json.dumps({**built(image, out), "note": body.note}, indent=2))
        return
    print_built(image, out, source)
    if body.note:
        typer.echo(f"Note: {body.note}", err=True)
    if asked:
        option = f" --lab {shlex.quote(lab)}" if lab else ""
        typer.echo(f"  next: hanlab cpl add {shlex.quote(str(out))}{option}")


@app.command("inspect")
def inspect_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any file.")],
    trailer: Annotated[
        bool | None,
        typer.Option(
            "--trailer/--no-trailer",
            help="Whether it ends with an authorisation trailer. (default: by its look)",
        ),
    ] = None,
    extract: Annotated[
        Path | None,
        typer.Option(metavar="OUT.ota", help="Write the OTA image found in it to this file."),
    ] = None,
    keep_rest: Annotated[
        bool | None,
        typer.Option(
            "--keep-rest/--drop-rest",
            help="With --extract: octets after the image's end that may be firmware are part of it, "
            "and the total size is put right; or leave them out.",
        ),
    ] = None,
    force: _FORCE = False,
    as_json: _JSON = False,
) -> None:
    """Explain an image file: layout, fields, hashes, oddities.

    Exit code 2 if there is no whole OTA image in it.
    """
    data = read_octets(file, INSPECT_LIMIT)
    found = inspect(data, name=shlex.quote(str(file)), trailer=trailer, keep_rest=keep_rest is True)
    if extract and found.image and found.left_out and keep_rest is None:
        raise ImageError(
            f"{file}: {found.left_out}",
            next_step="ask who made it; --keep-rest takes them in and puts the total size right, "
            "--drop-rest leaves them out",
        )
    if keep_rest and not found.mended:
        raise UsageError(
            f"{file} has no octets after the image's end that may be firmware",
            next_step="leave --keep-rest out",
        )
    if extract and found.image:
        write_octets(extract, found.image.to_bytes(), force=force)
    if as_json:
        typer.echo(json.dumps({"file": str(file), **found.as_dict()}, indent=2))
    else:
        print_inspection(found, file)
        if extract and found.image:
            size = found.image.header.total_size
            around = found.file_size - size
            without = f", without the {around:,} around it" if around else ""
            typer.echo(f"Wrote the OTA image to {shown(str(extract))}: {size:,} octets{without}")
    if found.problem:
        raise typer.Exit(2)


# -- reading options


def _firmware(
    file: Path | None, size: str | None, seed: int, *, as_is: bool
) -> tuple[Firmware, str]:
    """The firmware body, and where it is from in words."""
    if file is not None and size is not None:
        raise UsageError(
            "FILE and --size are both given", next_step="give the one that is the firmware"
        )
    if file is not None:
        data = read_octets(file, INSPECT_LIMIT)
        body = Firmware(data) if as_is else _taken_out(data, file)
        check_size(len(body.octets), str(file))
        return body, str(file)
    if size is None:
        raise UsageError(
            "there is nothing to build an image from",
            next_step="give the firmware's FILE, or --size 256K for made-up octets",
        )
    octets = size_in_octets(size)
    check_size(octets, "such an image")
    return Firmware(made_body(octets, seed)), f"made up, seed {seed}"


def _taken_out(data: bytes, file: Path) -> Firmware:
    """The firmware in a file: converted, or taken out of an OTA image."""
    if not data.startswith(MAGIC):
        return firmware_from(data, str(file))
    found = inspect(data, name=shlex.quote(str(file)))
    if found.image is None or found.left_out or found.push_problem or found.mended:
        raise ImageError(
            f"{file} is an OTA image already, but: {found.push_problem or found.problem}",
            next_step="--as-is wraps its octets as they are, header included",
        )
    return Firmware(
        found.image.body,
        f"{file} is an OTA image already: the firmware in it is wrapped anew (--as-is wraps the "
        "whole file)",
    )


class _Asked(NamedTuple):
    """The lab that --lab names, the device in it, and what an image for that needs."""

    path: Path | None
    config: LabConfig
    node: NodeConfig
    needs: Needs


def _asked(lab: str, to: str | None) -> _Asked:
    from hanlab.lab.config import read_lab, some
    from hanlab.lab.fitting import home_of, needs_of

    path = Path(lab) if lab else None
    config = read_lab(path)
    nodes = [config.node(to)] if to is not None else list(config.devices)
    with _dsp(path, config) as dsp:
        smi = dsp.smi if dsp else None
        asked = [
            _Asked(path, config, node, needs_of(node, home_of(config, node, smi))) for node in nodes
        ]
    if len({each.needs for each in asked}) != 1:
        there = some([node.name for node in config.nodes])
        raise UsageError(f"this lab has {there}", next_step="--to DEVICE says for which it is")
    return asked[0]


@contextmanager
def _dsp(path: Path | None, config: LabConfig) -> Iterator[Dsp | None]:
    """The DSP of that lab, without its boards; None: nothing has come to it yet."""
    from hanlab.lab.office import DATABASE, open_office
    from hanlab.lab.state import state_folder

    folder = state_folder(path, config)
    if not (folder / DATABASE).exists():
        yield None
        return
    office = open_office(config, folder)
    try:
        yield office.dsp
    finally:
        office.close()


def _refuse_taken(image: OtaImage, asked: _Asked) -> None:
    """UsageError if the lab's CPL cannot list the image: another hash, or another version."""
    from hanlab.lab.fitting import listing_problem, next_version

    with _dsp(asked.path, asked.config) as dsp:
        if dsp is None:
            return
        problem = listing_problem(image, asked.node, dsp.cpl)
        taken = [e.version for e in dsp.cpl.everything()]
    if problem:
        raise UsageError(
            problem, next_step=f"--version {next_version(image.version, taken)} is free"
        )


def _hardware(text: str | None, needs: Needs | None) -> tuple[int, int]:
    if text is not None:
        return _hardware_range(text)
    if needs is None or needs.hardware is None:
        return ANY_HARDWARE
    return needs.hardware, needs.hardware


def _manufacturer(text: str | None, needs: Needs | None) -> int:
    if text is not None:
        return _number(text, "--manufacturer", 0xFFFF)
    return needs.manufacturer if needs and needs.manufacturer is not None else GFI_MANUFACTURER


_UNITS = {"": 1, "K": 1024, "KIB": 1024, "M": 1024**2, "MIB": 1024**2}


def size_in_octets(text: str, option: str = "--size") -> int:
    """What `option` says, e.g. 262144 or 256K; UsageError if it is no size."""
    digits = text.strip().upper()
    unit = digits.lstrip("0123456789")
    number = digits[: len(digits) - len(unit)]
    if not number.isascii() or not number or unit not in _UNITS or len(number) > 12:
        raise UsageError(
            f"{option} {text!r} is no size", next_step="give for example 262144 or 256K"
        )
    return int(number) * _UNITS[unit]


_EXAMPLES: Final = {
    "--hw": "0x0000:0x0001",
    "--ch-code": "0x0000",
    "--manufacturer": f"0x{GFI_MANUFACTURER:04X}",
    "--file-version": "0x00000006",
}


def _number(text: str, option: str, limit: int) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value <= limit:
        raise UsageError(
            f"{option} {text!r} is no number from 0x0 to 0x{limit:X}",
            next_step=f"give for example {option} {_EXAMPLES[option]}",
        )
    return value


def _hardware_range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    minimum = _number(low, "--hw", 0xFFFF)
    return minimum, (_number(high, "--hw", 0xFFFF) if colon else minimum)
