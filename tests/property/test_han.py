"""The HAN's codecs against second implementations: CCM*, frames, the DER of 11.3, ZCL attributes."""

from __future__ import annotations

import dataclasses
import struct
from itertools import pairwise
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st
from smpclient.transport.serial.framing.cobs import cobs_encode

from hanlab.bench.radio import fcs16

from .vm_oracle import Firmware
from .zigbee import BROADCAST, MIC, PAYLOAD_MAX, Message, Node, from_wire, open_, seal, to_wire

KEY = st.sampled_from([bytes(16), bytes(range(16)), b"\xff" * 16]) | st.binary(
    min_size=16, max_size=16
)
NONCE = st.binary(min_size=13, max_size=13)
COUNTER = st.integers(0, 0x7FFFFFFF)
"""The upper half is for challenges (smets1/han/proof.py)."""
U16 = st.integers(0, 0xFFFF)
OCTET = st.integers(0, 0xFF)
U32 = st.integers(0, 0xFFFFFFFF)


# -- CCM*


@given(KEY, NONCE, st.binary(min_size=1, max_size=30), st.binary(max_size=96), st.data())
def test_ccm(
    firmware: Firmware, key: bytes, nonce: bytes, aad: bytes, message: bytes, data: st.DataObject
) -> None:
    sealed = AESCCM(key, tag_length=MIC).encrypt(nonce, message, aad)
    assert firmware.ask("ccm_seal", key, nonce, aad, message) == sealed
    assert firmware.ask("ccm_open", key, nonce, aad, sealed) == message
    bit = data.draw(st.integers(0, 8 * len(aad + sealed) - 1))
    flipped = bytearray(aad + sealed)
    flipped[bit // 8] ^= 1 << bit % 8
    forged = bytes(flipped[len(aad) :])
    assert firmware.ask("ccm_open", key, nonce, bytes(flipped[: len(aad)]), forged) is None
    assert firmware.ask("ccm_seal", key, nonce, aad, message) == sealed, "no trace of it is left"


# -- frames

EUI = st.binary(min_size=8, max_size=8)
SHORT = st.integers(0, BROADCAST - 1)
PAYLOAD = st.binary(max_size=PAYLOAD_MAX)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Node, Node]:
    """Two nodes of one HAN that know each other."""
    pan, key, key_sequence = draw(U16), draw(KEY), draw(OCTET)
    eui_a, eui_b = draw(st.lists(EUI, min_size=2, max_size=2, unique=True))
    short_a, short_b = draw(st.lists(SHORT, min_size=2, max_size=2, unique=True))
    return (
        Node(pan, short_a, eui_a, key, key_sequence, ((eui_b, short_b),)),
        Node(pan, short_b, eui_b, key, key_sequence, ((eui_a, short_a),)),
    )


@given(pairs(), COUNTER, st.sampled_from([None, 0xFFFD, 0xFFFF]), U16, U16, OCTET, OCTET, PAYLOAD)
def test_frame_of_the_firmware(
    firmware: Firmware,
    nodes: tuple[Node, Node],
    counter: int,
    broadcast: int | None,
    profile: int,
    cluster: int,
    src_ep: int,
    dst_ep: int,
    payload: bytes,
) -> None:
    sender, receiver = nodes
    message = Message(
        sender.short, broadcast or receiver.short, profile, cluster, src_ep, dst_ep, payload
    )
    wire = firmware.ask(
        "han_send",
        sender.for_firmware(),
        counter,
        message.dst,
        profile,
        cluster,
        src_ep,
        dst_ep,
        payload,
    )
    (psdu,) = from_wire(wire)
    assert len(psdu) <= 127
    assert open_(psdu, sender.key) == (message, counter, sender.eui)
    assert psdu == seal(sender, message, counter, psdu[2]), "octet for octet"
    got, stats = firmware.ask(
        "han_receive", receiver.for_firmware(), {}, profile, cluster, dst_ep, [wire]
    )
    assert (got, dict(stats)) == ([[sender.short, payload]], {"rx": 1})


