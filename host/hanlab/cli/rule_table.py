"""`hanlab rules`: the matrix of S1SR clauses and Device Models, and which tests show which rule."""

from __future__ import annotations

import json

import typer
from rich.table import Table

from hanlab.boards.clauses import CLAUSES
from hanlab.boards.data import load_model, model_names
from hanlab.cli.show import console, say
from hanlab.rules.coverage import coverage
from hanlab.rules.table import BASIS, SOURCES, rules
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
    shown = coverage()
    rows = [(rule, shown.get(rule.number, [])) for rule in rules()]
    if as_json:
        print(json.dumps({"rules": [{**vars(r), "shown_by": by} for r, by in rows]}))
        return
    out = console()
    for rule, by in rows:
        mark, style = ("✓", "green") if by else ("-", "dim") if rule.open else ("✗", "red")
        out.print(f"{mark} {rule.number:>3} {rule.about}: {rule.rule}", style=style, soft_wrap=True)
        for name in by or [f"open: {rule.open or 'no test names it'}"]:
            out.print(f"        {name}", soft_wrap=True)
    done = sum(bool(by) for _, by in rows)
    closed = sum(bool(rule.open) and not by for rule, by in rows)
    out.print(f"\n{done} of {len(rows)} rows are shown by tests, {closed} are open with a reason")
    for letter, title in SOURCES.items():
        out.print(f"  {letter}: {title}", style="dim", soft_wrap=True)
    out.print(f"  basis: {'; '.join(f'{k} {v}' for k, v in BASIS.items())}", style="dim")
