"""What is at a port that does not answer is named, long before a client's patience ends."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hanlab.bench.cable import CARRIER, MARK, CableEnd
from hanlab.bench.kernel import Kernel
from hanlab.bench.loop import BenchLoop
from hanlab.bench.radio import cobs_encode
from hanlab.bench.uart import HostPort
from hanlab.lab.cables import explain_cable
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.desk import Desk
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.wan.client import WanClient
from hanlab.wan.errors import NoAnswer
from hanlab.wan.heard import POKE, Heard, NotABoard

BANNER = b"MicroPython v1.28.0 on 2026-04-06; Raspberry Pi Pico with RP2040\r\nType help()\r\n>>> "


class Says:
    """A line at whose other end something says always the same to what it is sent."""

    octets_s = 11_520.0
    framing = "cobs"

    def __init__(self, port: HostPort, text: bytes, times: int) -> None:
        self._port = port
        self._text = text
        self._times = times

    def from_host(self, octets: bytes) -> None:
        if self._times:
            self._times -= 1
            self._port.feed(self._text)


class PasteMode(Says):
    """A REPL that an earlier command has sent Ctrl-E: it echoes what it gets, and has a prompt for each line."""

    def from_host(self, octets: bytes) -> None:
        for octet in octets:
            if octet == 13:
                self._port.feed(b"\r\n=== ")
            elif octet >= 32:
                self._port.feed(bytes((octet,)))


def ask(
    text: bytes, times: int = 1000, line: type[Says] = Says, **options: Any
) -> tuple[Exception, float]:
    """The error of a client at that port, and when it came (s)."""
    kernel = Kernel()
    loop = BenchLoop(kernel)
    port = HostPort(kernel)
    port.plug(line(port, text, times))
    client = WanClient(port, **options)
    with pytest.raises((NotABoard, NoAnswer)) as wrong:
        loop.run_until_complete(client.connect())
    loop.run_until_complete(client.close())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    return wrong.value, kernel.now / 1e6


@pytest.mark.parametrize(
    ("text", "what", "within_s"),
    [
        (BANNER, "a MicroPython REPL", 2),
        (b"raw REPL; CTRL-B to exit\r\n>", "a MicroPython REPL", 2),
        (b"rst:0x1 (POWERON_RESET),boot:0x3 waiting for download\r\n", "boot loader", 2),
        (b"raspberrypi login: ", "a computer's login", 2),
        (b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9*47\r\n", "it says '.*GPGGA", 6),
    ],
)
def test_what_is_no_board_is_named(text: bytes, what: str, within_s: float) -> None:
    error, seconds = ask(text)
    assert isinstance(error, NotABoard)
    with pytest.raises(NotABoard, match=what):
        raise error
    assert error.next_step
    assert seconds <= within_s


def test_a_repl_in_paste_mode_is_named() -> None:
    error, seconds = ask(b"", line=PasteMode)
    with pytest.raises(NotABoard, match="a MicroPython REPL"):
        raise error
    assert seconds <= 2


def test_a_silent_port_is_not_poked() -> None:
    poked: list[bytes] = []

    class Silent(Says):
        def from_host(self, octets: bytes) -> None:
            poked.extend([octets] * (octets == POKE))

    ask(b"", line=Silent, patience_s=5)
    assert poked == []


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (BANNER, "at /dev/x, the port of PPMID: a MicroPython REPL is at that port"),
        (b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9", "says '.*GPGGA"),
        (b"", "nothing of hanlab's answers at /dev/x"),
    ],
)
def test_what_is_at_a_device_s_cable_is_named(said: bytes, what: str) -> None:
    """Nobody reads its WAN, and the error came over the CH's."""
    data = {**DEFAULT, "device": [{**DEFAULT["device"][0], "port": "/dev/x"}], "keys": "seed"}
    (node,) = make_lab("mixed", data).devices
    cable = CableEnd(Kernel(), "PPMID", node.eui.octets)
    for octet in said:
        cable.feed(bytes((octet,)))
    desk = SimpleNamespace(config=SimpleNamespace(nodes=[node]), cables={"PPMID": cable}, closed={})
    error = ServiceRequestFailed(Outcome.NO_ANSWER, "PPMID does not answer on the HAN")
    explain_cable(error, cast("Desk", desk), node.eui)
    assert re.search(what, error.next_step)
    cable.feed(MARK + cobs_encode(CARRIER + node.eui.octets) + b"\0")
    error.next_step = "check that it is switched on"
    explain_cable(error, cast("Desk", desk), node.eui)
    assert error.next_step == "check that it is switched on", "the board has answered since"


def test_what_nobody_reads_does_not_grow_for_ever() -> None:
    kernel = Kernel()
    loop = BenchLoop(kernel)
    port = HostPort(kernel)
    for _ in range(300):
        port.feed(bytes(10_000))
    port.feed(b"end")
    read = loop.run_until_complete(port.read())
    assert len(read) <= 1 << 20
    assert read.endswith(b"end")
    loop.close()


def test_a_board_that_only_says_something_while_it_starts_is_waited_for() -> None:
    error, seconds = ask(b"ets Jul 29 2019", times=1)
    assert isinstance(error, NoAnswer)
    assert seconds == pytest.approx(60, abs=1)
    error, seconds = ask(bytes(range(128, 256)), patience_s=20)  # noise of another rate
    assert "within 20 s" in str(error)
    assert seconds == pytest.approx(20, abs=1)


def test_only_the_last_of_what_was_said_is_kept() -> None:
    heard = Heard()
    heard.take(BANNER)
    assert heard.verdict(0)
    for _ in range(20):
        heard.take(b"\xff" * 100)
    assert heard.verdict(100) is None
