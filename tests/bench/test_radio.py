"""The air of several PANs: who hears what, and how a radio learns where it is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from hanlab.bench.board import HAN, EmulatedBoard
from hanlab.bench.kernel import Kernel
from hanlab.bench.radio import SCAN_US, Air, cobs_decode, cobs_encode, fcs16

HOME, OTHER = 0x5331, 0x5332
A, B, C, D = (bytes.fromhex(f"00DB1234567890A{n}") for n in range(4))


class Radio:
    """A board that is its radio alone: `heard` are the frames that it got."""

    def __init__(self, kernel: Kernel, name: str, eui: bytes) -> None:
        self.name = name
        self.unique_id = eui
        self.running = True
        self.heard: list[bytes] = []
        self._kernel = kernel
        self._send: Callable[[int, bytes], None] = lambda when, octets: None

    def connect(self, link: int, transmit: Callable[[int, bytes], None]) -> None:
        self._send = transmit

    def arrive(self, link: int, octets: bytes) -> None:
        assert link == HAN
        psdu = cobs_decode(octets[:-1])
        assert psdu
        self.heard.append(psdu)

    def send(self, psdu: bytes) -> None:
        self._send(self._kernel.now, cobs_encode(psdu) + b"\0")


class Homes:
    """Two boards each in two PANs: a, b at home; c, d next door."""

    def __init__(self, seed: int = 1) -> None:
        self.kernel = Kernel(seed)
        self.air = Air(self.kernel)
        self.on_air: list[tuple[int, bytes]] = []
        self.air.capture(lambda when, psdu: self.on_air.append((when, psdu)))
        self.a, self.b = self._radio("a", A, HOME, 0), self._radio("b", B, HOME, 1)
        self.c, self.d = self._radio("c", C, OTHER, 0), self._radio("d", D, OTHER, 1)

    def _radio(self, name: str, eui: bytes, pan: int, address: int) -> Radio:
        radio = Radio(self.kernel, name, eui)
        self.air.attach(cast("EmulatedBoard", radio), pan, address)
        return radio

    def run(self, us: int = 100_000) -> None:
        self.kernel.run_until_host_ready(self.kernel.now + us)

    def heard(self) -> dict[str, list[bytes]]:
        """What each got since the last call; nobody who got nothing."""
        all_ = {r.name: list(r.heard) for r in (self.a, self.b, self.c, self.d) if r.heard}
        for radio in (self.a, self.b, self.c, self.d):
            radio.heard.clear()
        return all_


def framed(form: str, *fields: Any) -> bytes:
    frame = struct.pack("<HB" + form, *fields)
    return frame + struct.pack("<H", fcs16(frame))


def data(to: int, sender: int, pan: int = HOME, payload: bytes = b"hello") -> bytes:
    return framed(f"HHH{len(payload)}s", 0x8861, 7, pan, to, sender, payload)


BEACON_REQUEST = framed("HHB", 0x0803, 8, 0xFFFF, 0xFFFF, 7)
BEACON = framed("HHH", 0x8000, 9, OTHER, 0, 0xCFFF)
TO_B = framed("H8s8sBHB", 0xCC63, 10, OTHER, B[::-1], C[::-1], 2, 5, 0)
"""An association response of another PAN, to b's EUI-64."""


def is_ack(psdu: bytes) -> bool:
    return psdu[0] & 7 == 2


def test_the_same_address_in_another_pan_is_another_board() -> None:
    homes = Homes()
    homes.a.send(data(1, 0))
    homes.run()
    assert homes.heard() == {"b": [data(1, 0)]}
    homes.c.send(data(1, 0, OTHER))
    homes.run()
    assert homes.heard() == {"d": [data(1, 0, OTHER)]}


def test_a_broadcast_stays_in_its_pan_unless_it_is_for_all() -> None:
    homes = Homes()
    homes.a.send(data(0xFFFF, 0))
    homes.run()
    assert homes.heard() == {"b": [data(0xFFFF, 0)]}
    homes.b.send(BEACON_REQUEST)
    homes.run()
    assert homes.heard() == {name: [BEACON_REQUEST] for name in "acd"}


def test_a_capture_has_the_frames_of_all_homes_in_order() -> None:
    """Also that of a home one of whose boards computes while the other home goes on."""
    for seed in range(1, 17):
        homes = Homes(seed)
        computed = partial(homes.a.send, data(1, 0))
        homes.kernel.at(0, partial(homes.kernel.compute, computed), HOME)
        homes.kernel.at(100, partial(homes.c.send, data(1, 0, OTHER)), OTHER)
        homes.run()
        times = [when for when, _ in homes.on_air]
        assert len(times) == 4
        assert times == sorted(times)


def test_beacons_reach_those_who_asked_while_they_listen() -> None:
    homes = Homes()
    homes.c.send(BEACON)
    homes.run()
    assert homes.heard() == {}
    homes.b.send(BEACON_REQUEST)
    homes.run()
    homes.heard()
    homes.c.send(BEACON)
    homes.run()
    assert homes.heard() == {"b": [BEACON]}
    homes.run(SCAN_US)
    homes.c.send(BEACON)
    homes.run()
    assert homes.heard() == {}


def test_an_eui_64_is_found_in_whatever_pan_it_is() -> None:
    homes = Homes()
    homes.c.send(TO_B)
    homes.run()
    heard = homes.heard()
    assert heard.pop("b") == [TO_B]
    assert heard.keys() <= {"d"}, "who shares the sender's air overhears it"
    assert [psdu for _, psdu in homes.on_air if is_ack(psdu)], "b acknowledged it"


def test_a_radio_is_where_its_board_last_sent_from() -> None:
    homes = Homes()
    homes.b.send(data(0, 5, OTHER))
    homes.run()
    assert homes.heard() == {"c": [data(0, 5, OTHER)], "d": [data(0, 5, OTHER)]}
    homes.c.send(data(5, 0, OTHER))
    homes.a.send(data(1, 0))
    homes.run()
    assert homes.heard()["b"] == [data(5, 0, OTHER)], "and no longer where it was"


def test_what_is_forged_on_a_cable_makes_no_board_deaf() -> None:
    damaged = data(0, 9)[:-2] + b"\0\0"
    for board, forged in (
        ("b", damaged),
        ("b", data(0, 77, 0x1234)),  # of a PAN that is none of this lab's
        ("b", data(1, 0)),  # its CH's own, recorded
        ("a", data(1, 5)),
    ):
        homes = Homes()
        getattr(homes, board).send(forged)
        homes.run()
        homes.c.send(
            data(1, 0, HOME)
        )  # what is for the device, and for the CH: who acknowledges it?
        homes.d.send(data(0, 1, HOME))
        homes.run()
        lanes = homes.air.lanes
        assert [lanes[way].counters.delivered for way in (("c", "b"), ("d", "a"))] == [1, 1]
        assert not {("c", "a"), ("d", "b")} & set(lanes), forged


def test_what_is_busy_in_one_home_is_no_delay_in_another() -> None:
    """The same octets at the same microseconds, whatever happens next door."""

    def frames(*, busy: bool) -> list[tuple[int, bytes]]:
        homes = Homes()
        for n in range(20):
            if busy:
                homes.c.send(data(1, 0, OTHER, payload=bytes(80)))
            homes.a.send(data(1, 0, payload=bytes([n + 1])))
        homes.run(2_000_000)
        return [
            (when, psdu) for when, psdu in homes.on_air if psdu[3:5] == HOME.to_bytes(2, "little")
        ]

    alone = frames(busy=False)
    assert len(alone) == 20
    assert frames(busy=True) == alone
