"""`hanlab push`, `version`, `activate`, `store`, `devices`: the Service Requests on a lab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from hanlab.cli.show import Watch, console, store_bar
from hanlab.errors import UsageError
from hanlab.images import read_image
from hanlab.lab import Lab
from hanlab.s1sp.outcome import Outcome
from hanlab.wan.messages import StoreReadResponse

_HASH_DIGITS = 64


def push(path: Path, to: str, *, lab: Path | None, pcap: Path | None, as_json: bool) -> None:
    """11.1 Update Firmware."""
    image = read_image(path)
    out = console()
    with Lab.open(lab, pcap=pcap) as bench:
        device = bench.device(to)
        octets = len(image.to_bytes())
        if not as_json:
            out.print(f"11.1 Update Firmware: {image.version}, {octets:,} B, to {device.name}")
        with Watch(out, lambda: bench.clock_us, quiet=as_json) as watch:
            outcome = bench.run(bench.update_firmware(image, device, watch))
        report = bench.run(bench.store())
        if as_json:
            _print_json(
                outcome=str(outcome),
                device=str(device.eui),
                version=image.version,
                octets=octets,
                hash=image.manufacturer_image_hash.hex(),
                virtual_s=bench.clock_us / 1e6,
                store=_store_dict(report),
            )
            return
        out.print(f"  {store_bar(report)}", markup=False)
        holder = device.name if outcome is Outcome.DISTRIBUTED else "the CH"
        out.print(f"[green]✓[/] {outcome}: {holder} holds {image.version}")
        out.print(f"  next: hanlab activate {device.name} --image {path}", markup=False)


def version(device: str, *, lab: Path | None, pcap: Path | None, as_json: bool) -> None:
    """11.2 Read Firmware Version."""
    with Lab.open(lab, pcap=pcap) as bench:
        target = bench.device(device)
        read = bench.run(bench.wait_until_back(target))
        if as_json:
            _print_json(
                device=str(target.eui),
                version=read.firmware,
                file_version=read.file_version,
                model=read.model,
            )
        else:
            print(f"11.2 {target.name} ({target.eui}): {read.firmware} on {read.model}")


def activate(
    device: str,
    image: Path | None,
    hash_text: str | None,
    *,
    lab: Path | None,
    pcap: Path | None,
    as_json: bool,
) -> None:
    """11.3 Activate Firmware."""
    hash_ = _hash(image, hash_text)
    out = console()
    with Lab.open(lab, pcap=pcap) as bench:
        target = bench.device(device)
        if not as_json:
            out.print(f"11.3 Activate Firmware: hash {hash_.hex()[:16]}… on {target.name}")
        with Watch(out, lambda: bench.clock_us, quiet=as_json) as watch:
            outcome = bench.run(bench.activate_firmware(hash_, target, watch))
        read = bench.run(bench.wait_until_back(target))
        if as_json:
            _print_json(outcome=str(outcome), device=str(target.eui), version=read.firmware)
        else:
            out.print(f"[green]✓[/] {outcome}: {target.name} runs {read.firmware}")


def store(evict: int | None, *, lab: Path | None, pcap: Path | None, as_json: bool) -> None:
    """The CH's image store."""
    with Lab.open(lab, pcap=pcap) as bench:
        if evict is not None:
            bench.run(bench.evict(evict))
        report = bench.run(bench.store())
        if as_json:
            _print_json(**_store_dict(report))
            return
        out = console()
        model = bench.hub.model
        out.print(f"{model.manufacturer} {model.model}", markup=False)
        out.print(store_bar(report), markup=False)
        if model.store.illustrative:
            out.print("  the capacity is illustrative: no public document gives it", style="dim")
        if report.recovered:
            out.print(f"  at the last start: {report.recovered}", style="yellow")
        table = Table(box=None)
        for column in ("id", "state", "for", "version", "octets", "Manufacturer Image hash"):
            table.add_column(column)
        for i in report.images:
            table.add_row(
                str(i.id), i.state, i.type, i.version, f"{i.size:,}", f"{i.hash.hex()[:32]}…"
            )
        if report.images:
            out.print(table)


def devices(*, lab: Path | None, pcap: Path | None, as_json: bool) -> None:
    """The lab's boards and the CH's view of its HAN."""
    with Lab.open(lab, pcap=pcap) as bench:
        known = {d.eui: d for d in bench.run(bench.han_devices())}
        rows: list[dict[str, Any]] = []
        for device in (bench.hub, *bench.devices):
            seen = known.get(device.eui.octets)
            rows.append(
                {
                    "name": device.name,
                    "type": device.model.device_type,
                    "eui": str(device.eui),
                    "model": f"{device.model.manufacturer} {device.model.model}",
                    "board": device.board.name,
                    "on_han": device is bench.hub or (seen is not None and seen.seen),
                }
            )
        if as_json:
            _print_json(devices=rows)
            return
        table = Table(box=None)
        for column in rows[0]:
            table.add_column(column)
        for row in rows:
            table.add_row(
                *(("yes" if v else "no") if isinstance(v, bool) else v for v in row.values())
            )
        console().print(table)


def _hash(image: Path | None, text: str | None) -> bytes:
    if (image is None) == (text is None):
        raise UsageError("11.3 carries one hash", next_step="give --image FILE or --hash HEX")
    if image is not None:
        return read_image(image).manufacturer_image_hash
    assert text is not None
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(text) != _HASH_DIGITS or len(octets) != _HASH_DIGITS // 2:
        raise UsageError(
            f"--hash has {len(text)} characters; a SHA-256 has {_HASH_DIGITS} hex digits",
            next_step="hanlab image inspect FILE shows it",
        )
    return octets


def _store_dict(report: StoreReadResponse) -> dict[str, Any]:
    return {
        "capacity": report.capacity,
        "used": report.used,
        "reserved": report.reserved,
        "free": report.free,
        "behaviour": report.behaviour,
        "images": [
            {
                "id": i.id,
                "size": i.size,
                "state": i.state,
                "type": i.type,
                "version": i.version,
                "sha": i.sha.hex(),
                "hash": i.hash.hex(),
            }
            for i in report.images
        ],
    }


def _print_json(**fields: Any) -> None:
    print(json.dumps(fields))
