"""`hanlab image build|inspect`: make firmware images and explain any of them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hanlab.errors import UsageError
from hanlab.images.device_types import DEVICE_TYPES, GFI_MANUFACTURER, device_type_named
from hanlab.images.files import read_octets, write_octets
from hanlab.images.header import ANY_HARDWARE, MAGIC
from hanlab.images.inspection import Inspection, inspect
from hanlab.images.making import build, made_body
from hanlab.images.metadata import METADATA_LENGTH, MetadataBlock
from hanlab.images.ota import DUIS_IMAGE_LIMIT, OtaImage, check_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

INSPECT_LIMIT = 64 * 1024 * 1024
"""Octets that `inspect` reads: more than any image, less than a laptop's memory."""

_SHOWN_REGIONS = 24
"""Rows of the layout table; vendors' files can have hundreds of sub-elements."""

app = typer.Typer(no_args_is_help=True, help="Build, inspect and hash firmware images.")

_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
_FORCE = Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")]


@app.command("build")
def build_command(
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.ota", help="The image file to write.")
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE",
            help=f"The device it is for: {', '.join(kind.name for kind in DEVICE_TYPES)}.",
        ),
    ],
    version: Annotated[
        str,
        typer.Option(metavar="TEXT", help="The version the device will report, 1 to 8 characters."),
    ],
    firmware: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The firmware to wrap: any file.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|256K|1M",
            help="Instead of FILE: make up a firmware body of this many octets.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same made-up octets.")] = 0,
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
        str,
        typer.Option(
            metavar="CODE", help="Manufacturer code in the OTA header; as in the GFI samples."
        ),
    ] = f"0x{GFI_MANUFACTURER:04X}",
    file_version: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="File version in the OTA header. (default: VERSION if it is 8 hex digits, "
            "else its CRC-32)",
        ),
    ] = None,
    trailer: Annotated[
        bool, typer.Option("--trailer", help="Add an authorisation trailer (illustrative).")
    ] = False,
    force: _FORCE = False,
    as_json: _JSON = False,
) -> None:
    """Wrap any file as a Zigbee OTA file in GBCS's layout.

    Without FILE, --size makes its octets up.

    hanlab image build app.bin --type PPMID --version IHDAE06 -o ppmid.ota
    """
    body, source = _firmware(firmware, size, seed)
    lock = None
    if for_ch is not None:
        lock = MetadataBlock(for_ch, _number(ch_code, "--ch-code", 0xFFFF))
    image = build(
        body,
        device_type=kind,
        version=version,
        hardware=_hardware_range(hardware) if hardware is not None else ANY_HARDWARE,
        manufacturer=_number(manufacturer, "--manufacturer", 0xFFFF),
        for_ch=lock,
        file_version=(
            None if file_version is None else _number(file_version, "--file-version", 0xFFFFFFFF)
        ),
        trailer=trailer,
    )
    write_octets(out, image.to_bytes(), force=force)
    if as_json:
        typer.echo(json.dumps(_built(image, out), indent=2))
    else:
        _print_built(image, out, source)
        if body.startswith(MAGIC):
            typer.echo(
                f"Note: {firmware} is an OTA image already; its octets, header included, became "
                "the firmware body.",
                err=True,
            )


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
    force: _FORCE = False,
    as_json: _JSON = False,
) -> None:
    """Explain an image file: layout, fields, hashes, oddities.

    Exit code 2 if there is no whole OTA image in it.
    """
    data = read_octets(file, INSPECT_LIMIT)
    found = inspect(data, name=shlex.quote(str(file)), trailer=trailer)
    if extract and found.image:
        write_octets(extract, found.image.to_bytes(), force=force)
    if as_json:
        typer.echo(json.dumps({"file": str(file), **found.as_dict()}, indent=2))
    else:
        _print_inspection(found, file)
        if extract and found.image:
            size = found.image.header.total_size
            typer.echo(f"Wrote the OTA image to {_shown(str(extract))}: {size:,} octets")
    if found.problem:
        raise typer.Exit(2)


# -- reading options


def _firmware(file: Path | None, size: str | None, seed: int) -> tuple[bytes, str]:
    """The firmware body, and where it is from in words."""
    if file is not None and size is not None:
        raise UsageError(
            "FILE and --size are both given", next_step="give the one that is the firmware"
        )
    if file is not None:
        return read_octets(file, DUIS_IMAGE_LIMIT), str(file)
    if size is None:
        raise UsageError(
            "there is nothing to build an image from",
            next_step="give the firmware's FILE, or --size 256K for made-up octets",
        )
    octets = size_in_octets(size)
    check_size(octets, "such an image")
    return made_body(octets, seed), f"made up, seed {seed}"


