"""`hanlab demo`: the failure catalogue, shown."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from hanlab.bench.pcap import how_to_open
from hanlab.boards.clauses import Behaviour
from hanlab.boards.data import DeviceModel
from hanlab.cli.image import size_in_octets
from hanlab.cli.show import REQUESTS, Watch, console, say, store_bar, wrapped
from hanlab.demos.catalogue import CATALOGUE, find_demo
from hanlab.demos.own import own_demo
from hanlab.demos.parts import Demo, Scene
from hanlab.demos.runner import Result, run_demo
from hanlab.errors import UsageError
from hanlab.images import read_image
from hanlab.lab import Lab
from hanlab.s1sp.outcome import Outcome
from hanlab.s1sp.progress import Progress

_BRIEF: Final = {
    Outcome.STORED: "in the CH, not yet in the device",
    Outcome.DISTRIBUTED: "in the device, not running yet",
    Outcome.ACTIVATED: "right hash, the device restarts",
    Outcome.TOO_LARGE: "refused at once",
    Outcome.OVERFLOW: "failed half-way",
    Outcome.TRUNCATED: "cut, seen by hash",
    Outcome.SILENT: "no more answer",
    Outcome.DEVICE_REFUSED: "the device does not take it",
    Outcome.METADATA: "another make's metadata, or none",
    Outcome.HASH_MISMATCH: "the device holds another image",
    Outcome.NO_IMAGE_HELD: "there is nothing to activate",
}
"""The last table's reasons; the whole sentence stands above, where it happened."""
_REFUSALS: Final = {str(o) for o in Outcome} - {
    str(o) for o in (Outcome.STORED, Outcome.DISTRIBUTED, Outcome.ACTIVATED)
}
_ERROR_CODE: Final = re.compile(r"E\d+")
_READ: Final = "11.2"
_HEAD: Final = "bold cyan"
_TRIED: Final = 27
_HAPPENED: Final = max(len(outcome) for outcome in Outcome) + 1


def run_own(
    file: Path,
    hubs: list[str],
    store: str | None,
    *,
    pcap: Path | None,
    impair: str,
    as_json: bool,
) -> None:
    """11.1 of somebody's own image through each of the CHs."""
    octets = None if store is None else size_in_octets(store, "--store")
    demo = own_demo(read_image(file), file, hubs, octets)
    _run([demo], pcap=pcap, impair=impair, as_json=as_json)


def run(name: str | None, *, pcap: Path | None, impair: str, as_json: bool) -> None:
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
    _run(demos, pcap=pcap, impair=impair, as_json=as_json)


def _run(demos: list[Demo], *, pcap: Path | None, impair: str, as_json: bool) -> None:
    results: list[Result] = []
    captures: list[Path] = []
    for demo in demos:
        with _Stage(quiet=as_json) as stage:
            for result in run_demo(demo, stage, pcap=pcap, impair=impair):
                stage.result(result)
                results.append(result)
            captures += stage.captures
    if as_json:
        print(json.dumps([_as_dict(r) for r in results], indent=2))
    else:
        _table(console(), results)
        for file in captures:
            print(how_to_open(file))
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
        self.captures: list[Path] = []

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_step()

    def scene(self, demo: Demo, scene: Scene, lab: Lab) -> None:
        self._lab = lab
        if lab.pcap:
            self.captures.append(lab.pcap)
        if self._quiet:
            return
        if demo.name != self._demo:
            self._demo = demo.name
            self._out.print()
            self._out.rule(Text(f"{demo.title} ", style="bold"), align="left")
            say(self._out, demo.why, "", "dim")
        self._out.print()
        if scene.about:
            self._out.print(f"  {scene.about}", style="bold", soft_wrap=True)
        width = max(6, *(len(device.name) for device in lab.devices))
        for board in lab.boards:
            name = board.name.replace("hub", "CH") if board.is_hub else board.name
            store = f", store {_capacity(board.model)}" if board.is_hub else ""
            model = f"{board.model.manufacturer} {board.model.model} on {board.board.name}"
            self._out.print(f"  {name:<{width}} {model}{store}", soft_wrap=True)

    def step(self, request: str, tried: str) -> None:
        lab = self._lab
        assert lab is not None
        self._watch = Watch(
            self._out, lambda: lab.clock_us, device=lab.devices[0].name, quiet=self._quiet
        )
        if not self._quiet:
            self._out.print()
            if request != _READ:
                say(self._out, REQUESTS.get(request, request), tried, _HEAD)
        self._watch.__enter__()

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
            full = any(o.filled_the_store for o in Outcome if o == result.happened)
            for line in store_bar(
                result.store, _pending(result), width=self._out.width, was_full=full
            ):
                self._out.print(line, soft_wrap=True)
        sign, style = _look(result)
        surprise = "" if result.as_expected else _unexpected(result)
        why = "; ".join(filter(None, (result.why, surprise)))
        if result.request == _READ:
            code = f"{result.happened}: " if _is_refused(result.happened) else ""
            seen = f"{sign} {code}{why}"
            say(self._out, REQUESTS[_READ], seen, _HEAD if result.as_expected else style)
        else:
            say(self._out, f"{sign} {result.happened}", why, style, indent=4)