@given(pairs(), COUNTER, U16, U16, OCTET, OCTET, PAYLOAD, OCTET, st.data())
def test_frame_for_the_firmware(
    firmware: Firmware,
    nodes: tuple[Node, Node],
    counter: int,
    profile: int,
    cluster: int,
    src_ep: int,
    dst_ep: int,
    payload: bytes,
    sequence: int,
    data: st.DataObject,
) -> None:
    """Taken once; no more when it comes again, nor with any one bit changed, nor under another key."""
    sender, receiver = nodes
    message = Message(sender.short, receiver.short, profile, cluster, src_ep, dst_ep, payload)
    psdu = seal(sender, message, counter, sequence)

    def receive(*psdus: bytes, seen: int | None = None) -> tuple[Any, dict[str, int]]:
        known = {} if seen is None else {sender.eui: seen}
        pieces = [to_wire(p) for p in psdus]
        got, stats = firmware.ask(
            "han_receive", receiver.for_firmware(), known, profile, cluster, dst_ep, pieces
        )
        return got, dict(stats)

    once = [[sender.short, payload]]
    assert receive(psdu) == (once, {"rx": 1})
    assert receive(psdu, psdu) == (once, {"rx": 1, "replay": 1})
    assert receive(psdu, seen=counter) == ([], {"replay": 1})
    stranger = dataclasses.replace(sender, key=bytes(o ^ 0x55 for o in sender.key))
    assert receive(seal(stranger, message, counter, sequence), psdu) == (once, {"mic": 1, "rx": 1})
    other = dataclasses.replace(sender, eui=bytes(o ^ 0x55 for o in sender.eui))
    assert receive(seal(other, message, counter, sequence), psdu) == (once, {"forged": 1, "rx": 1})
    bit = data.draw(st.integers(0, 8 * len(psdu) - 1))
    flipped = bytearray(psdu)
    flipped[bit // 8] ^= 1 << bit % 8
    assert receive(bytes(flipped), psdu) == (once, {"fcs": 1, "rx": 1})
    mended = bytes(flipped[:-2])
    mended += struct.pack("<H", fcs16(mended))  # a stranger can compute an FCS, but no MIC
    if bit < 8 * (len(psdu) - 2) and not _free(bit):
        got, stats = receive(mended, psdu)
        assert got == once
        assert stats["rx"] == 1
        assert sum(stats.values()) == 2, "it was counted under one reason"


def _free(bit: int) -> bool:
    """Bits that anybody may change: acknowledge request, MAC sequence number (not authenticated)."""
    return bit == 5 or 16 <= bit < 24


NOISE = st.lists(
    st.binary(max_size=140)
    | st.binary(min_size=1, max_size=140).map(lambda b: cobs_encode(b) + b"\0")
    | st.binary(min_size=43, max_size=125).map(lambda b: to_wire(b + struct.pack("<H", fcs16(b))))
    | st.integers(1, 400).map(lambda n: b"\1" * n),
    max_size=6,
).map(b"".join)


@given(pairs(), NOISE, COUNTER, PAYLOAD, st.lists(st.integers(0, 1000), max_size=6))
def test_any_octets(
    firmware: Firmware,
    nodes: tuple[Node, Node],
    noise: bytes,
    counter: int,
    payload: bytes,
    cuts: list[int],
) -> None:
    """No exception and nothing accepted; and the frame after the next 00 is taken."""
    sender, receiver = nodes
    good = to_wire(
        seal(sender, Message(sender.short, receiver.short, 0x0109, 0x19, 1, 1, payload), counter, 7)
    )
    octets = noise + b"\0" + good
    ends = sorted({c % len(octets) for c in cuts} | {0, len(octets)})
    pieces = [octets[a:b] for a, b in pairwise(ends)]
    got, _ = firmware.ask("han_receive", receiver.for_firmware(), {}, 0x0109, 0x19, 1, pieces)
    assert got == [[sender.short, payload]]


# -- through the tunnel: the DER of GBCS use case CS06, and hanlab's own in the same notation


def der(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def der_number(number: int) -> bytes:
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1))


HASH = st.binary(min_size=32, max_size=32)
TAGS = (0x30, 0xA1, 0xA2)
"""Activate; this file comes; forget what you have of it."""


@given(
    st.sampled_from(TAGS),
    HASH,
    st.integers(0, (1 << 63) - 1) | st.integers(0, 63).map(lambda n: (1 << n) - 1),
)
def test_request_through_the_tunnel(
    firmware: Firmware, tag: int, hash_: bytes, number: int
) -> None:
    coded = firmware.ask("request_der", hash_, number, tag)
    assert coded == der(tag, der(0x04, hash_) + der_number(number))
    for other in TAGS:
        expected = [hash_, number] if other == tag else None
        assert firmware.ask("parse_request", coded, other) == expected


