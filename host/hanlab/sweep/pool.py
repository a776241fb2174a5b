"""Many cuts at once: each process has a lab of its own, and they share nothing but the plan."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import groupby
from typing import Final

from hanlab.bench.kernel import BenchError
from hanlab.sweep.cut import Result, run_group
from hanlab.sweep.plan import Cut, Phase, Plan

_AT_ONCE: Final = 12
"""Cuts that a process is given at a time, and that are met in one run if they take everything."""

_plan: Plan | None = None  # of this process, if it is one of the pool's


def run_cuts(plan: Plan, cuts: Sequence[Cut], *, processes: int | None = None) -> Iterator[Result]:
    """The results of `cuts`, in an order of its own, as they come; `processes`: None for one each core."""
    groups = list(_groups(plan, cuts))
    wanted = min(processes or os.cpu_count() or 1, len(groups))
    if wanted <= 1:
        for group in groups:
            yield from run_group(plan, group, plan.folder / "cut")
        return
    pool = ProcessPoolExecutor(
        wanted, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(plan,)
    )
    try:
        with ctrl_c_waits():  # the processes start here, and inherit that
            results = pool.map(_run, groups)
        for some in results:
            yield from some
    except BrokenProcessPool:
        raise BenchError("a process of the sweep was killed", next_step="run it again") from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C comes after the block only; a process that starts in it never hears it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _groups(plan: Plan, cuts: Sequence[Cut]) -> Iterator[tuple[Cut, ...]]:
    def kind(cut: Cut) -> tuple[bool, str, Phase]:
        return cut.everything, cut.board, plan.find(cut)[0].phase

    for _, alike in groupby(sorted(cuts, key=lambda c: (kind(c), c.operation, c.how)), kind):
        members = list(alike)
        for i in range(0, len(members), _AT_ONCE):
            yield tuple(members[i : i + _AT_ONCE])


def _begin(plan: Plan) -> None:
    global _plan
    _plan = plan


def _run(cuts: tuple[Cut, ...]) -> list[Result]:
    assert _plan is not None
    return run_group(_plan, cuts, _plan.folder / f"cut-{os.getpid()}")
