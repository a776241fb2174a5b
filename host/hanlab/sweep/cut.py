"""An update or a join with one cut: cut, boot, check, go on until it is done, check again."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hanlab.bench.flash import Effect, Kind, Operation
from hanlab.bench.kernel import BenchError
from hanlab.errors import HanlabError
from hanlab.lab import Lab
from hanlab.sweep.plan import Course, Cut, Phase, Plan, Stage
from hanlab.sweep.recorder import QUIET_S, copy


@dataclass(frozen=True)
class Result:
    """What came of a cut. `repeated`: how often the user had to send the commands again."""

    cut: Cut
    phase: Phase
    kind: Kind
    repeated: int
    breaches: tuple[str, ...]
    clock_us: int
    """The lab's time when all was done: the same each time for the same cut."""


def run_cut(plan: Plan, cut: Cut, folder: Path) -> Result:
    """Make that part with the cut, and then the rest; `folder` is for the lab."""
    return run_group(plan, (cut,), folder)[0]


def run_group(plan: Plan, cuts: tuple[Cut, ...], folder: Path) -> list[Result]:
    """As run_cut, for several: those that take everything begin together if they have one stage."""
    all_off = [cut for cut in cuts if cut.everything]
    found: dict[Cut, list[str]] = {cut: [] for cut in cuts}
    kept = {}
    if all_off:
        with _watching(found, all_off):
            kept = _keep_flash(plan, all_off, folder)
    results: list[Result] = []
    same: dict[bytes, Result] = {}
    for cut in cuts:
        stage, number = plan.find(cut)
        kind = stage.operations[cut.board][number - 1]
        left = _digest(kept[cut]) if cut in kept else b""
        if (
            left in same
        ):  # after one operation is mostly before the next: the same run, to the octet
            shutil.rmtree(kept[cut])
            results.append(replace(same[left], cut=cut, kind=kind))
            continue
        course = Course()
        clock_us = 0
        with _watching(found, [cut]):
            if not cut.everything:
                clock_us = _cut_one_board(plan, stage, cut, number, folder, course, found[cut])
            elif cut in kept:
                clock_us = _cut_everything(plan, stage, kept[cut], course, found[cut])
        results.append(Result(cut, stage.phase, kind, course.repeated, tuple(found[cut]), clock_us))
        if left:
            same[left] = results[-1]
    return results


def _digest(folder: Path) -> bytes:
    """Of all that a lab in this folder begins with."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder)
        digest.update(f"{name} {file.stat().st_size} ".encode() + file.read_bytes())
    return digest.digest()


@contextmanager
def _watching(found: dict[Cut, list[str]], cuts: list[Cut]) -> Iterator[None]:
    """Whatever a cut brings about is a breach, and the sweep goes on."""
    try:
        yield
    except HanlabError as e:
        what = e.what
    except Exception as e:
        what = f"hanlab itself: {type(e).__name__}: {e}"
    else:
        return
    for cut in cuts:
        found[cut].append(what)


def _cut_one_board(
    plan: Plan,
    stage: Stage,
    cut: Cut,
    number: int,
    folder: Path,
    course: Course,
    found: list[str],
) -> int:
    """The other boards and the host's command go on. The lab's time at the end (µs)."""
    came = False

    def fault(operation: Operation) -> Effect:
        nonlocal came
        if operation.number != number:
            return Effect.DONE
        came = True
        return cut.how.effect

    with Lab(plan.config, copy(stage.folder, folder), firmware=plan.firmware) as lab:
        flash = lab.board(lab.device(cut.board)).flash
        flash.fault = fault
        lab.run(_command(lab, plan, stage.phase, course))
        if not came:
            raise BenchError(f"operation {cut.operation} of {cut.board} did not come again")
        flash.fault = None
        found += lab.run(plan.swept.rest(lab, stage.phase, course))
        return lab.clock_us


class _Enough(Exception):
    """The last cut of the group has come."""


def _keep_flash(plan: Plan, cuts: list[Cut], folder: Path) -> dict[Cut, Path]:
    """Where power goes from everything, what is in flash is all that is left: that, for each cut.

    The cuts are of one board and one stage, so they are met in one run.
    """
    stage, _ = plan.find(cuts[0])
    board = cuts[0].board
    wanted: dict[int, list[Cut]] = {}
    for cut in cuts:
        wanted.setdefault(plan.find(cut)[1], []).append(cut)
    kept: dict[Cut, Path] = {}

    with Lab(plan.config, copy(stage.folder, folder), firmware=plan.firmware) as lab:
        flash = lab.board(lab.device(board)).flash

        def fault(operation: Operation) -> Effect:
            for cut in wanted.pop(operation.number, []):
                target = folder.with_name(f"{folder.name}-{cut.how}-{cut.operation}")
                kept[cut] = copy(folder, target)
                with (target / flash.path.name).open("r+b") as file:
                    file.seek(operation.address)
                    old = file.read(len(operation.octets))
                    file.seek(operation.address)
                    file.write(operation.leaves(cut.how.effect, old))
            if not wanted:
                raise _Enough
            return Effect.DONE

        flash.fault = fault
        try:
            lab.run(_command(lab, plan, stage.phase, Course()))
        except _Enough:
            return kept
    missing = min(wanted)
    raise BenchError(f"operation {missing} of {board} in {stage.phase} did not come again")


def _cut_everything(
    plan: Plan, stage: Stage, folder: Path, course: Course, found: list[str]
) -> int:
    """The boards start from what is left in flash. The lab's time at the end (µs)."""
    try:
        with Lab(plan.config, folder, firmware=plan.firmware) as lab:
            found += lab.run(plan.swept.rest(lab, stage.phase, course))
            return lab.clock_us
    finally:
        shutil.rmtree(folder)


async def _command(lab: Lab, plan: Plan, phase: Phase, course: Course) -> None:
    try:
        await plan.swept.command(lab, phase, course)
    except BenchError:
        raise
    except HanlabError:
        pass  # as a user sees it: the command failed, with a sentence
    await asyncio.sleep(QUIET_S)
