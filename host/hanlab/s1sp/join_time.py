"""JoinTimePeriod in seconds, as 8.11 has it, to the whole minutes of a SMETS1 CH (18.62)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

MINUTE_S: Final = 60
_LATE_S: Final = 10
"""Who was let in at the last moment is on the HAN so much later (s)."""


class Rounding(StrEnum):
    """Which way a JoinTimePeriod becomes whole minutes: illustrative, 18.62 does not say it."""

    UP = "up"
    DOWN = "down"


def join_minutes(join_s: int, rounding: Rounding = Rounding.UP) -> int:
    """The whole minutes that the CH gets for a JoinTimePeriod (1 to 3600 s), at least one (rules 50, 51)."""
    if rounding is Rounding.UP:
        join_s += MINUTE_S - 1
    return max(1, join_s // MINUTE_S)


def join_window_s(join_s: int) -> float:
    """How long it may take until a device with that JoinTimePeriod is on the HAN (s), counted generously."""
    return MINUTE_S * join_minutes(join_s) + _LATE_S
