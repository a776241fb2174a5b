"""`hanlab sweep`: an update, or a join, with the power cut at every flash operation."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hanlab.bench.flash import Kind
from hanlab.boards.compiled import runnable
from hanlab.boards.vm import find_vm
from hanlab.cli.image import size_in_octets
from hanlab.cli.show import console, say
from hanlab.cli.waiting import LiveLine
from hanlab.errors import UsageError
from hanlab.images.files import write_octets
from hanlab.lab.config import LabConfig, read_lab
from hanlab.resources import firmware_dir
from hanlab.sweep.cut import Result
from hanlab.sweep.join import make_plan as join_plan
from hanlab.sweep.outcome import Row, State, rows
from hanlab.sweep.picture import svg
from hanlab.sweep.plan import EVERYTHING, Cut, How, Plan
from hanlab.sweep.pool import run_cuts
from hanlab.sweep.sample import kind_of, sample
from hanlab.sweep.strip import strip
from hanlab.sweep.update import make_plan as update_plan

DEFAULT_SIZE: Final = "16K"
_KINDS: Final = {Kind.ERASE: "sector erase", Kind.PROGRAM: "page program"}
_SHOWN: Final = 20
"""Breaches that are shown in words; all are in --json and in the picture."""


def run(
    *,
    lab: Path | None,
    to: str | None,
    join: str | None,
    size: str | None,
    which: str | None,
    every: int,
    seed: int | None,
    only: str | None,
    processes: int | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Sweep, show, and exit 1 on any breach."""
    if join and (to or size):
        raise UsageError(
            "--join is of a join, --to and --size are of an update",
            next_step="hanlab sweep --join DEVICE, or hanlab sweep --to DEVICE --size 16K",
        )
    octets = size_in_octets(size or DEFAULT_SIZE)
    config = read_lab(lab).emulated  # its boards are its own
    device = config.node(join).name if join else _device(config, to)
    config = home_alone(config, device)
    alone, everything = _scope(config, device, which)
    cuts = [Cut.parse(only)] if only else []
    out = console()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="hanlab-sweep-") as name:
        folder = Path(name)
        source = firmware_dir()
        now = ["the firmware is compiled"]
        what = "join" if join else "update"
        with LiveLine(lambda: f"the {what} without a cut: {now[-1]}"):
            firmware = runnable(source, find_vm())
            if join:
                plan = join_plan(config, device, folder, firmware, now.append)
            else:
                plan = update_plan(config, device, octets, folder, firmware, now.append)
        if only:
            plan.find(cuts[0])
        else:
            there_are = list(plan.cuts(alone=alone, everything=everything))
            cuts = sample(there_are, every, config.seed if seed is None else seed)
        if not as_json:
            _announce(out, plan, cuts)
        results = _run_all(out, plan, cuts, processes, quiet=as_json)
    wall_s = time.perf_counter() - began
    table = rows(plan, results)
    again = _again(lab, to, join, size)
    words = _words(plan, cuts, results, wall_s)
    if as_json:
        print(json.dumps(_as_dict(plan, results, table, wall_s, again), indent=2))
    elif only:
        _one(out, plan, results[0])
    else:
        out.print()
        for line in strip(plan, table, out.width):
            out.print(line, soft_wrap=True)
        out.print()
        out.print(Padding(_table(table), (0, 0, 0, 2), expand=False))
        _breaches(out, results, again)
        broken = any(r.breaches for r in results)
        say(out, f"{'✗' if broken else '✓'} {words}", "", "bold red" if broken else "green")
    if picture:
        write_octets(picture, svg(plan, table, words).encode(), force=True)
        if not as_json:
            out.print(f"  picture: {picture}", soft_wrap=True)
    if any(r.breaches for r in results):
        raise typer.Exit(1)


def _device(config: LabConfig, to: str | None) -> str:
    if to:
        return config.node(to).name
    if not config.devices:
        raise UsageError(
            "this lab has no device on its HAN to update",
            next_step="--to hub updates the CH itself; or add a [[device]]",
        )
    return config.devices[0].name


def home_alone(config: LabConfig, device: str) -> LabConfig:
    """The lab with the home alone in which the device stands."""
    home = config.home_of(config.node(device))
    if home is None:
        raise UsageError(
            f"{device} is on the shelf, and the sweep is of a device in a home",
            next_step="put it into a [[home]] in lab.toml",
        )
    return config.only(home)


def _scope(config: LabConfig, device: str, which: str | None) -> tuple[tuple[str, ...], bool]:
    """Whose operations are cut alone, and whether those of all boards are cut with everything off."""
    if which is None:
        return tuple(dict.fromkeys((config.hub.name, device))), True
    known = {
        "hub": ((config.hub.name,), False),
        "device": ((device,), False),
        EVERYTHING: ((), True),
    }
    if which not in known:
        raise UsageError(f"--board {which!r} is none", next_step=f"one of {', '.join(known)}")
    return known[which]


def _run_all(
    out: Console, plan: Plan, cuts: Sequence[Cut], processes: int | None, *, quiet: bool
) -> list[Result]:
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    live = not quiet and out.is_terminal and not out.is_dumb_terminal
    results = []
    breaches = 0
    with (
        closing(run_cuts(plan, cuts, processes=processes)) as cut,
        Progress(*columns, console=out, transient=True, disable=not live) as bars,
    ):
        task = bars.add_task("cuts", total=len(cuts))
        for result in cut:
            results.append(result)
            breaches += bool(result.breaches)
            bars.update(task, advance=1, description=f"cuts, {breaches} breaches")
    return results


