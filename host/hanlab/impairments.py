"""What may go wrong on a wire, as settings: the tables [wan] and [han] of lab.toml, and `--impair`.

```toml
[wan]                     # the UART of each board
loss = 0.2                # chance that a unit never arrives
burst = 4                 # units that a loss takes in a row, on average
flips = 0.001             # chance that an octet has a bit inverted
truncate = 0.01           # chance that only the beginning of a unit arrives
duplicate = 0.05          # chance that a unit arrives twice
reorder = 0.05            # chance that a unit arrives after the one behind it
stall = 0.01              # chance that the wire holds a unit, and all behind it, for stall_s
stall_s = 2.0             # seconds
pulled = [[12.0, 30.0]]   # no wire for 30 s, from 12 s after power-on
```

A unit is what a sender sends at once: on a UART an SMP frame, on the air an 802.15.4 frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from hanlab.errors import UsageError
from hanlab.toml import check_keys, shown

WIRES: Final = ("wan", "han")

_RATES: Final = ("loss", "flips", "truncate", "duplicate", "reorder", "stall")
_EXAMPLE: Final = "--impair wan.loss=0.2,han.loss=0.2,wan.pulled=12+30"


@dataclass(frozen=True)
class Impairments:
    """Of one wire, both ways. Rates are 0 to 1, times seconds; none of them is no impairment at all."""

    loss: float = 0.0
    burst: float = 1.0
    """Units that a loss takes in a row, on average (Gilbert's model); `loss` stays the share of all."""
    flips: float = 0.0
    """Of each octet; the others are of each unit."""
    truncate: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    stall: float = 0.0
    stall_s: float = 1.0
    pulled: tuple[tuple[float, float], ...] = ()
    """(from, for how long), in seconds of bench time."""

    @property
    def any(self) -> bool:
        return bool(self.pulled) or any(getattr(self, rate) for rate in _RATES)

    def __str__(self) -> str:
        """As `--impair` takes it, without the wire."""
        said = [
            f"{f.name}={getattr(self, f.name):g}"
            for f in _SIMPLE
            if getattr(self, f.name) != f.default
        ]
        said += [f"pulled={start:g}+{duration:g}" for start, duration in self.pulled]
        return ",".join(said)


PERFECT: Final = Impairments()
"""A wire with none."""

_SIMPLE: Final = tuple(f for f in fields(Impairments) if f.name != "pulled")


def read_impairments(table: Any, where: str) -> Impairments:
    """Check a [wan] or [han] table of lab.toml.

    Raises:
        UsageError: a setting is unknown, or is not what it has to be.
    """
    if not isinstance(table, Mapping):
        raise UsageError(
            f"{where} has to be a table", next_step=f"[{where}] with loss = 0.2 and the like"
        )
    check_keys(table, where, {f.name for f in fields(Impairments)})
    pulled = table.get("pulled", [])
    if not isinstance(pulled, list):
        raise _wrong_pulled(where, pulled)
    return Impairments(
        **{f.name: _number(where, f.name, table[f.name]) for f in _SIMPLE if f.name in table},
        pulled=tuple(_pull(where, pull) for pull in pulled),
    )


def with_impairments(impaired: Mapping[str, Impairments], text: str) -> dict[str, Impairments]:
    """`impaired` (by the wire's name) with what `--impair` says on top, e.g. `wan.loss=0.2,han.pulled=5+30`.

    Raises:
        UsageError: it cannot be read.
    """
    result = dict(impaired)
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        wire, dot, setting = name.strip().partition(".")
        if not equals or not dot or wire not in WIRES:
            raise UsageError(
                f"--impair: {item!r} is no WIRE.SETTING=VALUE; wires are {' and '.join(WIRES)}",
                next_step=_EXAMPLE,
            )
        where = f"--impair {wire}"
        if setting == "pulled":
            start, _, duration = value.partition("+")
            pull = _pull(where, [_parsed(where, setting, start), _parsed(where, setting, duration)])
            result[wire] = replace(result[wire], pulled=(*result[wire].pulled, pull))
            continue
        checked = read_impairments({setting: _parsed(where, setting, value)}, where)
        result[wire] = replace(result[wire], **{setting: getattr(checked, setting)})
    return result


def _parsed(where: str, setting: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{where}: {setting}={text!r} is no number", next_step=_EXAMPLE) from None


def _number(where: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(
            f"{where}: {name} has to be a number, not {shown(value)}", next_step=f"{name} = 0.2"
        )
    low, high = {"burst": (1.0, 1e6), "stall_s": (0.0, 3600.0)}.get(name, (0.0, 1.0))
    if not low <= value <= high:  # also if it is no number (nan)
        raise UsageError(
            f"{where}: {name} has to be {low:g} to {high:g}, not {value:g}",
            next_step=f"{name} = {min(max(low, 0.2), high):g}",
        )
    return float(value)


def _pull(where: str, pull: Any) -> tuple[float, float]:
    if (
        not isinstance(pull, list)
        or len(pull) != 2
        or any(isinstance(x, bool) or not isinstance(x, int | float) for x in pull)
        or not (0 <= pull[0] < 1e9 and 0 < pull[1] < 1e9)
    ):
        raise _wrong_pulled(where, pull)
    return float(pull[0]), float(pull[1])


def _wrong_pulled(where: str, value: Any) -> UsageError:
    return UsageError(
        f"{where}: pulled has to be a list of [from, for how long] in seconds, not {shown(value)}",
        next_step="pulled = [[12.0, 30.0]]",
    )
