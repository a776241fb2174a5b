"""`hanlab demo --list`: the failure catalogue by name; nothing is run, and nothing that runs is imported."""

from __future__ import annotations

import json

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
    for demo in CATALOGUE:
        print(f"{demo.name:<15} {'*' if demo.tour else ' '} {demo.title}")
    print("\nhanlab demo NAME runs one, hanlab demo the tour (*)")
