"""`hanlab demo`: the failure catalogue, shown."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hanlab.cli.show import Watch, console, store_bar
from hanlab.demos.catalogue import CATALOGUE, Demo, Scene, find_demo
from hanlab.demos.runner import Result, run_demo
from hanlab.errors import UsageError
from hanlab.lab import Lab
from hanlab.s1sp.service import Progress


def list_demos(*, as_json: bool) -> None:
    """Name every demo in a line each."""
    if as_json:
        print(json.dumps([{"name": d.name, "title": d.title, "why": d.why} for d in CATALOGUE]))
        return
    for demo in CATALOGUE:
        print(f"{demo.name:<16} {demo.title}: {demo.why}")


def run(name: str | None, *, pcap: Path | None, as_json: bool) -> None:
    """Run one demo, or the tour; exit 1 if anything ended otherwise than it should."""
    if name is None:
        demos = [demo for demo in CATALOGUE if demo.tour]
    else:
        demo = find_demo(name)
        if demo is None:
            raise UsageError(
                f"there is no demo {name!r}", next_step="hanlab demo --list names them all"
            )
        demos = [demo]
    if pcap and len(demos) > 1:
        raise UsageError("--pcap captures one demo", next_step="hanlab demo NAME --pcap FILE")
    results: list[Result] = []
    for demo in demos:
        with _Stage(quiet=as_json) as stage:
            for result in run_demo(demo, stage, pcap=pcap):
                stage.result(result)
                results.append(result)
    if as_json:
        print(json.dumps([_as_dict(r) for r in results], indent=2))
    else:
        _table(results)
        if pcap:
            print(f"HAN captured in {pcap}")
    if not all(r.as_expected for r in results):
        raise typer.Exit(1)


class _Stage:
    """Shows a demo as it goes on."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._out = console()
        self._lab: Lab | None = None
        self._watch: Watch | None = None
        self._demo = ""

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_step()

    def scene(self, demo: Demo, scene: Scene, lab: Lab) -> None:
        self._lab = lab
        if self._quiet:
            return
        if demo.name != self._demo:
            self._demo = demo.name
            self._out.print()
            self._out.rule(Text(f" {demo.title} ", style="bold"), align="left")
            self._out.print(f"  {demo.why}", style="dim")
        hub, device = lab.hub, lab.devices[0]
        self._out.print()
        if scene.about:
            self._out.print(f"  {scene.about}", style="bold", markup=False)
        for name, node in (("CH", hub), (device.name, device)):
            self._out.print(
                f"  {name:<6} {node.model.manufacturer} {node.model.model} on {node.board.name}",
                markup=False,
            )

    def step(self, request: str, tried: str) -> None:
        lab = self._lab
        assert lab is not None
        self._watch = Watch(self._out, lambda: lab.clock_us, quiet=self._quiet)
        self._watch.__enter__()
        if not self._quiet:
            self._out.print(f"  [bold cyan]{request}[/] {tried}")

    def progress(self, progress: Progress, clock_us: int) -> None:
        if self._watch:
            self._watch(progress)

    def _end_step(self) -> None:
        if self._watch:
            self._watch.__exit__(None, None, None)
            self._watch = None

    def result(self, result: Result) -> None:
        self._end_step()
        if self._quiet:
            return
        if result.request == "11.1":
            for line in store_bar(result.store, _pending(result)).splitlines():
                self._out.print(f"    {line}", markup=False)
        sign, style = ("✓", "green") if result.as_expected else ("✗", "bold red")
        text = Text(f"{sign} {result.happened}", style=style)
        text.append(f": {result.why}", style="default")
        if not result.as_expected:
            text.append(f" (expected {result.expected})", style="bold red")
        self._out.print(Padding(text, (0, 0, 0, 4)))


def _pending(result: Result) -> int:
    """The image's octets if it is not in the store: then it is drawn beside it."""
    stored = any(image.size == result.image_octets for image in result.store.images)
    return 0 if stored else result.image_octets


def _table(results: list[Result]) -> None:
    table = Table(title="what was tried, what happened, why", title_justify="left", box=None)
    table.add_column("demo", no_wrap=True)
    table.add_column("request", no_wrap=True)
    table.add_column("what happened", no_wrap=True)
    table.add_column("why")
    table.add_column("virtual", justify="right", no_wrap=True)
    table.add_column("wall", justify="right", no_wrap=True)
    for r in results:
        style = "green" if r.as_expected else "bold red"
        table.add_row(
            r.demo,
            f"{r.request}",
            Text(r.happened, style=style),
            r.why.split(":")[0],
            f"{r.virtual_s:.1f} s",
            f"{r.wall_s:.2f} s",
        )
    out = console()
    out.print()
    out.print(table)
    good = sum(r.as_expected for r in results)
    out.print(f"\n{good} of {len(results)} steps ended as they should")


def _as_dict(result: Result) -> dict[str, object]:
    return {
        "demo": result.demo,
        "scene": result.scene,
        "request": result.request,
        "tried": result.tried,
        "expected": result.expected,
        "happened": result.happened,
        "as_expected": result.as_expected,
        "why": result.why,
        "virtual_s": round(result.virtual_s, 6),
        "wall_s": round(result.wall_s, 3),
        "store": {
            "capacity": result.store.capacity,
            "used": result.store.used,
            "reserved": result.store.reserved,
            "free": result.store.free,
        },
    }