def _capacity(hub: DeviceModel) -> str:
    if hub.store.capacity is None or not hub.has(Behaviour.SIZE):
        return "of no published limit"
    note = " (illustrative)" if hub.store.illustrative else ""
    return f"{hub.store.capacity:,} B{note}"


def _is_refused(happened: str) -> bool:
    """A refusal, of a board (an outcome) or of the DSP (a response code), or no response at all."""
    return happened in _REFUSALS or happened == "refused" or bool(_ERROR_CODE.fullmatch(happened))


def _look(result: Result) -> tuple[str, str]:
    """Sign and colour: it went through as it should, was refused as it should, or is a surprise."""
    if not result.as_expected:
        return "!", "bold red"
    return ("✗", "yellow") if _is_refused(result.happened) else ("✓", "green")


def _unexpected(result: Result) -> str:
    return f"NOT AS EXPECTED, which was {result.expected}"


def _pending(result: Result) -> int:
    """The image's octets if it is not in the store: then it is drawn beside it."""
    stored = any(image.size == result.image_octets for image in result.store.images)
    return 0 if stored else result.image_octets


def _table(out: Console, results: list[Result]) -> None:
    out.print()
    out.rule(Text("What was tried, what happened, why ", style="bold"), align="left")
    for name, of_demo in groupby(results, lambda r: r.demo):
        demo = find_demo(name)
        title = f"{demo.title} ({name})" if demo else "Your image"
        out.print(title, style="bold", soft_wrap=True)
        for about, of_scene in groupby(of_demo, lambda r: r.scene):
            if about and (demo is None or len(demo.scenes) > 1):
                out.print(f"  {about}", style="dim", soft_wrap=True)
            for result in of_scene:
                _row(out, result)
    good = sum(r.as_expected for r in results)
    virtual, wall = sum(r.virtual_s for r in results), sum(r.wall_s for r in results)
    out.print()
    out.print(
        f"{_count(results)}, in {virtual:.0f} s virtual, {wall:.1f} s wall",
        style="bold green" if good == len(results) else "bold red",
        soft_wrap=True,
    )


def _count(results: list[Result]) -> str:
    """How many ended as they should, if anybody knew how they would."""
    if not any(r.expected for r in results):
        return f"{len(results)} request{'s' * (len(results) > 1)}"
    return f"{sum(r.as_expected for r in results)} of {len(results)} requests ended as they should"


def _row(out: Console, result: Result) -> None:
    sign, style = _look(result)
    happened = f"{result.happened:<{_HAPPENED - 1}} "
    before = 2 + _TRIED + 2 + len(happened)
    reasons = wrapped(_brief(result), out.width - before)
    row = Text(f"  {REQUESTS.get(result.request, result.request):<{_TRIED}}")
    row.append(f"{sign} {happened}", style=style)
    row.append(reasons[0])
    out.print(row, soft_wrap=True)
    for reason in reasons[1:]:
        out.print(" " * before + reason, soft_wrap=True)


def _brief(result: Result) -> str:
    """Why, in a few words."""
    if not result.as_expected:
        return _unexpected(result)
    if result.happened not in set(Outcome):
        return result.why  # a version
    reason = _BRIEF.get(Outcome(result.happened)) or result.why.split(":")[0]
    if result.request == "11.1" and (short := _pending(result) - result.store.free) > 0:
        reason += f", {short:,} B short"
    return reason


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
