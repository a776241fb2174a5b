"""The failure catalogue ends as it says (rules 1 to 6, 11, 28 to 30, 34, 96, 97)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

import pytest

from hanlab.boards.data import load_model, model_names
from hanlab.demos.catalogue import CATALOGUE, find_demo
from hanlab.demos.images import make_image
from hanlab.demos.parts import Activations, Demo, ImageSpec, Meanwhile, Scene, Step
from hanlab.demos.runner import run_demo
from hanlab.lab import Lab
from hanlab.s1sp.progress import Progress

ACTIVATIONS: Final = 200 if "HANLAB_SOAK" in os.environ else 40
"""The most that are made; `make soak` makes all 200 of lost-200."""


def shorter(demo: Demo) -> Demo:
    """With no more activations than that: each is another of the same kind."""

    def step(each: Step) -> Step:
        if not isinstance(each, Activations):
            return each
        times = min(each.times, ACTIVATIONS)
        return replace(each, times=times, expect=each.expect.replace(str(each.times), str(times)))

    scenes = (replace(scene, steps=tuple(map(step, scene.steps))) for scene in demo.scenes)
    return replace(demo, scenes=tuple(scenes))


class _Unwatched:
    def scene(self, demo: Demo, scene: Scene, lab: Lab) -> None: ...
    def step(self, request: str, tried: str) -> None: ...
    def progress(self, progress: Progress, clock_us: int) -> None: ...


@pytest.mark.parametrize("demo", CATALOGUE, ids=lambda demo: demo.name)
def test_demo_ends_as_it_says(demo: Demo) -> None:
    demo = shorter(demo)
    results = list(run_demo(demo, _Unwatched()))
    steps = [step for scene in demo.scenes for step in scene.steps]
    others = [s for s in steps if isinstance(getattr(s, "fault", None), Meanwhile)]
    assert len(results) == len(steps) + len(others)
    for result in results:
        assert result.happened == result.expected, f"{result.tried}: {result.why}"
        # what the DSP's own lists answer ("Suspended, P4X9G01") says it all; how a request ends does not
        assert result.why or result.request in ("CPL", "SMI", "DCC Alerts", "12.2")


@pytest.mark.rule(35, 36)
def test_a_home_that_is_not_busy_gets_it() -> None:
    """On its own HAN, from its own CH: the other home of the demo is a real one."""
    demo = find_demo("busy-mixed")
    assert demo
    (_, mixed, _) = run_demo(demo, _Unwatched())
    assert mixed.happened == "W110101"
    assert (
        mixed.why == "OtherRequestInProgressList: 00-DB-12-34-56-78-90-A0; home-2/ESME distributed"
    )


def test_names_are_one_word_each_and_unique() -> None:
    names = [demo.name for demo in CATALOGUE]
    assert len(set(names)) == len(names)
    assert not [name for name in names if " " in name]


def test_default_images_fit_the_default_stores() -> None:
    """Rule 10: manufacturers keep images small enough for the CH that they expect."""
    octets = len(make_image(ImageSpec()).to_bytes())
    for name in model_names():
        capacity = load_model(name).store.capacity
        assert capacity is None or octets <= capacity, name
