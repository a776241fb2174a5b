"""Coverage-guided fuzzing (atheris): `python tests/fuzz/run.py TARGET [libFuzzer's options]`.

New inputs go to a scratch folder; what is worth keeping is copied to the corpus by hand. An input that
crashes is written to crash-* beside it, and belongs into the corpus as well once it is mended.
"""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    atheris = importlib.import_module("atheris")
    name, *options = sys.argv[1:]
    sys.path.insert(0, str(HERE.parent))
    with atheris.instrument_imports(include=["hanlab", "smp", "smpclient", "tomllib"]):
        targets = importlib.import_module("fuzz.targets")
    logging.disable(logging.WARNING)  # smpclient says what it drops
    dictionary = HERE / f"{name}.dict"
    if dictionary.exists():
        options.insert(0, f"-dict={dictionary}")
    folders = [option for option in options if not option.startswith("-")]
    if not folders:
        options.append(str(HERE / "corpus" / name))
    atheris.Setup([sys.argv[0], *options], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
