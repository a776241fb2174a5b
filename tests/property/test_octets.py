"""CRC-16, COBS and HMAC: the firmware's, the bench's and others' implementations agree."""

from __future__ import annotations

import hmac
from typing import Any

from cobs import cobs
from crcmod.predefined import mkPredefinedCrcFun
from hypothesis import example, given
from hypothesis import strategies as st
from smpclient.transport.serial.framing import cobs as smp_cobs

from hanlab.bench import radio

from .vm_oracle import Firmware

LONG = st.binary(max_size=1100) | st.builds(
    lambda part, times: part * times, st.binary(min_size=1, max_size=3), st.integers(1, 300)
)
FRAME = st.binary(max_size=127)

xmodem: Any = mkPredefinedCrcFun("xmodem")
kermit: Any = mkPredefinedCrcFun("kermit")  # as IEEE 802.15.4's FCS: reflected, initial value 0


@given(LONG)
def test_crc16(firmware: Firmware, octets: bytes) -> None:
    assert firmware.ask("crc16", octets) == [xmodem(octets), kermit(octets)]
    assert radio.fcs16(octets) == kermit(octets)


@given(LONG)
@example(b"\1" * 254)
@example(b"\1" * 253 + b"\0")
def test_cobs_both_ways(firmware: Firmware, octets: bytes) -> None:
    coded = firmware.ask("cobs_encode", octets)
    assert 0 not in coded
    assert len(coded) <= len(octets) + len(octets) // 254 + 1, (
        "the room that the firmware sets aside"
    )
    assert coded in (cobs.encode(octets), smp_cobs.cobs_encode(octets))
    for encode in (cobs.encode, smp_cobs.cobs_encode):
        assert firmware.ask("cobs_decode", encode(octets)) == octets
    assert smp_cobs.cobs_decode(coded) == octets
    assert cobs.decode(coded) == octets


@given(FRAME)
def test_cobs_of_a_radio_frame(firmware: Firmware, frame: bytes) -> None:
    coded = radio.cobs_encode(frame)
    assert coded == firmware.ask("cobs_encode", frame)
    assert radio.cobs_decode(coded) == frame


@given(st.binary(max_size=300))
def test_all_take_the_same_octets_for_cobs(firmware: Firmware, coded: bytes) -> None:
    """Whatever they are: decoded alike, or refused by both."""
    decoded = firmware.ask("cobs_decode", coded)
    if 0 in coded:
        assert decoded is None, "0x00 ends a frame, so none has it within"
        return
    try:
        theirs: bytes | None = smp_cobs.cobs_decode(coded)
    except ValueError:
        theirs = None
    assert decoded == theirs
    if 0xFF not in coded:
        assert radio.cobs_decode(coded) == decoded
    else:
        radio.cobs_decode(coded)  # no frame of a radio; anything but an exception is right


@given(st.binary(max_size=100), st.lists(st.binary(max_size=100), max_size=4))
def test_hmac(firmware: Firmware, key: bytes, parts: list[bytes]) -> None:
    mac = firmware.ask("hmac", key, parts)
    assert mac == hmac.digest(key, b"".join(parts), "sha256")
    assert firmware.ask("same", mac, mac)


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 400))
def test_compare(firmware: Firmware, one: bytes, other: bytes, bit: int) -> None:
    assert firmware.ask("same", one, other) == (one == other)
    flipped = bytearray(one or b"x")
    flipped[bit // 8 % len(flipped)] ^= 1 << bit % 8
    assert not firmware.ask("same", one, bytes(flipped))
    assert firmware.ask("same", one, one)
