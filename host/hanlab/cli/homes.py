"""`hanlab store`, `devices`: what a lab's homes have, home by home."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from hanlab.boards.data import DeviceModel
from hanlab.cli.counters import draw as draw_counters
from hanlab.cli.show import ILLUSTRATIVE, WAN_OPEN, console, print_json, say, store_bar
from hanlab.cli.tables import draw_table
from hanlab.cli.waiting import how_far, open_lab
from hanlab.eui import Eui
from hanlab.lab import Device, Home, Lab
from hanlab.lab.config import read_lab
from hanlab.s1sp.outcome import ServiceRequestFailed
from hanlab.s1sp.progress import Room
from hanlab.wan.messages import HanDevice, StoreReadResponse

_ANNOUNCE_S: Final = 5.0
"""How long (virtual s) a device may take to announce itself on the HAN after power-on."""
_ANNOUNCE_EACH_S: Final = 0.1
"""And so much more for each device: they all start at once, on one air."""


def store(
    evict: int | None,
    home: str | None,
    *,
    lab: Path | None,
    pcap: Path | None,
    impair: str,
    as_json: bool,
) -> None:
    """The image store of each home's CH, or of one's; an image is removed from one."""
    config = read_lab(lab)
    if home is not None or evict is not None:
        home = config.home(home).name
    with open_lab(lab, pcap=pcap, impair=impair) as (bench, _):
        if evict is not None:
            bench.run(bench.evict(evict, home))
        homes = bench.homes if home is None else [bench.home(home)]
        reports = {each.name: bench.run(bench.store(each.name)) for each in homes}
        if as_json:
            stores = [store_dict(each, reports[each.name]) for each in homes]
            named = {"homes": [{"home": h.name, **s} for h, s in zip(homes, stores, strict=True)]}
            print_json(**(stores[0] if len(stores) == 1 else named), wan_open=config.wan_open)
            return
        out = console()
        if config.wan_open:
            out.print(WAN_OPEN, style="yellow")
        for each in homes:
            model = each.hub.model
            which = f"{each.name}: " if len(config.homes) > 1 else ""
            out.print(f"{which}{model.manufacturer} {model.model}", style="bold", soft_wrap=True)
            if evict is not None:
                say(out, "✓ evicted", f"image {evict} is gone", "green")
            draw_store(out, each.hub.model, reports[each.name])
            _draw_images(out, reports[each.name])


def _draw_images(out: Console, report: StoreReadResponse) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("id", "state", "for", "version", "octets", "Manufacturer Image hash"):
        table.add_column(column, justify="right" if column == "octets" else "left")
    for i in report.images:
        table.add_row(str(i.id), i.state, i.type, i.version, f"{i.size:,}", f"{i.hash.hex()[:32]}…")
    if report.images:
        out.print(Padding(table, (0, 0, 0, 2), expand=False))


def devices(
    *, lab: Path | None, pcap: Path | None, impair: str, counters: bool, as_json: bool
) -> None:
    """The lab's boards and the CHs' view of their HANs."""
    with open_lab(lab, pcap=pcap, impair=impair) as (bench, line):
        announced: list[HanDevice] = []
        line.text = lambda: _on_han(bench, announced)
        on_han = bench.run(_devices_seen(bench, announced))
        on_han |= {home.hub.eui: home.name for home in bench.homes}
        untested = bench.untested
        several = len(bench.homes) > 1 or bool(bench.shelf)
        rows: list[dict[str, Any]] = [
            {
                "name": device.name,
                "type": device.model.device_type,
                "eui": str(device.eui),
                "model": f"{device.model.manufacturer} {device.model.model}",
                "board": device.board.name,
                "tested_with_ch": device not in untested,
                "on_han": device.eui in on_han,
                **({"home": on_han.get(device.eui)} if several else {}),
            }
            for device in bench.boards
        ]
        if as_json:
            more = {"counters": bench.run(bench.counters()).as_dict()} if counters else {}
            print_json(devices=rows, wan_open=bench.config.wan_open, **more)
            return
        out = console()
        draw_table(
            out,
            ("name", "type", "EUI-64", "model", "board", "on HAN"),
            [
                (
                    device.name,
                    row["type"],
                    row["eui"],
                    device.model.model,
                    row["board"],
                    (row.get("home") or "yes") if row["on_han"] else "no",
                )
                for device, row in zip(bench.boards, rows, strict=True)
            ],
            named=("on HAN",),
        )
        flag_untested(out, bench, bench.devices)
        if bench.config.wan_open:
            out.print(WAN_OPEN, style="yellow")
        if counters:
            draw_counters(out, bench.run(bench.counters()))


def flag_untested(out: Console, bench: Lab, devices: Iterable[Device]) -> None:
    """Say which of the devices were never tested together with their CH."""
    untested = bench.untested
    for device in devices:
        home = bench.home_of(device)
        if home and device in untested:
            models = f"{device.model.model} and {home.hub.model.model}"
            say(
                out,
                device.name,
                f"{models} were never tested together (rule 149)",
                "yellow",
                indent=4,
            )


def draw_store(
    out: Console,
    hub: DeviceModel,
    report: StoreReadResponse | Room,
    image_octets: int = 0,
    *,
    was_full: bool = False,
) -> None:
    """A CH's store as a bar, beside it an image that is not in it."""
    for line in store_bar(report, image_octets, width=out.width, was_full=was_full):
        out.print(line, soft_wrap=True)
    if hub.store.illustrative and report.capacity is not None:
        out.print(f"    its capacity is {ILLUSTRATIVE}", style="dim", soft_wrap=True)
    if isinstance(report, StoreReadResponse) and report.recovered:
        say(out, "the CH mended its store as it started", report.recovered, "yellow", indent=4)


def _on_han(bench: Lab, announced: Collection[HanDevice]) -> str:
    """What there is to say while a large HAN starts; `announced`: who has done so."""
    return f"{how_far(bench)}, {len(announced)} of {len(bench.devices)} devices on the HAN"


async def _devices_seen(bench: Lab, announced: list[HanDevice]) -> dict[Eui, str]:
    """Who is on which home's HAN, as the CHs say: as soon as every device has announced itself or had the time to.

    A device announces itself when it starts. A real one may have done so long ago, to a CH that has restarted since:
    it is asked. `announced` holds who has been heard so far.
    """
    found: dict[Eui, str] = {}

    async def at(home: Home) -> None:
        silent = {Eui(d.eui) for d in await bench.han_devices(home.name) if not d.seen}
        for device in home.devices:
            if device.eui in silent and bench.config.node(device.name).is_real:
                with suppress(ServiceRequestFailed):
                    await home.s1sp.read_firmware_version(device.target)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ANNOUNCE_S + len(home.devices) * _ANNOUNCE_EACH_S
        while True:
            known = await bench.han_devices(home.name)
            seen = {Eui(device.eui): device for device in known if device.seen}
            announced.extend(device for eui, device in seen.items() if eui not in found)
            found.update(dict.fromkeys(seen, home.name))
            if len(seen) == len(known) or loop.time() > deadline:
                return
            await asyncio.sleep(0.1)

    await asyncio.gather(*map(at, bench.homes))
    return found


def store_dict(home: Home, report: StoreReadResponse) -> dict[str, Any]:
    """A CH's store for --json."""
    return {
        "capacity": report.capacity,
        "illustrative": home.hub.model.store.illustrative,
        "used": report.used,
        "reserved": report.reserved,
        "free": report.free,
        "behaviour": report.behaviour,
        "recovered": report.recovered,
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
