"""`make mutants`: each mutant in a copy of this checkout, and whether its tests notice.

    python -m mutants.run [-k WORDS] [--jobs N] [--limit SECONDS]

First the tests of all chosen mutants run once without any: one that fails then proves nothing. Then each
mutant has a go, one at a time in each copy (a copy for each core). Exit code 1: more than one in twenty
survive, or one without an explanation, or one could not be tried.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

from .table import ROOT, Mutant, check, read_tables

MAY_SURVIVE: Final = 0.05
_NOT_COPIED: Final = shutil.ignore_patterns(
    ".git", ".venv", ".vm", ".hanlab", ".*_cache", ".hypothesis", "dist", "build"
)
_FAILURE: Final = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_REPORTS: Final = re.compile(r"^=+ (?:ERRORS|FAILURES) =+$", re.MULTILINE)
_PASSED: Final = 0
_FAILED: Final = 1


@unique
class Fate(StrEnum):
    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"
    NOT_TRIED = "not tried"
    """Its tests could not be collected (a wrong node id; the mutated module is not importable), or fail
    without it as well."""


@dataclass(frozen=True)
class State:
    """What came of a mutant; `said`: the last lines of pytest."""

    mutant: Mutant
    fate: Fate
    wall_s: float
    said: str


def fate_of(mutant: Mutant, code: int | None, said: str) -> Fate:
    """From pytest's exit code; None: its time was up."""
    if code is None or "TimeoutExpired" in said:  # the latter: a VM's own time limit
        return Fate.KILLED if mutant.hangs else Fate.TIMED_OUT
    return {_PASSED: Fate.SURVIVED, _FAILED: Fate.KILLED}.get(code, Fate.NOT_TRIED)


def failing(said: str) -> tuple[set[str], str]:
    """The tests that failed (node ids without parameters), and all that pytest says of them; "": none did."""
    reports = _REPORTS.search(said)
    tests = {match.partition("[")[0] for match in _FAILURE.findall(said)}
    return tests, said[reports.start() :] if reports else ""


def rests_on(mutant: Mutant, broken: Iterable[str]) -> bool:
    """Whether one of the tests in `broken` (node ids without parameters) is among the mutant's."""
    return any(
        test == target or test.startswith(f"{target}::")
        for test in broken
        for target in (named.partition("[")[0] for named in mutant.tests)
    )


def is_good_enough(states: Sequence[State]) -> bool:
    lives = [s for s in states if s.fate in (Fate.SURVIVED, Fate.TIMED_OUT)]
    return (
        len(lives) <= MAY_SURVIVE * len(states)
        and all(s.mutant.explained for s in lives)
        and all(s.fate is not Fate.NOT_TRIED for s in states)
    )


