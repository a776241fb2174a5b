"""What the handles' `assert_…` say when they fail: what was wanted, what there is, in numbers."""

from __future__ import annotations

from collections.abc import Iterable


def assert_number(
    what: str,
    value: float,
    unit: str,
    exactly: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    *,
    besides: str = "",
) -> None:
    """Fail unless `value` is `exactly` that, and within the bounds that are given (both inclusive)."""
    __tracebackhide__ = True
    wrong = [
        f"{words} {limit:,}"
        for words, limit, holds in (
            ("exactly", exactly, exactly is None or value == exactly),
            ("at least", at_least, at_least is None or value >= at_least),
            ("at most", at_most, at_most is None or value <= at_most),
        )
        if not holds
    ]
    if wrong:
        raise AssertionError(f"{what}: {value:,} {unit}, not {' and '.join(wrong)}{besides}")


def assert_same(what: str, value: object, wanted: object, besides: str = "") -> None:
    """Fail unless both are the same text."""
    __tracebackhide__ = True
    if str(value) != str(wanted):
        raise AssertionError(f"{what} is {value}, not {wanted}{besides}")


def listed(lines: Iterable[str], nothing: str) -> str:
    """Lines below an assert's first one; `nothing` if there are none."""
    return "".join(f"\n  {line}" for line in lines) or f"\n  ({nothing})"
