"""The bench's clock, chance, wires and flash, each by itself: what everything else rests on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hanlab.bench.flash import Effect, Kind, Operation
from hanlab.bench.impair import Lane
from hanlab.bench.kernel import FOREVER, LOOKAHEAD_US, BenchError, Kernel
from hanlab.bench.mac import mac_header
from hanlab.bench.radio import CCA_US, MAX_RETRIES, PHY_OCTETS, TURNAROUND_US
from hanlab.bench.radio import OCTET_US as RADIO_OCTET_US
from hanlab.bench.uart import ADAPTER_LATENCY_US, HostPort, UartWire
from hanlab.boards.data import load_board
from hanlab.impairments import Impairments


def test_events_of_one_moment_come_in_the_order_in_which_they_were_made() -> None:
    kernel = Kernel()
    came: list[tuple[int, str]] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: came.append((kernel.now, name))

    for when, name in ((20, "c"), (10, "a"), (20, "d"), (10, "b"), (30, "late")):
        kernel.at(when, note(name))
    assert kernel.next_time() == 10
    kernel.run_until_host_ready(20)
    assert came == [(10, "a"), (10, "b"), (20, "c"), (20, "d")], "the one at the limit as well"
    assert (kernel.now, kernel.next_time()) == (20, 30)
    kernel.run_until_host_ready(25)
    assert kernel.now == 25, "time passes though nothing happens"
    kernel.run_until_host_ready(30)
    assert came[-1] == (30, "late")
    assert kernel.next_time() == FOREVER


def test_an_event_that_concerns_the_host_gives_it_its_turn() -> None:
    kernel = Kernel()
    came: list[int] = []

    def wake() -> None:
        came.append(kernel.now)
        kernel.host_ready = True

    kernel.at(5, wake)
    kernel.at(6, wake)
    kernel.run_until_host_ready(100)
    assert (came, kernel.now) == ([5], 5)


# a board of home 1 computes from 100 µs on, and makes an event at 120 µs; meanwhile, in home and at µs:
@pytest.mark.parametrize(
    ("home", "at", "first"),
    [
        (2, 100, "other"),
        (2, 100 + LOOKAHEAD_US, "other"),  # it need not wait for the board, however long that takes
        (2, 101 + LOOKAHEAD_US, "own"),  # now the board's octets may get there
        (1, 130, "own"),  # its own home
        (None, 130, "own"),  # the host, which is told by all
        (None, 110, "computed"),
    ],
)
def test_homes_go_on_while_a_board_of_another_one_computes(
    home: int | None, at: int, first: str
) -> None:
    kernel = Kernel()
    came: list[tuple[int, str]] = []

    def computed() -> None:
        came.append((kernel.now, "computed"))
        kernel.at(120, lambda: came.append((kernel.now, "own")))

    kernel.at(100, lambda: kernel.compute(computed), 1)
    kernel.at(at, lambda: came.append((kernel.now, "other")), home)
    kernel.run_until_host_ready(2 * LOOKAHEAD_US)
    names = [name for _, name in came]
    assert {name: when for when, name in came} == {"computed": 100, "own": 120, "other": at}
    assert names.index("computed") < names.index("own")
    if first == "computed":
        assert names == ["computed", "other", "own"]
    else:
        assert min(names.index("own"), names.index("other")) == names.index(first)
    assert kernel.now == 2 * LOOKAHEAD_US


def test_nothing_gets_from_a_home_to_anywhere_else_within_the_lookahead() -> None:
    shortest_frame = 5
    on_air = CCA_US + TURNAROUND_US + (PHY_OCTETS + shortest_frame) * RADIO_OCTET_US
    assert min(ADAPTER_LATENCY_US, on_air) > LOOKAHEAD_US


def test_nothing_happens_in_the_past_or_never() -> None:
    kernel = Kernel()
    kernel.run_until_host_ready(10)
    kernel.at(10, lambda: None)
    with pytest.raises(ValueError, match="9 µs"):
        kernel.at(9, lambda: None)
    with pytest.raises(BenchError, match="nothing will ever happen"):
        kernel.run_until_host_ready(None)


def test_chance_is_each_users_own_and_the_seeds() -> None:
    def draws(seed: int, name: str) -> list[float]:
        generator = Kernel(seed).random(name)
        return [generator.random() for _ in range(3)]

    assert draws(1, "a") == draws(1, "a")
    assert draws(1, "a") != draws(1, "b")
    assert draws(1, "a") != draws(2, "a")


BAUD = 115_200
OCTET_US = 10 * 1e6 / BAUD


def wire() -> tuple[Kernel, HostPort, UartWire, list[tuple[float, bytes]]]:
    kernel = Kernel()
    arrived: list[tuple[float, bytes]] = []
    board = SimpleNamespace(
        name="board",
        home=None,
        facts=load_board("pico"),
        arrive=lambda link, octets: arrived.append((kernel.now, octets)),
        connect=lambda link, transmit: None,
    )
    host = HostPort(kernel)
    return kernel, host, UartWire(kernel, host, cast("Any", board), 0, BAUD), arrived


def test_octets_take_their_time_to_the_board_one_write_after_the_other() -> None:
    kernel, host, _, arrived = wire()
    host.write(bytes(100))
    host.write(bytes(50))
    kernel.run_until_host_ready(1_000_000)
    assert b"".join(octets for _, octets in arrived) == bytes(150)
    idle = load_board("pico").uart.irq_idle_bits * 1e6 / BAUD
    last = ADAPTER_LATENCY_US + 150 * OCTET_US
    assert arrived[-1][0] == pytest.approx(last, abs=idle + 1)
    half = [when for when, _ in arrived if when <= ADAPTER_LATENCY_US + 100 * OCTET_US + idle + 1]
    assert sum(len(o) for when, o in arrived if when in half) >= 100
    assert arrived[0][0] >= ADAPTER_LATENCY_US + OCTET_US, "nothing comes at once"


def test_octets_take_their_time_to_the_host() -> None:
    kernel, host, uart, _ = wire()
    uart._from_board(0, bytes(100))
    uart._from_board(0, b"x" * 100)
    kernel.run_until_host_ready(ADAPTER_LATENCY_US + int(100 * OCTET_US) - 2)
    assert not host._received
    kernel.run_until_host_ready(ADAPTER_LATENCY_US + int(100 * OCTET_US) + 2)
    assert bytes(host._received) == bytes(100)
    kernel.run_until_host_ready(ADAPTER_LATENCY_US + int(200 * OCTET_US) + 2)
    assert bytes(host._received) == bytes(100) + b"x" * 100
    assert uart.octets_s == pytest.approx(11_520)


def test_the_two_ways_of_a_wire_have_luck_of_their_own() -> None:
    kernel = Kernel(1)
    arrived: dict[str, list[bytes]] = {"a": [], "b": []}

    def into(sink: str) -> Callable[[int, bytes], None]:
        return lambda when, unit: arrived[sink].append(unit)

    for source, sink in (("a", "b"), ("b", "a")):
        lane = Lane(
            kernel,
            "wan",
            source,
            sink,
            Impairments(loss=0.5),
            into(sink),
        )
        for number in range(100):
            lane.take(0, bytes([number]))
    assert 20 < len(arrived["a"]) < 80
    assert arrived["a"] != arrived["b"]


def test_half_done_is_mostly_neither_done_nor_undone() -> None:
    blank, page = b"\xff" * 256, bytes(range(256))
    torn = [
        Operation(number, Kind.PROGRAM, 0, page).leaves(Effect.CUT_TORN, blank)
        for number in range(1, 101)
    ]
    assert sum(t not in (blank, page) for t in torn) > 90
    assert len(set(torn)) > 50, "cut at many places"


def test_a_radio_acknowledges_unicasts_that_ask_for_it() -> None:
    def asks(control: int, destination: int) -> bool:
        octets = struct.pack("<HBHHHH", control, 1, 0x1A62, destination, 0, 0)
        return mac_header(octets).wants_ack

    assert asks(0x8861, 0x3D01)
    assert not asks(0x8841, 0x3D01), "nobody asked"
    assert not asks(0x8861, 0xFFFF), "a broadcast, whoever asks"
    assert MAX_RETRIES == 3, "macMaxFrameRetries of IEEE 802.15.4"


def test_of_a_frame_cut_anywhere_as_much_is_known_as_is_there() -> None:
    whole = struct.pack("<HBHHHH", 0x8861, 1, 0x1A62, 0x3D01, 0, 0)
    assert mac_header(whole).to == 0x3D01
    for octets in range(len(whole)):
        header = mac_header(whole[:octets])
        assert (header.to, header.end) == (None, octets)
