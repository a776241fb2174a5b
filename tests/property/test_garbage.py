"""Whole boards: any octets on either wire, also those of a peer that has the key and has gone mad.

No exception, no restart, no image, no other version; and afterwards the board answers as ever.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlab.keys import LabKeys
from hanlab.lab.board_json import HUB_ADDRESS, PAN_ID, board_json
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.wan import messages
from hanlab.wan.framing import FRAMINGS

from .test_framing import GARBAGE, framed
from .test_han import NOISE
from .vm_oracle import Firmware
from .zigbee import Message, Node, from_wire, open_, seal, to_wire

CONSOLE, COBS = 1, 2
CONFIG = make_lab("test", DEFAULT)
PPMID_ADDRESS = HUB_ADDRESS + 1
KEYS = LabKeys(CONFIG.seed)
HUB = Node(PAN_ID, HUB_ADDRESS, CONFIG.hub.eui.octets, KEYS.network(0).octets)
PPMID = Node(PAN_ID, PPMID_ADDRESS, CONFIG.devices[0].eui.octets, KEYS.network(0).octets)

READ, WRITE = 0, 2
RESET = (WRITE, 0, 5)
"""Any map, even an empty one, is a good request to reset."""


def board_of(role: str, wan_open: bool) -> str:
    config = dataclasses.replace(CONFIG, wan_open=wan_open)
    node = config.hub if role == "comms_hub" else config.devices[0]
    return json.dumps(board_json(config, node, KEYS))


# -- what arrives over the WAN

FIELDS = sorted(
    {name for kind in vars(messages).values() for name in getattr(kind, "model_fields", {})}
    | {"off", "data", "len", "sha", "image", "upgrade", "slot", "format", "d", "force", ""}
)
NUMBER = st.sampled_from(
    [0, 1, 255, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
)
VALUE: st.SearchStrategy[Any] = st.recursive(
    NUMBER
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.none()
    | st.booleans()
    | st.text(max_size=4)
    | st.binary(max_size=4)
    | st.sampled_from([bytes(n) for n in (7, 8, 16, 31, 32, 33)] + [PPMID.eui]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)
REQUEST = st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=6).map(cbor2.dumps)


@st.composite
def smp_frames(draw: st.DrawFn) -> bytes:
    """A frame with a good CRC: a request of any group, with any body."""
    op = draw(st.sampled_from([READ, WRITE]))
    group = draw(st.sampled_from([0, 1, messages.GROUP, messages.GROUP, 0xFFFF]))
    command = draw(st.integers(0, 12))
    body = draw(REQUEST | st.binary(max_size=20) | st.just(b""))
    if (op, group, command) == RESET:
        command = 0
    length = draw(st.sampled_from([len(body)] * 5 + [0, len(body) + 1, 500]))
    header = struct.pack(
        ">BBHHBB", op | draw(st.sampled_from([0, 8, 8, 16])), 0, length, group, 1, command
    )
    return framed(header + body, draw(st.sampled_from([CONSOLE, COBS])))


WAN = st.tuples(st.just("wan"), smp_frames() | smp_frames() | GARBAGE)

# -- and over the HAN

ZCL = st.builds(
    lambda control, command, body: bytes([control, 7, command]) + body,
    st.sampled_from([0x00, 0x01, 0x08, 0x09, 0x10, 0x18, 0x19, 0x05]) | st.integers(0, 255),
    st.integers(0, 12),
    st.binary(max_size=60)
    | st.builds(
        lambda n, o: o * n,
        st.sampled_from([1, 8, 9, 14, 16, 25, 79]),
        st.sampled_from([b"\0", b"\xff"]),
    ),
)
INSIDER = st.tuples(
    st.sampled_from([0x0019, 0x0704, 0x0000, 0x0013, 0xFFFF]),  # clusters
    st.sampled_from([0x0109, 0x0109, 0x0109, 0x0000]),  # profiles
    st.sampled_from([1, 1, 1, 0]),  # endpoints
    ZCL | st.binary(max_size=82),
)


def der(tag: int, hash_: bytes, number: int) -> bytes:
    octets = number.to_bytes(number.bit_length() // 8 + 1)
    return bytes([tag, 36 + len(octets), 4, 32]) + hash_ + bytes([2, len(octets)]) + octets


OPEN = b"\x01\x07\x00" + struct.pack("<BHBH", 6, 0xFFFF, 0, 77)
THROUGH = st.builds(  # the tunnel's number is 1 after a start
    lambda tag, hash_, number, cut: [
        (0x0704, 0x0109, 1, p)
        for p in (OPEN, b"\x01\x08\x02\x01\x00" + der(tag, hash_, number)[:cut])
    ],
    st.sampled_from([0x30, 0xA1, 0xA2, 0xA3]),
    st.sampled_from([bytes(32), b"\xff" * 32]),
    NUMBER.filter(lambda n: n < 1 << 63),
    st.sampled_from([60, 60, 60, 20]),
)
OTA = CONFIG.devices[0].model.ota
assert OTA
NAME = struct.pack("<HHI", OTA.manufacturer_code, OTA.image_type, 7)
OFFER = st.builds(  # the answer to the question that a device asks when it starts, and perhaps blocks of it
    lambda size, offsets, n: [
        (0x0019, 0x0109, 1, payload)
        for payload in (
            b"\x19\x01\x02\x00" + NAME + struct.pack("<I", size),
            *(
                b"\x19\x02\x05\x00" + NAME + struct.pack("<IB", offset, n) + bytes(n)
                for offset in offsets
            ),
        )
    ],
    st.sampled_from([0, 1, 60, 70, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]),
    st.lists(st.sampled_from([0, 1, 60, 65, (1 << 32) - 1]), max_size=3),
    st.sampled_from([0, 1, 10, 60, 65]),
)
HAN = st.tuples(st.just("han"), INSIDER.map(lambda one: [one]) | THROUGH | OFFER | NOISE)

PIECES = st.lists(WAN | HAN, min_size=1, max_size=6)


def han_octets(node: Node, peer: Node, counter: int, what: Any) -> bytes:
    """`what` as octets on the wire to `node`: they are that already, or come from its peer."""
    if isinstance(what, bytes):
        return what
    return b"".join(
        to_wire(
            seal(
                peer,
                Message(peer.short, node.short, profile, cluster, endpoint, endpoint, payload),
                counter + i,
                i,
            )
        )
        for i, (cluster, profile, endpoint, payload) in enumerate(what)
    )


ECHO = struct.pack(">BBHHBB", WRITE | 8, 0, 7, 0, 77, 0) + cbor2.dumps({"d": "yes"})
ASK = {  # a question that the board answers: (cluster, payload, how the answer begins)
    "comms_hub": (0x0019, b"\x01\x55\x01\x00" + bytes(8), b"\x19\x55\x02\x98"),
    "device": (0x0000, b"\x00\x55\x00\x00\x40", b"\x18\x55\x01\x00\x40\x00\x42"),
}


@settings(max_examples=settings().max_examples * 2 // 5)  # each boots a board
@pytest.mark.parametrize("wan_open", [False, True])
@pytest.mark.parametrize("role", ["comms_hub", "device"])
@given(pieces=PIECES)
def test_board_stays_as_it_is(
    firmware: Firmware, role: str, wan_open: bool, pieces: list[tuple[str, Any]]
) -> None:
    node, peer = (HUB, PPMID) if role == "comms_hub" else (PPMID, HUB)
    firmware.ask("start", board_of(role, wan_open))
    before = firmware.ask("state")
    for i, (link, what) in enumerate(pieces):
        octets = what if link == "wan" else han_octets(node, peer, 1000 + 10 * i, what)
        wan, han = firmware.ask("arrive", link, octets, 300)
        assert all(open_(psdu, node.key) for psdu in from_wire(han)), "what it sends is well-formed"
        assert all(len(message) >= 8 for message in read_answers(wan))
    firmware.ask("arrive", "wan", b"\n\0", 20_000)  # what the garbage began has come to its end
    wan, _ = firmware.ask("arrive", "wan", framed(ECHO, COBS), 1000)
    assert [cbor2.loads(answer[8:]) for answer in read_answers(wan)] == [{"r": "yes"}]
    cluster, question, answer = ASK[role]
    asked = han_octets(node, peer, 2000, [(cluster, 0x0109, 1, question)])
    _, han = firmware.ask("arrive", "han", b"\0" + asked, 1000)
    answers = [opened[0].payload for psdu in from_wire(han) if (opened := open_(psdu, node.key))]
    assert [a[: len(answer)] for a in answers] == [answer]
    after = firmware.ask("state")
    assert after["errors"] == []
    assert {*after["failures"], after["stats"]["failed"]} == {0}
    for kept in ("resets", "images", "version"):
        assert after[kept] == before[kept]


def read_answers(octets: bytes) -> list[bytes]:
    """The answers in what a board has sent over its WAN link, whichever framing each has."""
    found = []
    for framing in (FRAMINGS["cobs"](), FRAMINGS["console"]()):
        framing.feed(octets)
        while (message := framing.take()) is not None:
            found.append(bytes(message))
    return found
