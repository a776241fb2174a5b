"""`hanlab new-test`: a first pytest file, which passes at once."""

from __future__ import annotations

import json
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from hanlab.cli.show import console, say
from hanlab.errors import UsageError
from hanlab.files import write_whole
from hanlab.resources import samples_dir

_SAMPLE: Final = "first_test.py"


def new_test(file: Path, *, as_json: bool) -> None:
    """Write the sample to `file`, which must not be there yet, and say how it is run."""
    if not (
        file.suffix == ".py" and (file.name.startswith("test_") or file.stem.endswith("_test"))
    ):
        raise UsageError(
            f"pytest does not look for tests in {file}",
            next_step="hanlab new-test tests/test_ppmid.py: its name begins with test_",
        )
    name = shlex.quote(str(file))
    text = (samples_dir() / _SAMPLE).read_text("utf-8").replace("pytest FILE", f"pytest {name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_whole(file, text.encode(), new=True)
    except FileExistsError:
        raise UsageError(
            f"{file} is there already", next_step="hanlab new-test tests/test_another.py"
        ) from None
    run = f"pytest {name}" if find_spec("pytest") else f"pip install pytest, then pytest {name}"
    if as_json:
        print(json.dumps({"file": str(file), "next": run}))
        return
    out = console()
    say(out, "✓ made", f"{file}: tests that pass on emulated boards, to begin with", "green")
    out.print(f"  next: {run}", soft_wrap=True)
