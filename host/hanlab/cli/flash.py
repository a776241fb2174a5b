"""`hanlab flash`: a board from whatever it has to the point where it answers as that board of the lab."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from hanlab.cli.hints import say_next
from hanlab.cli.provision import keys_of
from hanlab.cli.show import console, say
from hanlab.flashing.flash import Done, Job, flash
from hanlab.flashing.micropython import DOWNLOAD, download
from hanlab.flashing.which import node_of
from hanlab.lab.config import read_lab
from hanlab.lab.state import state_folder

_EVERY_S: Final = 1.0
"""Between two lines of progress where there is no terminal."""


def run(
    port: str | None,
    *,
    lab: Path | None,
    name: str | None,
    micropython: str | None,
    library: Path | None,
    force: bool,
    sources: bool,
    as_json: bool,
) -> None:
    """Flash the board at `port`, and say what was done."""
    config = read_lab(lab)
    node = node_of(config, name, port)
    state = state_folder(lab, config)
    out = console()
    file = None
    if micropython == DOWNLOAD:
        if not as_json:
            say(out, "MicroPython", f"mpflash gets the newest for {node.board.micropython}", "dim")
        file = download(node.board, state / "micropython")
    elif micropython is not None:
        file = Path(micropython)
    job = Job(
        config,
        node,
        keys_of(config, state),
        port,
        micropython=file,
        library=library,
        force=force,
        sources=sources,
    )
    with _Shown(out, quiet=as_json) as show:
        done = flash(job, show)
    if as_json:
        print(json.dumps(_as_json(node.name, done)))
        return
    _say(out, node.name, done)
    who = done.hello
    if who is None:
        say(out, "not asked", f"{node.name} has no port of its own to be asked at", "yellow")
    say_next(out, "hanlab devices" if not node.is_hub else "hanlab store", lab)


def _say(out: Console, name: str, done: Done) -> None:
    plan = done.plan
    what = f"{plan.octets:,} octets in {len(plan.copy)} files, {plan.unchanged:,} were there"
    if plan.is_empty:
        what = f"nothing to do: all {plan.unchanged:,} octets are there"
    if plan.remove:
        what += f"; {len(plan.remove)} files were in the way, and are gone"
    say(out, f"✓ {name}", what, "green")
    if done.hello:
        who = done.hello
        answers = f"{who.role} {who.eui or ''}, {who.version} ({who.micropython}, {who.machine})"
        say(out, f"✓ answers at {done.cable}", answers, "green")


def _as_json(name: str, done: Done) -> dict[str, object]:
    who = done.hello
    return {
        "board": name,
        "repl": done.device,
        "port": done.cable,
        "octets": done.plan.octets,
        "unchanged": done.plan.unchanged,
        "removed": list(done.plan.remove),
        "answers": vars(who) if who else None,
    }


class _Shown:
    """How far it is: a bar on a terminal, elsewhere a line a second."""

    def __init__(self, out: Console, *, quiet: bool) -> None:
        self._out = out
        self._quiet = quiet
        self._bars = Progress(
            TextColumn("    {task.description:<12}", markup=False),
            BarColumn(bar_width=30),
            TextColumn(
                "{task.completed:,.0f} of {task.total:,.0f} B  {task.fields[what]}", markup=False
            ),
            console=out,
            transient=True,
        )
        self._task: TaskID | None = None
        self._total = 0
        self._said = 0.0

    def __enter__(self) -> Self:
        if not self._quiet:
            say(self._out, "flash", "looking at what is on the board", "dim")
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def step(self, head: str, rest: str) -> None:
        self._stop()
        if not self._quiet:
            say(self._out, head, rest, "dim")

    def progress(self, done: int, total: int, what: str) -> None:
        if self._quiet:
            return
        if self._out.is_terminal:
            if self._task is None or total != self._total:
                self._stop()
                self._total = total
                self._bars.start()
                self._task = self._bars.add_task("flash", total=total, what=what)
            self._bars.update(self._task, completed=done, what=what)
        elif time.monotonic() - self._said >= _EVERY_S:
            self._said = time.monotonic()
            say(self._out, f"{done:,} of {total:,} B", what, "dim", indent=4)

    def _stop(self) -> None:
        if self._task is not None:
            self._bars.stop()
            self._bars.remove_task(self._task)
            self._task = None
