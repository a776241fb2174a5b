"""The firmware's codecs, run where they belong: in a MicroPython VM that stays up and answers questions."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from typing import Any, Final, Self

from hanlab.boards.vm import find_vm
from hanlab.resources import boards_dir, firmware_dir

HEAP: Final = 500_000
"""Octets (32-bit objects): a board's heap and the RAM that stands in for its flash."""

_SCRIPT: Final = Path(__file__).parents[1] / "firmware" / "oracle.py"


class Refused(Exception):
    """The firmware raised: the exception's name and text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Firmware:
    """Ask it what a function of tests/firmware/oracle.py returns."""

    def __init__(self) -> None:
        vm = find_vm()
        self._process = subprocess.Popen(
            [
                *vm.command,
                "-X",
                f"heapsize={vm.heap_argument(HEAP)}",
                str(_SCRIPT),
                str(firmware_dir()),
                str(boards_dir() / "ports"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )

    def ask(self, name: str, *arguments: Any) -> Any:
        """The value of `name(*arguments)` in the VM; Refused if it raises an exception."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(ascii((name, *arguments)) + "\n")
        said = []
        while not (line := self._process.stdout.readline()).startswith(("(True,", "(False,")):
            said.append(line)  # a traceback, or the firmware's own prints
            if not line:
                raise AssertionError("the VM ended:\n" + "".join(said))
        good, *answer = ast.literal_eval(line)
        if not good:
            raise Refused(*answer)
        return answer[0]

    def try_(self, name: str, *arguments: Any, refusal: str) -> Any:
        """As `ask`; None for the one exception that it may raise."""
        try:
            return self.ask(name, *arguments)
        except Refused as e:
            if e.kind != refusal:
                raise
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()
