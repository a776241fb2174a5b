"""CBOR: the firmware's is cbor2's in all that both accept, it bounds what it takes, and nothing crashes it."""

from __future__ import annotations

from typing import Any

import cbor2
from hypothesis import assume, given
from hypothesis import strategies as st

from .vm_oracle import Firmware

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(-(1 << 64), (1 << 64) - 1) | st.sampled_from(
    [v + d for v in (0, 24, 1 << 8, 1 << 16, 1 << 32) for d in (-2, -1, 0, 1)]
)
VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT | st.binary(max_size=60),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT | NUMBER, inner, max_size=5),
    max_leaves=12,
)
DEPTH = 6
ITEMS = 64


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def items(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(items, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(items, value))
    return 1


def same(ours: Any, theirs: Any) -> bool:
    """Equal, and of the same types: True is not 1 here."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)


@given(VALUE)
def test_both_ways(firmware: Firmware, value: Any) -> None:
    assume(depth(value) <= DEPTH)
    assume(items(value) <= ITEMS)
    assert same(firmware.ask("cbor_decode", cbor2.dumps(value)), value)
    coded = firmware.ask("cbor_encode", value)
    assert same(cbor2.loads(coded), value)
    assert len(coded) == len(cbor2.dumps(value)), "the shortest form"
    for room in {0, len(coded) // 2, len(coded) - 1}:
        assert firmware.try_("cbor_encode", value, room, refusal="CborError") is None


@given(VALUE, st.integers(0, ITEMS))
def test_bounds(firmware: Firmware, value: Any, most: int) -> None:
    decoded = firmware.try_("cbor_decode", cbor2.dumps([value]), most, refusal="CborError")
    assert (decoded is not None) == (items([value]) <= most and depth([value]) <= DEPTH)


HEAD = st.builds(
    lambda major, info, argument: bytes([major << 5 | info]) + argument,
    st.integers(0, 7),
    st.integers(0, 31),
    st.binary(max_size=8),
)
ODD_TEXT = st.lists(
    st.sampled_from(
        [b"\xc0\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80"]
    )
    | st.characters().map(lambda c: c.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=2),
    max_size=4,
).map(lambda parts: bytes([0x60 + len(b"".join(parts))]) + b"".join(parts))
LIKE_CBOR = st.lists(
    HEAD | ODD_TEXT | st.binary(max_size=4) | VALUE.map(cbor2.dumps), max_size=12
).map(b"".join)
MUTATED = st.builds(
    lambda coded, at, octets: coded[: at % len(coded)] + octets + coded[at % len(coded) + 1 :],
    VALUE.map(cbor2.dumps),
    st.integers(0, 1 << 16),
    st.binary(max_size=3),
)


@given(st.binary(max_size=100) | ODD_TEXT | LIKE_CBOR | MUTATED)
def test_any_octets(firmware: Firmware, octets: bytes) -> None:
    """A value or CborError; and the value is cbor2's."""
    decoded = firmware.try_("cbor_decode", b"\x81" + octets, refusal="CborError")
    if decoded is not None:
        theirs = cbor2.loads(b"\x81" + octets)
        assert same(decoded, theirs)
        assert items(decoded) <= ITEMS