_UNITS = {"": 1, "K": 1024, "KIB": 1024, "M": 1024**2, "MIB": 1024**2}


def size_in_octets(text: str) -> int:
    """What --size says, e.g. 262144 or 256K; UsageError if it is no size."""
    digits = text.strip().upper()
    unit = digits.lstrip("0123456789")
    number = digits[: len(digits) - len(unit)]
    if not number.isascii() or not number or unit not in _UNITS or len(number) > 12:
        raise UsageError(f"--size {text!r} is no size", next_step="give for example 262144 or 256K")
    return int(number) * _UNITS[unit]


def _number(text: str, option: str, limit: int) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value <= limit:
        raise UsageError(
            f"{option} {text!r} is no number from 0x0 to 0x{limit:X}",
            next_step=f"give for example {option} 0x{GFI_MANUFACTURER:04X}",
        )
    return value


def _hardware_range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    minimum = _number(low, "--hw", 0xFFFF)
    return minimum, (_number(high, "--hw", 0xFFFF) if colon else minimum)


# -- what was built


def _built(image: OtaImage, out: Path) -> dict[str, Any]:
    header = image.header
    return {
        "file": str(out),
        "file_size": header.total_size,
        "file_hash": image.file_hash.hex(),
        "manufacturer_image_size": len(image.manufacturer_image),
        "manufacturer_image_hash": image.manufacturer_image_hash.hex(),
        "header_size": header.length,
        "metadata_size": METADATA_LENGTH if image.metadata else 0,
        "body_size": len(image.body),
        "trailer_size": len(image.trailer or b""),
        "device_type": image.device_type,
        "version": image.version,
        "manufacturer": header.manufacturer,
        "image_type": header.image_type,
        "file_version": header.file_version,
        "hardware": list(header.hardware or ()),
        "ch_manufacturer": image.metadata.ch_manufacturer if image.metadata else None,
    }


def _print_built(image: OtaImage, out: Path, source: str) -> None:
    header = image.header
    kind = device_type_named(image.device_type or "")
    origin = "as in the GFI samples" if kind.published else "illustrative"
    low, high = header.hardware or ANY_HARDWARE
    parts = [f"header {header.length}"]
    if image.metadata:
        parts.append(f"metadata {METADATA_LENGTH}")
    parts.append(f"firmware {len(image.body):,}")
    if image.trailer:
        parts.append(f"trailer {len(image.trailer)}")
    rows = [
        ("device type", f"{kind.name}, image type 0x{header.image_type:04X} ({origin})"),
        ("version", f"{image.version}, file version 0x{header.file_version:08X}"),
        ("hardware", f"0x{low:04X} to 0x{high:04X}"),
        ("manufacturer", f"0x{header.manufacturer:04X}"),
        ("firmware", source),
        ("size", f"{header.total_size:,} octets = {' + '.join(parts)}"),
        ("11.3 hash", f"{image.manufacturer_image_hash.hex()}"),
        ("file SHA-256", f"{image.file_hash.hex()}"),
    ]
    if image.metadata:
        lock = f"CHs made by {image.metadata.ch_manufacturer} (illustrative metadata block)"
        rows.insert(4, ("locked to", lock))
    if image.trailer:
        rows.insert(-2, ("trailer", "illustrative: signed by nobody, not in the hash"))
    typer.echo(f"Built {_shown(str(out))}")
    for name, value in rows:
        typer.echo(f"  {name:<13} {_shown(value)}")


# -- the explanation

_BAR_LIMIT = 100  # cells

# kind of region: its glyph (told apart without colour too), the glyph in ASCII, its colour
_LOOKS = {
    "header": ("▓", "H", "cyan"),
    "metadata": ("▒", "M", "magenta"),
    "firmware": ("█", "#", "green"),
    "trailer": ("░", "T", "yellow"),
    "element": ("▚", "E", "blue"),
    "around": ("/", "/", "white"),
    "unknown": ("?", "?", "red"),
    "missing": ("·", ".", "red"),
}


def _look(kind: str) -> tuple[str, str]:
    """Glyph and colour of a kind of region; ASCII where the output takes nothing else."""
    glyph, plain, colour = _LOOKS[kind]
    return (glyph if _shown(glyph) == glyph else plain), colour


