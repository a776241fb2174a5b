"""The tests in this folder are MicroPython: each function runs inside a VM of its own (run.py)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from hanlab.boards.vm import find_vm
from hanlab.resources import firmware_dir

HEAP = 400_000
"""Octets (32-bit objects): a board's heap, and the RAM that stands in for flash in these tests."""
LIMIT_S = 60

_TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> VmModule | None:
    """Collect a file of this folder as MicroPython instead of importing it."""
    if module_path.parent == Path(__file__).parent:
        return VmModule.from_parent(parent, path=module_path)
    return None


class VmModule(pytest.Module):
    def _getobj(self) -> Any:
        return None

    def collect(self) -> Iterator[VmTest]:
        for name in _TEST.findall(self.path.read_text()):
            yield VmTest.from_parent(self, name=name)


class VmFailed(Exception):
    """What the VM printed."""


class VmTest(pytest.Item):
    def runtest(self) -> None:
        vm = find_vm()
        command = [
            *vm.command,
            "-X",
            f"heapsize={vm.heap_argument(HEAP)}",
            str(Path(__file__).with_name("run.py")),
            str(firmware_dir()),
            str(self.path),
            self.name,
        ]
        with TemporaryDirectory(prefix="hanlab-") as folder:  # what it writes goes, however it ends
            run = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        if run.returncode or f"ok {self.name}" not in run.stdout:
            raise VmFailed(f"{vm}, exit code {run.returncode}\n{run.stdout}{run.stderr}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        if isinstance(excinfo.value, VmFailed):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style))

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"[VM] {self.name}"
