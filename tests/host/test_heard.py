"""What is at a port that does not answer is named, long before a client's patience ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hanlab.bench.kernel import Kernel
from hanlab.bench.loop import BenchLoop
from hanlab.bench.uart import HostPort
from hanlab.wan.client import WanClient
from hanlab.wan.errors import NoAnswer
from hanlab.wan.heard import Heard, NotABoard

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


def ask(text: bytes, times: int = 1000, **options: Any) -> tuple[Exception, float]:
    """The error of a client at that port, and when it came (s)."""
    kernel = Kernel()
    loop = BenchLoop(kernel)
    port = HostPort(kernel)
    port.plug(Says(port, text, times))
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
