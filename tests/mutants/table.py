"""The table of mutants: tests/mutants/*.toml.

[[mutant]]
why = "a counter that is used twice is taken"       # what is wrong with it, in words
file = "host/hanlab/dsp/service.py"
old = "request.counter <= last"                     # stands exactly once in the file
new = "request.counter < last"
tests = ["tests/dsp/test_authorisation.py"]         # the fastest tests that have to fail; node ids too
explained = "…"                                     # only if it survives: why that is no gap
hangs = true                                        # only if it never ends: a time-out is its failure
"""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]

_NEEDED: Final = {"why": str, "file": str, "old": str, "new": str, "tests": list}
_OPTIONAL: Final = {"explained": str, "hangs": bool}


@dataclass(frozen=True)
class Mutant:
    """One wrong change. `source`: the table's file and the place in it, from 1, as "store.toml#3"."""

    source: str
    why: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    explained: str = ""
    hangs: bool = False

    @property
    def firmware(self) -> bool:
        return self.file.startswith(("firmware/", "boards/ports/"))

    def applied(self, text: str) -> str:
        """The file's text with the change.

        Raises:
            ValueError: `old` does not stand in it exactly once.
        """
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.source}: {self.old!r} stands {found} times in {self.file}")
        return text.replace(self.old, self.new)


def read_tables(folder: Path = HERE) -> list[Mutant]:
    """All mutants, file after file.

    Raises:
        ValueError: an entry lacks something, or has what no entry has.
    """
    return [
        _entry(f"{path.name}#{number}", raw)
        for path in sorted(folder.glob("*.toml"))
        for number, raw in enumerate(_entries(path), 1)
    ]


def _entries(path: Path) -> list[dict[str, Any]]:
    data = tomllib.loads(path.read_text("utf-8"))
    if set(data) != {"mutant"}:
        raise ValueError(f"{path.name}: only [[mutant]] is known, there is {sorted(data)}")
    entries: list[dict[str, Any]] = data["mutant"]
    return entries


def _entry(source: str, raw: dict[str, Any]) -> Mutant:
    unknown = set(raw) - set(_NEEDED) - set(_OPTIONAL)
    wrong = [key for key, kind in _NEEDED.items() if not (isinstance(raw.get(key), kind))]
    wrong += [key for key, kind in _OPTIONAL.items() if not isinstance(raw.get(key, kind()), kind)]
    if unknown or wrong or not raw["tests"]:
        raise ValueError(f"{source}: unknown {sorted(unknown)}, missing or of a wrong type {wrong}")
    return Mutant(source, **{**raw, "tests": tuple(raw["tests"])})


def check(mutant: Mutant, root: Path = ROOT) -> None:
    """That the entry can be tried: its place is there, what it makes is no syntax error, its tests exist.

    Raises:
        ValueError: which of them does not hold.
    """
    path = root / mutant.file
    if not path.is_file():
        raise ValueError(f"{mutant.source}: there is no {mutant.file}")
    changed = mutant.applied(path.read_text("utf-8"))
    if mutant.new == mutant.old:
        raise ValueError(f"{mutant.source}: it changes nothing")
    try:
        if path.suffix == ".py":
            compile(changed, mutant.file, "exec")
        elif path.suffix == ".toml":
            tomllib.loads(changed)
        elif path.suffix == ".csv":
            list(csv.DictReader(changed.splitlines(), strict=True))
    except (SyntaxError, ValueError, csv.Error) as e:
        raise ValueError(f"{mutant.source}: {mutant.file} would not even parse: {e}") from e
    for test in mutant.tests:
        name, _, inside = test.partition("::")
        target = root / name
        if not target.exists():
            raise ValueError(f"{mutant.source}: there is no {name}")
        function = inside.rpartition("::")[2].partition("[")[0]
        if function and f"def {function}(" not in target.read_text("utf-8"):
            raise ValueError(f"{mutant.source}: {name} has no {function}")
