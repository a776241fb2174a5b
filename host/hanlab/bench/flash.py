"""A NOR flash chip in a file: it lasts from one command to the next, as a real board's does.

The model is strict: an erase sets a whole sector to 0xFF, a program can only clear bits. Programming
octets that were not erased before is an error of the firmware, and it fails the run.
"""

from __future__ import annotations

import os
from pathlib import Path

from hanlab.bench.kernel import BenchError
from hanlab.boards.data import FlashFacts
from hanlab.errors import UsageError

_ERASED = b"\xff"


class NorFlash:
    """`operations` counts sector erases and page programs; both return the time they take (µs)."""

    def __init__(self, path: Path, facts: FlashFacts) -> None:
        self.path = path
        self.facts = facts
        self.operations = 0
        size = facts.filesystem
        if not path.exists():
            path.write_bytes(_ERASED * size)
        elif path.stat().st_size != size:
            raise UsageError(
                f"{path} holds {path.stat().st_size:,} octets, but this board's flash has {size:,}",
                next_step=f"delete {path} to begin with an empty board",
            )
        self._file = os.open(path, os.O_RDWR)

    def close(self) -> None:
        os.close(self._file)

    def erase(self, address: int) -> int:
        """Erase the sector at `address`."""
        self._check(address, self.facts.sector)
        os.pwrite(self._file, _ERASED * self.facts.sector, address)
        self.operations += 1
        return self.facts.erase_us

    def program(self, address: int, octets: bytes) -> int:
        """Program `octets` at `address`, page by page."""
        self._check(address, len(octets))
        page = self.facts.page
        pages = -(-(address % page + len(octets)) // page)
        before = os.pread(self._file, len(octets), address)
        if before.count(_ERASED) != len(before) and any(
            new & ~old for new, old in zip(octets, before, strict=True)
        ):
            raise BenchError(
                f"flash {self.path.name}: {len(octets)} octets programmed at 0x{address:06X}, "
                "where a bit would have to go from 0 to 1: that sector was not erased before"
            )
        os.pwrite(self._file, octets, address)
        self.operations += pages
        return pages * self.facts.program_us

    def _check(self, address: int, length: int) -> None:
        if address < 0 or address + length > self.facts.filesystem:
            raise BenchError(
                f"flash {self.path.name}: {length} octets at 0x{address:X} are outside it"
            )
