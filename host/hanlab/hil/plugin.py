"""The pytest plugin: fixtures, options, the mark `hanlab`. What it needs of hanlab is imported by who uses it."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from hanlab.hil.boards import CommsHub, Device
    from hanlab.hil.dsp import Dsp
    from hanlab.hil.lab import Home, Lab
    from hanlab.hil.wire import Wire

_OPTIONS: Final = (
    ("--lab", {
        "dest": "hanlab_lab", "metavar": "emulated|rp2040|FILE",
        "help": "the lab of hanlab's tests: emulated boards (so it is without this option), emulated RP2040s, or "
        "the boards of a lab.toml",
    }),
    ("--lab-seed", {
        "dest": "hanlab_seed", "metavar": "N", "type": int,
        "help": "the seed of emulated labs, in place of lab.toml's; same seed, same run",
    }),
    ("--lab-failures", {
        "dest": "hanlab_failures", "metavar": "FOLDER",
        "help": "where a failed test's boards' logs and captures go (default: the test's tmp_path)",
    }),
    ("--uf2", {
        "dest": "hanlab_uf2", "metavar": "FILE",
        "help": "MicroPython's UF2 that --lab rp2040 runs (default: HANLAB_UF2)",
    }),
)  # fmt: skip
_MARK: Final = (
    "hanlab(emulated=…, rp2040=…, ble=…, homes=…, devices=…, comms_hub=…, ppmid=…, wan=…, han=…, dsp=…, "
    "seed=…): what the test needs of its lab; an emulated one gets it, else the test is skipped"
)
_OWN: Final = pytest.StashKey[bool]()
"""The lab is the test's own, not shared with others."""


# -- options


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hanlab", "hanlab: tests on emulated and real boards")
    for name, settings in _OPTIONS:
        try:
            group.addoption(name, **settings)
        except (ArgumentError, ValueError):  # another plugin has one of that name
            group.addoption(f"--hanlab-{name.removeprefix('--')}", **settings)
    parser.addini("hanlab_lab", "the project's lab.toml, from the root folder", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARK)
    if config.getoption("hanlab_lab", None):  # a wrong name is said before anything runs
        from hanlab.hil.opening import source_of

        at_once = config.getoption("numprocesses", None) or 0
        if source_of(config).file and at_once > 1:
            raise pytest.UsageError(
                f"a lab with real boards is one process's at a time, not {at_once}'s: -n 0"
            )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Where a project says which lab it means: that one; nothing in other projects."""
    said = config.getoption("hanlab_lab", None) or config.getini("hanlab_lab")
    seed = config.getoption("hanlab_seed", None)
    return f"hanlab: lab {said}" + (f", seed {seed}" if seed is not None else "") if said else None


# -- fixtures


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """The test's own lab: fresh from the box, on emulated boards; on real ones as they are."""
    from hanlab.hil.opening import needs_of, opened

    request.node.stash[_OWN] = True
    yield from opened(request.config, needs_of(request.node), tmp_path)


@pytest.fixture
def home(lab: Lab) -> Home:
    """The lab's home; of several the first."""
    return lab.homes[0]


@pytest.fixture
def comms_hub(home: Home) -> CommsHub:
    """The home's Communications Hub."""
    return home.comms_hub


@pytest.fixture
def ppmid(home: Home) -> Device:
    """The home's PPMID; of several the first."""
    if not home.ppmids:
        pytest.skip("needs a PPMID, and the lab has none")
    return home.ppmids[0]


@pytest.fixture
def dsp(lab: Lab) -> Dsp:
    """The lab's DSP: Service Requests, the SMI, alerts."""
    return lab.dsp


@pytest.fixture
def wire(lab: Lab) -> Wire:
    """The lab's wires: impairments, power cuts, the capture, counters."""
    return lab.wire


# -- what runs beside a test


def _lab_of(item: pytest.Item) -> Lab | None:
    found: Any = getattr(item, "funcargs", {}).get("lab")
    return found if type(found).__module__ == "hanlab.hil.lab" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("hanlab") and "lab" not in getattr(item, "fixturenames", ()):
        from hanlab.hil.opening import needs_of, refuse

        refuse(item.config, needs_of(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    lab = _lab_of(item)
    if lab is None:
        return (yield)
    if _OWN not in item.stash:  # it was made without asking this test
        from hanlab.hil.needs import lacks
        from hanlab.hil.opening import needs_of

        if reason := lacks(lab.facade.config, needs_of(item)):
            pytest.skip(f"{reason} (the lab is shared)")
    try:
        result = yield
        if forgotten := lab.end():
            pytest.fail(forgotten, pytrace=False)
    finally:
        what = {"lab": lab.name, "seed": lab.seed, **lab.figures}
        item.user_properties += [(f"hanlab.{name}", value) for name, value in what.items()]
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    lab = _lab_of(item) if report.failed and call.when != "teardown" else None
    if lab is not None:
        try:
            from hanlab.hil.failure import attach

            attach(item, report, lab, alone=_OWN in item.stash)
        except Exception as error:  # a full disk, say: the other tests go on
            report.sections.append(("hanlab: what the boards say is missing", repr(error)))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    lab = _lab_of(item)
    try:
        return (yield)
    finally:
        if lab is not None and lab.is_open:  # others have it, too: the next one begins here
            lab.begin()
