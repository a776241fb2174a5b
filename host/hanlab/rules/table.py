"""The table of rules, each drawn from a public document of DCC or SEC and put in hanlab's words."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from typing import Final

SOURCES: Final = {
    "A": "DCC's conclusions on S1SR, CH and PPMID firmware (September 2021)",
    "B": "DCC's conclusions on S1SR for the Secure cohort (July 2020)",
    "C": "DCC's conclusions on TMAD and early firmware (September 2020)",
    "D": "SEC modification report MP105",
    "E": "DCC's list of Device Model Combinations for MOC",
}
BASIS: Final = {
    "S": "the document says it",
    "I": "inferred from the document",
    "N": "the document names the subject only",
}


@dataclass(frozen=True)
class Rule:
    """A row. `open`: why hanlab does not fulfil it; empty where it does."""

    number: int
    source: str
    basis: str
    about: str
    rule: str
    open: str


def rules() -> list[Rule]:
    """All rows, in their order."""
    text = resources.files("hanlab.rules").joinpath("table.csv").read_text("utf-8")
    return [
        Rule(int(r["number"]), r["source"], r["basis"], r["about"], r["rule"], r["open"])
        for r in csv.DictReader(text.splitlines())
    ]
