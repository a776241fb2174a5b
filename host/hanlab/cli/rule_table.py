"""`hanlab rules`: the matrix of S1SR clauses and Device Models, and which tests show which rule."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import typer
from rich.table import Table

from hanlab.boards.clauses import CLAUSES
from hanlab.boards.data import load_model, model_names
from hanlab.cli.show import console, say
from hanlab.rules.coverage import coverage, data_coverage
from hanlab.rules.table import BASIS, SOURCES, Rule, rules
from hanlab.s1sp.dmves import check, matrix


def show_matrix(*, as_json: bool) -> None:
    """DMVES as the model files have it; exit 1 if they contradict themselves."""
    models = [load_model(name) for name in model_names()]
    cells, wrong = matrix(models), check(models)
    if as_json:
        print(json.dumps({"matrix": cells, "mismatches": [vars(m) for m in wrong]}))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("S1SR clause", "about", "holds for"):
            table.add_column(column, no_wrap=column != "holds for")
        for clause in CLAUSES:
            on = [m.model for m in models if cells[clause.number][m.model]]
            table.add_row(clause.number, clause.subject, ", ".join(on) or "-")
        out = console()
        out.print(table)
        out.print("which clause holds for which real Device Model is not public: illustrative")
        for mismatch in wrong:
            say(out, f"✗ {mismatch.model}, {mismatch.clause}", mismatch.what, "red")
        if not wrong:
            say(
                out,
                "✓ consistent",
                "the clauses are the switches, and have what they go by",
                "green",
            )
    if wrong:
        raise typer.Exit(1)


def show_coverage(*, as_json: bool) -> None:
    """Every row of the rule table with what shows it, or why it is open."""
    shown, data = coverage(), data_coverage()
    rows = [_state(rule, shown.get(rule.number, []), data.get(rule.number, [])) for rule in rules()]
    if as_json:
        found = [{**vars(rule), "kind": kind, "shown_by": by} for rule, kind, by in rows]
        print(json.dumps({"rules": found}))
        return
    out = console()
    for rule, kind, by in rows:
        mark, style = _LOOKS[kind]
        out.print(f"{mark} {rule.number:>3} {rule.about}: {rule.rule}", style=style, soft_wrap=True)
        for name in by or [f"open: {rule.open or 'no test names it'}"]:
            out.print(f"        {'data: ' if kind == 'data' else ''}{name}", soft_wrap=True)
    counts = Counter(kind for _, kind, _ in rows)
    out.print(
        f"\n{counts['shown']} of {len(rows)} rows are shown by tests, {counts['data']} are data that a "
        f"test compares, {counts['open']} are open with a reason",
        soft_wrap=True,
    )
    for letter, title in SOURCES.items():
        out.print(f"  {letter}: {title}", style="dim", soft_wrap=True)
    out.print(f"  basis: {'; '.join(f'{k} {v}' for k, v in BASIS.items())}", style="dim")


_LOOKS: Final = {
    "shown": ("✓", "green"),
    "data": ("=", "cyan"),
    "open": ("-", "dim"),
    "missing": ("✗", "red"),
}
"""Mark and style of a row: shown by behaviour, only data, open with a reason, or none of these."""


def _state(rule: Rule, shown: list[str], data: list[str]) -> tuple[Rule, str, list[str]]:
    """The row, what kind of row it is (a key of `_LOOKS`), and the tests behind that."""
    if shown:
        return rule, "shown", shown
    if data:
        return rule, "data", data
    return rule, "open" if rule.open else "missing", []
