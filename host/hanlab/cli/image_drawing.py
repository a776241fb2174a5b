"""How `hanlab image build` and `inspect` show an image: what was built, and the explanation of a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from hanlab.images.device_types import device_type_named
from hanlab.images.header import ANY_HARDWARE
from hanlab.images.inspection import Inspection
from hanlab.images.layout import ELEMENT_HEAD
from hanlab.images.metadata import METADATA_LENGTH
from hanlab.images.ota import OtaImage

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_SHOWN_REGIONS = 24
"""Rows of the layout table; vendors' files can have hundreds of sub-elements."""


def built(image: OtaImage, out: Path) -> dict[str, Any]:
    header = image.header
    return {
        "file": str(out),
        "file_size": header.total_size,
        "file_hash": image.file_hash.hex(),
        "manufacturer_image_size": len(image.manufacturer_image),
        "manufacturer_image_hash": image.manufacturer_image_hash.hex(),
        "header_size": header.length,
        "layout": image.layout,
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


def print_built(image: OtaImage, out: Path, source: str) -> None:
    header = image.header
    kind = device_type_named(image.device_type or "")
    origin = "as in the GFI samples" if kind.published else "illustrative"
    low, high = header.hardware or ANY_HARDWARE
    parts = [f"header {header.length}"]
    if image.elements:
        parts.append(f"sub-element {ELEMENT_HEAD.size}")
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
    typer.echo(f"Built {shown(str(out))}")
    for name, value in rows:
        typer.echo(f"  {name:<13} {shown(value)}")


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
    return (glyph if shown(glyph) == glyph else plain), colour


def shown(text: str) -> str:
    """`text` with what the output cannot encode as \\NNNN: file names may be any octets."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def print_inspection(found: Inspection, file: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    layout = f", {found.layout} layout" if found.layout else ""
    console.print(Text(f"{shown(str(file))}: {found.file_size:,} octets{layout}", style="bold"))
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

    regions, hidden = list(found.regions), 0
    if len(regions) > _SHOWN_REGIONS:
        hidden = len(regions) - _SHOWN_REGIONS + 1
        regions = regions[: _SHOWN_REGIONS - 1]
    table = _table(("", "left"), ("offset", "right"), ("size", "right"), ("what", "left"))
    table.add_column("", overflow="fold")
    for region in regions:
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
    if found.mended:
        lines.append(("Put right", "yellow", found.mended))
    if found.left_out:
        lines.append(("Not to take out", "yellow", found.left_out))
    if found.problem:
        lines.append(("Problem", "red", found.problem))
    elif found.push_problem:
        lines.append(("Not to push as it is", "yellow", found.push_problem))
    elif found.doubts:
        lines += [("Doubtful", "yellow", doubt) for doubt in found.doubts]
    else:
        lines.append(("Good", "green", "one whole OTA image and nothing else; it can be pushed"))
    console.print()
    for label, colour, sentence in lines:
        console.print(Text.assemble((f"{label}: ", f"bold {colour}"), shown(sentence)))
