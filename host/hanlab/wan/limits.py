"""Deadlines: what the board says it needs (group 0x5331, `limits`), and how they scale with the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from hanlab.wan.messages import LimitsReadResponse

JOURNAL_OCTETS: Final = 65_536
"""A change of the store (reserve, seal, erase) costs no more flash work than writing so much."""
CHECKPOINT_OCTETS: Final = 16_384
"""The same for a chunk of an upload: what it writes besides its own octets."""


@dataclass(frozen=True)
class Limits:
    """How long a board may take. The defaults are for one that does not say."""

    reply_s: float = 2.5
    """To answer what needs no flash work and no HAN."""
    write_octets_s: float = 25_000.0
    hash_octets_s: float = 100_000.0
    han_s: float = 15.0
    """To answer what a device on the HAN has to be asked for."""

    @classmethod
    def of(cls, answer: LimitsReadResponse) -> Self:
        return cls(
            reply_s=max(answer.reply_ms, 1) / 1000,
            write_octets_s=float(max(answer.write_octets_s, 1)),
            hash_octets_s=float(max(answer.hash_octets_s, 1)),
            han_s=answer.han_ms / 1000,
        )

    def hash_s(self, octets: int) -> float:
        """To read so many octets back and hash them."""
        return octets / self.hash_octets_s

    def write_s(self, octets: int = JOURNAL_OCTETS) -> float:
        """To write so many octets to flash."""
        return octets / self.write_octets_s
