"""The table does not rot: each mutant still has its place in the code, still parses, still has its tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .run import Fate, State, failing, fate_of, is_good_enough, rests_on
from .table import Mutant, check, read_tables

TABLE = read_tables()


@pytest.mark.parametrize("source", sorted({m.source.partition("#")[0] for m in TABLE}))
def test_each_mutant_can_be_tried(source: str) -> None:
    rotten = []
    for mutant in TABLE:
        if mutant.source.partition("#")[0] == source:
            try:
                check(mutant)
            except ValueError as e:
                rotten.append(str(e))
    assert not rotten, "\n".join(["mend these entries (or their places in the code):", *rotten])


def test_no_mutant_is_there_twice() -> None:
    seen: dict[tuple[str, str, str], str] = {}
    twice = []
    for m in TABLE:
        other = seen.setdefault((m.file, m.old, m.new), m.source)
        if other != m.source:
            twice.append(f"{other} and {m.source} are the same change")
    assert not twice, "\n".join(twice)


def _mutant(**fields: Any) -> Mutant:
    known: dict[str, Any] = {
        "source": "x.toml#1",
        "why": "w",
        "file": "README.md",
        "old": "a",
        "new": "b",
    }
    return Mutant(**{**known, "tests": ("tests/host/test_cli.py",), **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"old": "no such words in the file"}, "stands 0 times"),
        ({"old": "e"}, "times in README.md"),
        ({"file": "host/none.py"}, "there is no host/none.py"),
        ({"tests": ("tests/none.py",)}, "there is no tests/none.py"),
        ({"tests": ("tests/host/test_cli.py::test_none",)}, "has no test_none"),
        ({"new": "# hanlab\n"}, "changes nothing"),
        ({"file": "host/hanlab/errors.py", "old": "class HanlabError(", "new": "class ("}, "parse"),
    ],
)
def test_an_entry_that_has_rotted_is_named(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check(_mutant(**{"old": "# hanlab\n", **fields}))


def test_what_counts_as_killed() -> None:
    plain, hangs = _mutant(), _mutant(hangs=True)
    assert fate_of(plain, 1, "FAILED") is Fate.KILLED
    assert fate_of(plain, 0, "passed") is Fate.SURVIVED
    assert fate_of(plain, None, "") is Fate.TIMED_OUT
    assert fate_of(hangs, None, "") is Fate.KILLED
    assert fate_of(plain, 2, "") is fate_of(plain, 5, "") is Fate.NOT_TRIED


BROKEN = """
import pytest
@pytest.fixture
def broken(): raise OSError("no board")
@pytest.mark.parametrize("arrow", ["S1SP → CH"])
def test_a(arrow): assert arrow == "CH → PPMID"
def test_b(broken): pass
def test_c(): print("not this")
"""


def test_it_is_shown_why_a_test_fails_anyhow(tmp_path: Path) -> None:
    file = tmp_path / "test_broken.py"
    file.write_text(BROKEN, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    tests, why = failing(done.stdout)
    assert tests == {"test_broken.py::test_a", "test_broken.py::test_b"}
    assert "AssertionError: assert 'S1SP → CH' == 'CH → PPMID'" in why
    assert "OSError: no board" in why
    assert "not this" not in why
    assert failing("3 passed in 0.1 s") == (set(), "")


def test_a_test_that_fails_anyhow_proves_nothing() -> None:
    mutant = _mutant(tests=("tests/a.py::test_b[c]", "tests/d.py"))
    assert rests_on(mutant, ["tests/a.py::test_b"])
    assert rests_on(mutant, ["tests/d.py::test_e"])
    assert not rests_on(
        mutant, ["tests/a.py::test_bc", "tests/a.py::test_x", "tests/d.pyx::test_e"]
    )


def test_one_in_twenty_may_survive_if_it_says_why() -> None:
    def states(survivors: int, why: str) -> list[State]:
        lives = [State(_mutant(explained=why), Fate.SURVIVED, 1.0, "")] * survivors
        return lives + [State(_mutant(), Fate.KILLED, 1.0, "")] * (100 - survivors)

    assert is_good_enough(states(5, "equivalent"))
    assert not is_good_enough(states(6, "equivalent"))
    assert not is_good_enough(states(1, ""))
    assert not is_good_enough([State(_mutant(), Fate.NOT_TRIED, 1.0, "")])