def _announce(out: Console, plan: Plan, cuts: Sequence[Cut]) -> None:
    hub, device = plan.config.hub, plan.config.node(plan.device)
    a_hub = f"a {hub.model.model} on {hub.board.name}"
    a_device = f"a {device.model.model} on {device.board.name}"
    counts = ", ".join(f"{board} {plan.operations(board)}" for board in plan.boards)
    through = "" if device is hub else f"through {a_hub} "
    if plan.swept.octets is None:
        head = f"A {plan.swept.name} of {a_device} to the HAN of {a_hub}"
    else:
        head = f"An update of {plan.swept.octets:,} B {through}into {a_device}"
    out.print(head, style="bold", soft_wrap=True)
    say(out, "flash operations", f"{counts}; {len(cuts):,} of {_possible(plan):,} cuts", "")


def _possible(plan: Plan) -> int:
    """How many cuts there are: six of each operation."""
    return sum(2 * len(How) * plan.operations(board) for board in plan.boards)


def _words(plan: Plan, cuts: Sequence[Cut], results: Sequence[Result], wall_s: float) -> str:
    """What was tried, and what came of it: "nothing lost" is said of those cuts alone."""
    broken = sum(bool(r.breaches) for r in results)
    counts = ", ".join(f"{b} {plan.operations(b)}" for b in plan.boards)
    kinds = len({kind_of(cut) for cut in cuts})
    all_kinds = 2 * len(How) * len(plan.boards)
    octets = plan.swept.octets
    what = f"a {plan.swept.name}" if octets is None else f"an update of {octets:,} B"
    return (
        f"{len(results):,} of the {_possible(plan):,} cuts of {what} (operations: {counts}), "
        f"{kinds} of the {all_kinds} kinds of cut, in {wall_s:.0f} s: "
        + (f"{broken:,} breaches" if broken else "nothing lost in these")
    )


def _table(table: Sequence[Row]) -> Table:
    made = Table(box=None, pad_edge=False)
    for column in ("board", "power is cut"):
        made.add_column(column)
    for column in ("operations", "cuts", "went on by itself", "commands sent again", "breaches"):
        made.add_column(column, justify="right")
    for row in table:
        broken = row.count(State.BREACH)
        made.add_row(
            row.board,
            row.label,
            f"{len(row.states):,}",
            f"{row.cuts:,}",
            f"{row.count(State.WENT_ON):,}",
            f"{row.count(State.REPEATED):,}",
            f"{broken:,}",
            style="bold red" if broken else "",
        )
    return made


def _breaches(out: Console, results: Sequence[Result], again: str) -> None:
    broken = [r for r in results if r.breaches]
    for result in broken[:_SHOWN]:
        say(out, f"✗ {result.cut} ({result.phase})", "; ".join(result.breaches), "bold red")
        out.print(f"      {again} --only {result.cut}", soft_wrap=True)
    if len(broken) > _SHOWN:
        out.print(f"  and {len(broken) - _SHOWN:,} more; --json has them all", soft_wrap=True)


def _one(out: Console, plan: Plan, result: Result) -> None:
    cut = result.cut
    who = "every board and the host lose" if cut.everything else f"{cut.board} alone loses"
    say(
        out,
        str(cut),
        f"{who} power {'in the middle of' if cut.how == 'torn' else cut.how} flash operation "
        f"{cut.operation} of {plan.operations(cut.board)}, a {_KINDS[result.kind]} in {result.phase}",
        "bold",
    )
    if result.breaches:
        for breach in result.breaches:
            say(out, "✗ breach", breach, "bold red")
    elif result.repeated:
        say(out, "✓ done", f"after the commands were sent again ({result.repeated} x)", "green")
    else:
        say(out, "✓ done", f"the {plan.swept.name} went on by itself", "green")


def _again(lab: Path | None, to: str | None, join: str | None, size: str | None) -> str:
    words = ["hanlab", "sweep"]
    words += ["--lab", str(lab)] if lab else []
    words += ["--to", to] if to else []
    words += ["--join", join] if join else []
    words += ["--size", size] if size else []
    return shlex.join(words)


def _as_dict(
    plan: Plan,
    results: Sequence[Result],
    table: Sequence[Row],
    wall_s: float,
    again: str,
) -> dict[str, Any]:
    return {
        "of": plan.swept.name,
        "octets": plan.swept.octets,
        "possible_cuts": _possible(plan),
        "cuts": len(results),
        "breaches": sum(bool(r.breaches) for r in results),
        "wall_s": round(wall_s, 1),
        "phases": {
            str(s.phase): {b: [s.numbers(b).start, s.numbers(b).stop - 1] for b in plan.boards}
            for s in plan.stages
        },
        "rows": [
            {
                "board": row.board,
                "how": str(row.how),
                "everything": row.everything,
                "operations": len(row.states),
                "cuts": row.cuts,
                "went_on": row.count(State.WENT_ON),
                "repeated": row.count(State.REPEATED),
                "breaches": row.count(State.BREACH),
            }
            for row in table
        ],
        "results": [
            {
                "cut": str(r.cut),
                "phase": str(r.phase),
                "kind": str(r.kind),
                "repeated": r.repeated,
                "clock_us": r.clock_us,
                "breaches": list(r.breaches),
                **({"command": f"{again} --only {r.cut}"} if r.breaches else {}),
            }
            for r in results
        ],
    }
