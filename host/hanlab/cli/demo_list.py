"""`hanlab demo --list`: the failure catalogue by name; nothing is run, and nothing that runs is imported."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap

from hanlab.demos.catalogue import CATALOGUE


def list_demos(*, as_json: bool) -> None:
    """Name every demo in a line each."""
    if as_json:
        print(
            json.dumps(
                [
                    {"name": d.name, "title": d.title, "why": d.why, "tour": d.tour}
                    for d in CATALOGUE
                ]
            )
        )
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for demo in CATALOGUE:
        name = f"{demo.name:<15} {'*' if demo.tour else ' '} "
        print(
            textwrap.fill(demo.title, width, initial_indent=name, subsequent_indent=" " * len(name))
        )
    print("\nhanlab demo NAME runs one, hanlab demo the tour (*)")
