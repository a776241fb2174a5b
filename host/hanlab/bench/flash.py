"""A NOR flash chip in a file: it lasts from one command to the next, as a real board's does.

The model is strict: an erase sets a whole sector to 0xFF, a program can only clear bits. Programming
octets that were not erased before is an error of the firmware, and it fails the run.

A `fault` decides what becomes of each operation: it may be done, lost, half done or refused.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto, unique
from pathlib import Path
from typing import Final

from hanlab.bench.kernel import BenchError
from hanlab.boards.data import FlashFacts
from hanlab.errors import UsageError
from hanlab.files import write_whole

_ERASED = b"\xff"


@unique
class Kind(StrEnum):
    ERASE = "erase"
    PROGRAM = "program"


@unique
class Effect(Enum):
    """What becomes of an operation."""

    DONE = auto()
    STUCK = auto()
    """The chip says that it is done, and has changed nothing: a worn-out sector."""
    REFUSED = auto()
    """The chip's driver reports an error, and nothing has changed."""
    CUT_BEFORE = auto()
    CUT_TORN = auto()
    """Power goes in mid-operation: a part is done."""
    CUT_AFTER = auto()


_HALF_ERASED: Final = 64
"""Octets of a torn erase, between those that are erased and those that are as before."""


@dataclass(frozen=True)
class Operation:
    """One sector erase or page program that is about to begin; the first one's `number` is 1.

    Done, it leaves `octets` at `address`.
    """

    number: int
    kind: Kind
    address: int
    octets: bytes

    def leaves(self, effect: Effect, old: bytes) -> bytes:
        """What is at `address` after it, if `old` was there before.

        Half done it is the same each time for the same operation: the first octets are done, one of a
        page (64 of a sector) have some of their bits changed, the rest is as it was.
        """
        match effect:
            case Effect.DONE | Effect.CUT_AFTER:
                return self.octets
            case Effect.STUCK | Effect.REFUSED | Effect.CUT_BEFORE:
                return old
        chance = random.Random(f"{self.number} {self.address}")
        done = chance.randrange(len(old))
        end = min(len(old), done + (1 if self.kind is Kind.PROGRAM else _HALF_ERASED))
        half = (
            was ^ ((was ^ becomes) & chance.getrandbits(8))
            for was, becomes in zip(old[done:end], self.octets[done:end], strict=True)
        )
        return self.octets[:done] + bytes(half) + old[end:]


Fault = Callable[[Operation], Effect]


class PowerCut(Exception):
    """A fault cut the board's power; `took_us`: what the operation had taken until then."""

    def __init__(self, took_us: int) -> None:
        super().__init__(took_us)
        self.took_us = took_us


class FlashRefused(Exception):
    """The chip would not do it; `took_us`: how long it tried."""

    def __init__(self, took_us: int) -> None:
        super().__init__(took_us)
        self.took_us = took_us


class NorFlash:
    """`operations` counts sector erases and page programs; both return the time they take (µs).

    Both raise PowerCut or FlashRefused where `fault` says so.
    """

    def __init__(self, path: Path, facts: FlashFacts) -> None:
        self.path = path
        self.facts = facts
        self.operations = 0
        self.fault: Fault | None = None
        self._stuck: set[int] = set()  # sectors that hold what they held before they were erased
        _make_whole(path, facts.filesystem)
        self._file = os.open(path, os.O_RDWR)

    def close(self) -> None:
        os.close(self._file)

    def read(self, address: int, length: int) -> bytes:
        """What the chip holds there."""
        return os.pread(self._file, length, address)

    def erase(self, address: int) -> int:
        """Erase the sector at `address`."""
        sector = self.facts.sector
        self._check(address, sector)
        return self._do(Kind.ERASE, address, _ERASED * sector, self.facts.erase_us)

    def program(self, address: int, octets: bytes) -> int:
        """Program `octets` at `address`, page by page."""
        self._check(address, len(octets))
        before = os.pread(self._file, len(octets), address)
        if address - address % self.facts.sector in self._stuck:
            octets = bytes(new & old for new, old in zip(octets, before, strict=True))
        elif before.count(_ERASED) != len(before) and any(
            new & ~old for new, old in zip(octets, before, strict=True)
        ):
            raise BenchError(
                f"flash {self.path.name}: {len(octets)} octets programmed at 0x{address:06X}, "
                "where a bit would have to go from 0 to 1: that sector was not erased before"
            )
        page = self.facts.page
        took = 0
        at = 0
        while at < len(octets):
            end = at + page - (address + at) % page
            try:
                took += self._do(Kind.PROGRAM, address + at, octets[at:end], self.facts.program_us)
            except (PowerCut, FlashRefused) as e:
                e.took_us += took
                raise
            at = end
        return took

    def _do(self, kind: Kind, address: int, octets: bytes, takes_us: int) -> int:
        """One operation, after which flash holds `octets` at `address`."""
        self.operations += 1
        if self.fault:
            operation = Operation(self.operations, kind, address, octets)
            effect = self.fault(operation)
            old = os.pread(self._file, len(octets), address)
            octets = operation.leaves(effect, old)
        else:
            effect = Effect.DONE
        os.pwrite(self._file, octets, address)
        if kind is Kind.ERASE:
            (self._stuck.add if effect is Effect.STUCK else self._stuck.discard)(address)
        match effect:
            case Effect.REFUSED:
                raise FlashRefused(takes_us)
            case Effect.CUT_BEFORE:
                raise PowerCut(0)
            case Effect.CUT_TORN:
                raise PowerCut(takes_us // 2)
            case Effect.CUT_AFTER:
                raise PowerCut(takes_us)
        return takes_us

    def rot(self, content: bytes) -> int:
        """Flip one bit where the chip holds `content`, as years do; the address of its octet."""
        address = self.path.read_bytes().find(content)
        if address < 0:
            raise BenchError(f"flash {self.path.name} does not hold these {len(content)} octets")
        address += len(content) // 2
        octet = os.pread(self._file, 1, address)[0]
        os.pwrite(self._file, bytes((octet ^ 0x10,)), address)
        return address

    def _check(self, address: int, length: int) -> None:
        if address < 0 or address + length > self.facts.filesystem:
            raise BenchError(
                f"flash {self.path.name}: {length} octets at 0x{address:X} are outside it"
            )


def _make_whole(path: Path, size: int) -> None:
    """Have a flash file of `size` octets at `path`: the one that is there, or a new, erased one.

    Raises:
        UsageError: what is there has another size; it stays as it is.
        OSError: there is no room for it, and nothing of it is left.
    """
    if path.exists():
        held = path.stat().st_size
        if held == size:
            return
        empty = not path.read_bytes().strip(_ERASED)
        raise UsageError(
            f"{path} holds {held:,} octets, but this board's flash has {size:,}",
            next_step="nothing is in it (a full disk leaves such a file): delete it, and the board "
            "begins empty"
            if empty
            else "it is another board type's, or damaged: name its board type in lab.toml again, or move "
            "the file aside, and the board begins empty",
        )
    write_whole(path, _ERASED * size, lasting=False)  # an erased one is soon made again
