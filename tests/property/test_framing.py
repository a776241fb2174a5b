"""SMP's two serial framings: host and firmware read what the other writes, and neither minds any octets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from smpclient.transport.serial.framing import SerialFraming

from hanlab.wan.framing import FRAMINGS

from .vm_oracle import Firmware

CONSOLE, COBS = 1, 2
NAMES = {CONSOLE: "console", COBS: "cobs"}
BUF_SIZE = 512
"""Octets of the longest request in these tests; a Pico's (boards/pico.toml)."""
REPLY_MAX = 1024
QUIET_MS = 2000

FRAMING = st.sampled_from([CONSOLE, COBS])


@st.composite
def requests(draw: st.DrawFn, most: int = BUF_SIZE) -> bytes:
    """An SMP request: a header as a client writes it, and any octets for a body."""
    body = draw(st.binary(max_size=60) | st.binary(max_size=1).map(lambda b: b * (most - 8)))
    op = draw(st.sampled_from([0, 2])) | draw(st.sampled_from([0, 8]))
    group = draw(st.integers(0, 0xFFFF))
    return (
        bytes(
            [
                op,
                0,
                *len(body).to_bytes(2),
                *group.to_bytes(2),
                *draw(st.binary(min_size=2, max_size=2)),
            ]
        )
        + body
    )


def framed(message: bytes, framing: int) -> bytes:
    return b"".join(FRAMINGS[NAMES[framing]]().encode(message))


def cut(octets: bytes, places: Sequence[int]) -> list[bytes]:
    """`octets` in pieces, as a link may hand them over."""
    ends = sorted({p % (len(octets) + 1) for p in places} | {0, len(octets)})
    return [octets[a:b] for a, b in pairwise(ends) if b > a]


def read_all(framing: SerialFraming, pieces: Sequence[bytes]) -> list[bytes]:
    messages = []
    for piece in pieces:
        framing.feed(piece)
        while (message := framing.take()) is not None:
            messages.append(bytes(message))
    return messages


CUTS = st.lists(st.integers(0, 4000), max_size=8)


@given(st.lists(st.tuples(FRAMING, requests()), min_size=1, max_size=4), CUTS)
def test_firmware_reads_what_the_host_writes(
    firmware: Firmware, sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(framed(message, framing) for framing, message in sent)
    assert firmware.ask("read_frames", cut(stream, cuts), BUF_SIZE) == [
        [[framing, message] for framing, message in sent],
        0,
    ]


@given(st.binary(min_size=1, max_size=REPLY_MAX), FRAMING, CUTS)
def test_host_reads_what_the_firmware_writes(
    firmware: Firmware, message: bytes, framing: int, cuts: list[int]
) -> None:
    stream = firmware.ask("write_frame", message, framing) * 2
    assert read_all(FRAMINGS[NAMES[framing]](), cut(stream, cuts)) == [message] * 2


LINE = st.builds(
    lambda mark, text, end: mark + text + end,
    st.sampled_from([b"\6\t", b"\4\x14", b""]),
    st.binary(max_size=8) | st.text("AQgwZ09+/=", max_size=12).map(str.encode),
    st.sampled_from([b"\n", b"\r\n", b""]),
)
START = st.builds(  # what may begin a COBS frame: the first octets of an SMP header
    lambda op, length: bytes([2, op, 1 if length < 256 else 3, *length.to_bytes(2)]),
    st.sampled_from([0, 2, 8, 10]),
    st.integers(0, 600),
)
GARBAGE = st.lists(
    st.binary(max_size=40)
    | LINE
    | START
    | st.builds(framed, requests(), FRAMING)
    | st.builds(
        lambda f, n: f[: n % len(f)], st.builds(framed, requests(), FRAMING), st.integers(0, 2000)
    ),
    max_size=8,
).map(b"".join)


@given(GARBAGE, CUTS)
def test_firmware_reads_the_same_however_it_is_cut(
    firmware: Firmware, octets: bytes, cuts: list[int]
) -> None:
    """Any octets: no exception, no message longer than the buffer, and how they arrive is no matter."""
    whole, dropped = firmware.ask("read_frames", [octets] if octets else [], BUF_SIZE)
    assert all(len(message) <= BUF_SIZE for _, message in whole)
    assert firmware.ask("read_frames", cut(octets, cuts), BUF_SIZE) == [whole, dropped]
    single = [octets[i : i + 1] for i in range(len(octets))]
    assert firmware.ask("read_frames", single, BUF_SIZE) == [whole, dropped]


@given(GARBAGE, requests(), FRAMING, st.sampled_from([b"\n\0", QUIET_MS + 1]))
def test_firmware_finds_a_frame_after_garbage(
    firmware: Firmware, octets: bytes, message: bytes, framing: int, between: bytes | int
) -> None:
    """What garbage seemed to begin ends with the line and the 00, or with the silence after it."""
    pieces = [octets or b"x", between, framed(message, framing)]
    got, _ = firmware.ask("read_frames", pieces, BUF_SIZE)
    assert [framing, message] == got[-1]


@pytest.mark.parametrize("name", FRAMINGS)
@given(octets=GARBAGE, cuts=CUTS)
@example(octets=b"\6\t\n", cuts=[])
@example(octets=b"\6\tAAA=\n", cuts=[])
@example(octets=b"\6\tAAAA\n", cuts=[])
def test_host_reads_the_same_however_it_is_cut(name: str, octets: bytes, cuts: list[int]) -> None:
    """Any octets: no exception, and how they arrive is no matter."""
    whole = read_all(FRAMINGS[name](), [octets])
    assert read_all(FRAMINGS[name](), cut(octets, cuts)) == whole


@pytest.mark.parametrize("name", ["cobs", "console"])
@given(octets=GARBAGE, message=st.binary(min_size=8, max_size=REPLY_MAX))
def test_host_finds_a_frame_after_garbage(name: str, octets: bytes, message: bytes) -> None:
    """The firmware begins a COBS answer with 00; before a console one a line end is enough."""
    framing: Any = FRAMINGS[name]()
    read_all(framing, [octets, b"\n\0"])
    assert read_all(framing, framing.encode(message)) == [message]