@given(OCTET, U32, HASH)
def test_answers_through_the_tunnel(
    firmware: Firmware, code: int, number: int, hash_: bytes
) -> None:
    coded = firmware.ask("answer_der", code, number)
    assert coded == der(0x30, der(0x02, bytes([code])) + der(0x04, number.to_bytes(4)))
    assert firmware.ask("parse_answer", coded) == [code, number]
    assert firmware.ask("parse_file_answer", coded) is None
    coded = firmware.ask("file_answer_der", number, hash_)
    assert coded == der(0xA1, der(0x02, number.to_bytes(4)) + der(0x04, hash_))
    assert firmware.ask("parse_file_answer", coded) == [number, hash_]
    assert firmware.ask("parse_answer", coded) is None


LIKE_DER = st.builds(
    lambda whole, at, octets: (
        whole[: at % len(whole)] + octets + whole[at % len(whole) + len(octets) :]
    ),
    st.builds(
        lambda tag, hash_, number: der(tag, der(0x04, hash_) + der(0x02, number)),
        st.sampled_from(TAGS),
        HASH,
        st.binary(max_size=10),
    )
    | st.builds(
        lambda n, hash_: der(0xA1, der(0x02, n) + der(0x04, hash_)), st.binary(max_size=5), HASH
    )
    | st.builds(
        lambda code, n: der(0x30, der(0x02, code) + der(0x04, n)),
        st.binary(max_size=2),
        st.binary(max_size=5),
    ),
    st.integers(0, 60),
    st.binary(max_size=2),
)


@given(st.binary(max_size=50) | LIKE_DER)
def test_any_octets_for_der(firmware: Firmware, octets: bytes) -> None:
    """Only the one form there is of a request and of an answer is taken."""
    for tag in TAGS:
        request = firmware.ask("parse_request", octets, tag)
        if request is not None:
            assert firmware.ask("request_der", *request, tag) == octets
    for answer in ("answer", "file_answer"):
        values = firmware.ask(f"parse_{answer}", octets)
        if values is not None:
            assert firmware.ask(f"{answer}_der", *values) == octets


# -- ZCL attributes

U8_T, U16_T, U32_T, ENUM8_T, STRING_T, EUI64_T = 0x20, 0x21, 0x23, 0x30, 0x42, 0xF0
SIZES = {U8_T: 1, U16_T: 2, U32_T: 4, ENUM8_T: 1, EUI64_T: 8}
ATTRIBUTE = st.sampled_from(list(SIZES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.integers(0, (1 << 8 * SIZES[kind]) - 1))
) | st.tuples(st.just(STRING_T), st.text("abcXYZ 09", max_size=32))


@given(st.dictionaries(U16, ATTRIBUTE, max_size=4), st.lists(U16, max_size=3), OCTET)
def test_read_attributes(
    firmware: Firmware, attributes: dict[int, Any], missing: list[int], tsn: int
) -> None:
    """What a server answers is what a client reads, and what the ZCL says it looks like."""
    wanted = [*attributes, *(m for m in missing if m not in attributes)]
    frame = bytes([0, tsn, 0]) + b"".join(struct.pack("<H", id_) for id_ in wanted)
    coded, values = firmware.ask("read_attributes", attributes, frame)
    expected = bytes([0x18, tsn, 1])
    read = {}
    for id_ in wanted:
        record = struct.pack("<HB", id_, 0x86)
        if id_ in attributes:
            kind, value = attributes[id_]
            octets = (
                bytes([len(value)]) + value.encode()
                if kind == STRING_T
                else value.to_bytes(SIZES[kind], "little")
            )
            record = struct.pack("<HBB", id_, 0, kind) + octets
        if len(expected + record) > PAYLOAD_MAX:
            break  # the client asks again for the rest
        expected += record
        read[id_] = attributes[id_][1] if id_ in attributes else None
    assert coded == expected
    assert values == read


@given(st.binary(max_size=PAYLOAD_MAX))
def test_any_octets_for_attributes(firmware: Firmware, octets: bytes) -> None:
    values = firmware.ask("read_values", b"\x18\0\1" + octets)
    assert values is None or all(isinstance(id_, int) for id_ in values)
