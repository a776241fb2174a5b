"""Many cuts at once: each process has a lab of its own, and they share nothing but the plan."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import groupby
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Final

from hanlab.bench.kernel import BenchError
from hanlab.sweep.cut import Result, run_group
from hanlab.sweep.plan import Cut, Phase, Plan

_AT_ONCE: Final = 12
"""Cuts that a process is given at a time, and that are met in one run if they take everything."""

_CTRL_C: Final = frozenset({signal.SIGINT, signal.SIGALRM})
"""Where it was thrown away, an alarm raises it again: see cli/ctrl_c.py."""

_plan: Plan | None = None  # of this process, if it is one of the pool's


def run_cuts(
    plan: Plan, cuts: Sequence[Cut], *, processes: int | None = None
) -> Generator[Result, None, None]:
    """The results of `cuts`, in an order of its own, as they come; `processes`: None for one each core.

    Whoever ends it early closes it (`contextlib.closing`): that ends its processes, in the middle of a cut.
    """
    groups = list(_groups(plan, cuts))
    wanted = min(processes or os.cpu_count() or 1, len(groups))
    if wanted <= 1:
        for group in groups:
            yield from run_group(plan, group, plan.folder / "cut")
        return
    spawn = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # before, for it lets Ctrl-C through when it has started
    others = multiprocessing.active_children()
    try:
        with ExitStack() as stack:
            with ctrl_c_waits():  # the processes start here, and inherit that
                pool = ProcessPoolExecutor(wanted, spawn, initializer=_begin, initargs=(plan,))
                stack.callback(pool.shutdown, cancel_futures=True)
                stack.callback(_end_all_but, others)
                results = pool.map(_run, groups)
            for some in results:
                yield from some
    except BrokenProcessPool:
        raise BenchError("a process of the sweep was killed", next_step="run it again") from None


def _end_all_but(others: Sequence[BaseProcess]) -> None:
    """Nobody wants what they still do, and a pool would wait for it; their boards end with them."""
    for process in multiprocessing.active_children():
        if process not in others:
            process.terminate()


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C comes after the block only; a process that starts in it never hears it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)
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