class Copy:
    """A copy of the checkout that mutants are applied to, one at a time."""

    def __init__(self, folder: Path, of: Path) -> None:
        self.folder = folder
        shutil.copytree(of, folder, ignore=_NOT_COPIED)
        if (ROOT / ".vm").is_dir():
            (folder / ".vm").symlink_to(ROOT / ".vm")

    def pytest(
        self, arguments: Iterable[str], limit_s: float, **environment: str
    ) -> tuple[int | None, str]:
        """Exit code (None: killed at the limit) and what it said."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout", "0"]
        command += ["--basetemp", str(self.folder.with_name(self.folder.name + "-tmp")), *arguments]
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder / "host"), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that its VMs go with it
        ) as process:
            try:
                said, _ = process.communicate(timeout=limit_s)
                return process.returncode, said
            except BaseException as e:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(e, subprocess.TimeoutExpired):
                    return None, f"not done in {limit_s:.0f} s"
                raise

    def try_(self, mutant: Mutant, limit_s: float) -> State:
        path = self.folder / mutant.file
        sound = path.read_text("utf-8")
        # Python takes a compiled file for its source's if size and whole seconds agree: leave it none.
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()
        began = time.monotonic()
        try:
            path.write_text(mutant.applied(sound), "utf-8")
            code, said = self.pytest(
                ["-x", "-n", "0", "--tb", "line", *mutant.tests],
                limit_s,
                PYTHONDONTWRITEBYTECODE="1",
            )
        finally:
            path.write_text(sound, "utf-8")
        last = "\n".join(said.strip().splitlines()[-6:])
        return State(mutant, fate_of(mutant, code, said), time.monotonic() - began, last)


def main() -> int:
    chosen, jobs, limit_s = _arguments()
    for mutant in chosen:
        check(mutant)
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="hanlab-mutants-") as name:
        folder = Path(name)
        first = Copy(folder / "copy-0", ROOT)
        began = time.monotonic()
        print(f"{len(chosen)} mutants; first their tests without any …", flush=True)
        code, said = first.pytest(["-n", str(jobs), *_without_parts(tests)], limit_s * 10)
        if code not in (_PASSED, _FAILED):
            print(said)
            return 1
        broken, why = failing(said)
        print(
            f"{why}({time.monotonic() - began:.0f} s)",
            *sorted(broken),
            sep="\n    fails anyhow: ",
            flush=True,
        )
        copies = [first, *(Copy(folder / f"copy-{n}", first.folder) for n in range(1, jobs))]
        states = [
            State(m, Fate.NOT_TRIED, 0.0, "a test of it fails without the mutant")
            for m in chosen
            if rests_on(m, broken)
        ]
        states += _try_all(copies, [m for m in chosen if not rests_on(m, broken)], limit_s)
        wall_s = time.monotonic() - began
    print(summary(states, wall_s))
    return 0 if is_good_enough(states) else 1


def _arguments() -> tuple[list[Mutant], int, float]:
    parser = argparse.ArgumentParser(prog="make mutants ARGS=…", description=__doc__)
    parser.add_argument("-k", default="", metavar="WORDS", help="only those with WORDS in them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="copies at once")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for a mutant")
    given = parser.parse_args()
    chosen = [m for m in read_tables() if given.k in f"{m.source} {m.file} {m.why}"]
    if not chosen:
        parser.error(f"no mutant has {given.k!r} in its source, file or why")
    return chosen, given.jobs, given.limit


def _without_parts(tests: Sequence[str]) -> list[str]:
    """Without the node ids of files that run as a whole anyhow: pytest would run those twice."""
    return [t for t in tests if "::" not in t or t.partition("::")[0] not in tests]


def _try_all(copies: Sequence[Copy], mutants: Sequence[Mutant], limit_s: float) -> list[State]:
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)

    def one(mutant: Mutant) -> State:
        copy = free.get()
        try:
            return copy.try_(mutant, limit_s)
        finally:
            free.put(copy)

    states = {}
    with ThreadPoolExecutor(len(copies)) as pool:
        try:
            for done in as_completed([pool.submit(one, mutant) for mutant in mutants]):
                state = done.result()
                states[state.mutant.source] = state
                _show(state, len(states), len(mutants))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [states[mutant.source] for mutant in mutants]


def _show(state: State, done: int, of: int) -> None:
    m = state.mutant
    print(f"{done:>4}/{of} {state.fate:<9} {state.wall_s:5.1f} s  {m.source}: {m.why}", flush=True)
    if state.fate is not Fate.KILLED:
        print("\n".join(f"          {line}" for line in state.said.splitlines()), flush=True)


def summary(states: Sequence[State], wall_s: float) -> str:
    """A row for each part of the product, the survivors with their explanation, and a line for the README."""
    parts = sorted({_part(s.mutant) for s in states})
    lines = ["", f"{'part':<24} mutants  killed  survived  timed out  not tried"]
    for part in parts:
        fates = [s.fate for s in states if _part(s.mutant) == part]
        counts = [len(fates), *(fates.count(fate) for fate in Fate)]
        lines.append(
            f"{part:<24} {counts[0]:>7} {counts[1]:>7} {counts[2]:>9} {counts[3]:>10} {counts[4]:>10}"
        )
    for s in states:
        if s.fate is not Fate.KILLED:
            lines.append(f"{s.fate}: {s.mutant.source} ({s.mutant.file}): {s.mutant.why}")
            lines.append(f"    {s.mutant.explained or 'NOT EXPLAINED'}")
    killed = sum(s.fate is Fate.KILLED for s in states)
    inside = sum(s.mutant.firmware for s in states)
    lines.append(
        f"{len(states)} mutants ({len(states) - inside} of the host, {inside} of the firmware): "
        f"{killed} killed, {len(states) - killed} not, in {wall_s / 60:.1f} min"
    )
    return "\n".join(lines)


def _part(mutant: Mutant) -> str:
    """`host/hanlab/dsp`, `firmware/smets1/store`: the folder, or a loose module."""
    path = Path(mutant.file)
    return str(path.parent if len(path.parts) > 3 else path)


if __name__ == "__main__":
    sys.exit(main())