def _shown(text: str) -> str:
    """`text` with what the output cannot encode as \\NNNN: file names may be any octets."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _print_inspection(found: Inspection, file: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    layout = f", {found.layout} layout" if found.layout else ""
    console.print(Text(f"{_shown(str(file))}: {found.file_size:,} octets{layout}", style="bold"))
    if found.regions:
        console.print()
        console.print(_bar(found, min(console.width, _BAR_LIMIT)))
        _print_regions(found, console)
    if found.fields:
        console.print()
        _print_fields(found, console)
    console.print()
    _print_summary(found, console)
    _print_verdict(found, console)


def _bar(found: Inspection, width: int) -> Text:
    """The file as one line; neighbours of one kind are one run, each run at least one cell."""
    from rich.text import Text

    runs: list[tuple[str, int]] = []
    for region in found.regions:
        if runs and runs[-1][0] == region.kind:
            runs[-1] = (region.kind, runs[-1][1] + region.size)
        else:
            runs.append((region.kind, region.size))
    if found.missing:
        runs.append(("missing", found.missing))
    total = sum(size for _, size in runs)
    cells = [max(1, size * width // total) for _, size in runs]
    longest = cells.index(max(cells))
    cells[longest] = max(1, cells[longest] + width - sum(cells))
    bar = Text(overflow="crop", no_wrap=True)
    for (kind, _), count in zip(runs, cells, strict=True):
        glyph, colour = _look(kind)
        bar.append(glyph * count, style=colour)
    return bar


def _print_regions(found: Inspection, console: Console) -> None:
    from rich.text import Text

    shown, hidden = list(found.regions), 0
    if len(shown) > _SHOWN_REGIONS:
        hidden = len(shown) - _SHOWN_REGIONS + 1
        shown = shown[: _SHOWN_REGIONS - 1]
    table = _table(("", "left"), ("offset", "right"), ("size", "right"), ("what", "left"))
    table.add_column("", overflow="fold")
    for region in shown:
        glyph, colour = _look(region.kind)
        table.add_row(
            Text(glyph, style=colour),
            f"{region.offset:,}",
            f"{region.size:,}",
            Text(region.name),
            Text(region.note, style="dim"),
        )
    if hidden:
        rest = sum(region.size for region in found.regions[-hidden:])
        table.add_row("", "...", f"{rest:,}", f"{hidden} more parts", "--json lists them all")
    if found.missing:
        glyph, colour = _look("missing")
        table.add_row(
            Text(glyph, style=colour), f"{found.file_size:,}", f"{found.missing:,}", "missing", ""
        )
    console.print(table)


def _print_fields(found: Inspection, console: Console) -> None:
    from rich.text import Text

    table = _table(("offset", "right"), ("size", "right"), ("field", "left"))
    table.add_column("value", overflow="fold")
    table.add_column("meaning", overflow="fold")
    for row in found.fields:
        table.add_row(
            f"{row.offset:,}",
            str(row.size),
            row.name,
            Text(row.value),
            Text(row.meaning, style="dim"),
        )
    console.print(table)


def _table(*columns: tuple[str, Literal["left", "right"]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True)
    return table


def _print_summary(found: Inspection, console: Console) -> None:
    rows = [("file SHA-256", found.file_hash)]
    if found.image_hash not in ("", found.file_hash):
        rows.append(("image SHA-256", found.image_hash))
    if found.manufacturer_image_hash and (span := found.manufacturer_image):
        rows += [
            ("11.3 hash", found.manufacturer_image_hash),
            ("", f"SHA-256 of the Manufacturer Image, {span.size:,} octets from {span.start:,}"),
        ]
    if found.version:
        rows.append(("device type", found.device_type or "none that hanlab knows"))
        rows.append(("version", found.version))
    if found.image and found.image.metadata:
        rows.append(("locked to", f"CHs made by {found.image.metadata.ch_manufacturer}"))
    for name, value in rows:
        console.print(f"{name:<14}{value}", soft_wrap=True)


def _print_verdict(found: Inspection, console: Console) -> None:
    from rich.text import Text

    lines = [("Note", "cyan", note) for note in found.notes]
    lines += [("Warning", "yellow", warning) for warning in found.warnings]
    if found.problem:
        lines.append(("Problem", "red", found.problem))
    elif found.push_problem:
        lines.append(("Not to push as it is", "yellow", found.push_problem))
    else:
        lines.append(("Good", "green", "one whole OTA image and nothing else; it can be pushed"))
    console.print()
    for label, colour, sentence in lines:
        console.print(Text.assemble((f"{label}: ", f"bold {colour}"), _shown(sentence)))
