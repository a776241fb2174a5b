"""The serial port of a real board: on a PTY, over TCP, and with the cable pulled out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo

from hanlab.errors import UsageError
from hanlab.wan.serial_port import SerialPort


class Adapter:
    """A USB serial adapter that can be pulled out: `path` stays, what it leads to does not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = -1

    def put_in(self) -> None:
        self._end, theirs = os.openpty()
        tty.setraw(theirs)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(theirs))
        os.close(theirs)

    def pull_out(self) -> None:
        if self._end >= 0:
            os.close(self._end)
            self._end = -1

    def send(self, octets: bytes) -> None:
        os.write(self._end, octets)

    def receive(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            got += os.read(self._end, count - len(got))
        return got

    def receive_to(self, end: bytes) -> bytes:
        got = b""
        while not got.endswith(end):
            got += self.receive(1)
        return got


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    made = Adapter(tmp_path / "ttyUSB0")
    made.put_in()
    yield made
    made.pull_out()


async def read(port: SerialPort, count: int) -> bytes:
    got = b""
    while len(got) < count:
        got += await asyncio.wait_for(port.read(), 30)
    return got


def test_octets_go_both_ways_unchanged_and_in_order(adapter: Adapter) -> None:
    octets = bytes(range(256)) * 8
    with asyncio.Runner() as runner:
        port = SerialPort(str(adapter.path), 115_200, runner.get_loop())
        assert port.octets_s == 11_520
        for i in range(0, len(octets), 100):
            port.write(octets[i : i + 100])
        assert adapter.receive(len(octets)) == octets
        adapter.send(octets)
        assert runner.run(read(port, len(octets))) == octets
        port.close()


def test_a_cable_that_is_pulled_out_and_put_in_again(adapter: Adapter) -> None:
    with asyncio.Runner() as runner:
        port = SerialPort(str(adapter.path), 115_200, runner.get_loop(), reopen_s=0.01)
        adapter.send(b"before")
        assert runner.run(read(port, 6)) == b"before"
        adapter.pull_out()
        port.write(b"lost, as a rule")
        adapter.put_in()

        async def answered() -> bytes:
            """As a client does that asks until it is answered."""
            while True:
                adapter.send(b"!")
                try:
                    return await asyncio.wait_for(port.read(), 0.05)
                except TimeoutError:
                    continue

        assert runner.run(answered())[:1] == b"!"
        port.write(b"after")
        assert adapter.receive_to(b"after").endswith(b"after")
        port.close()


def test_a_port_that_comes_back_under_another_name(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the USB serial number of the device, and which of its interfaces it is."""

    def port(device: Path, serial_number: str, location: str) -> ListPortInfo:
        info = ListPortInfo(str(device), skip_link_detection=True)
        info.device, info.serial_number, info.location = str(device), serial_number, location
        return info

    there = [port(adapter.path.resolve(), "E66", "1-1:1.2")]
    monkeypatch.setattr("hanlab.wan.serial_port.comports", lambda: there)
    with asyncio.Runner() as runner:
        ours = SerialPort(str(adapter.path), 115_200, runner.get_loop(), reopen_s=0.01)
        adapter.send(b"before")
        assert runner.run(read(ours, 6)) == b"before"
        adapter.pull_out()
        adapter.path.unlink()  # the next PTY may have the same number
        other = Adapter(tmp_path / "elsewhere")
        other.put_in()
        there[:] = [
            port(tmp_path / "its-repl", "E66", "1-2:1.0"),
            port(tmp_path / "another", "E99", "1-1:1.2"),
            port(other.path, "E66", "1-2:1.2"),
        ]

        async def answered() -> bytes:
            for _ in range(200):
                other.send(b"!")
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(ours.read(), 0.05)
            return b""

        assert runner.run(answered())[:1] == b"!"
        ours.close()
        other.pull_out()


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        for url in (str(tmp_path / "ttyUSB9"), "nonsense://x", "socket://127.0.0.1:1"):
            with pytest.raises(UsageError, match="cannot be opened") as wrong:
                SerialPort(url, 115_200, runner.get_loop())
            assert wrong.value.next_step


@pytest.mark.parametrize(
    "url",
    [
        *("socket://", "socket:///x", "socket://127.0.0.1", "socket://127.0.0.1:99999"),
        *("socket://127.0.0.1:abc", "socket://:5331", "rfc2217://127.0.0.1:0", "rfc2217://["),
    ],
)
def test_a_url_without_host_and_port(url: str) -> None:
    with (
        contextlib.closing(asyncio.new_event_loop()) as loop,
        pytest.raises(UsageError, match=re.escape(f"the port {url} has no HOST:PORT")) as wrong,
    ):
        SerialPort(url, 115_200, loop)
    assert wrong.value.next_step.startswith('port = "socket://127.0.0.1:5331"')


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("socket://127.0.0.1:1", "Connection refused"),
        ("rfc2217://127.0.0.1:1", "Connection refused"),
        ("socket://nosuch.invalid:1", "[^:'(]+"),
        ("/dev/null", "Inappropriate ioctl for device"),
    ],
)
def test_a_port_is_named_once_and_the_system_says_why(url: str, why: str) -> None:
    with (
        contextlib.closing(asyncio.new_event_loop()) as loop,
        pytest.raises(UsageError) as wrong,
    ):
        SerialPort(url, 115_200, loop)
    assert re.fullmatch(f"the port {url} cannot be opened: {why}", wrong.value.what)


@pytest.mark.parametrize(
    ("port", "advice"),
    [
        ("none", "the cable is out, or the port has another name: "),
        ("a_file", "a_file is no serial port: "),
        ("denied", r"sudo usermod -aG dialout \$USER, then log in again"),
        ("socket://127.0.0.1:1", "check host and port: whoever serves them has to be up"),
        ("nosuch://x", "check host and port"),
        ("taken", r"another program has .*taken \(a terminal, mpremote\): end it"),
    ],
)
def test_a_port_that_cannot_be_opened(
    port: str, advice: str, adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong, and what helps: then it opens."""
    url = port if "://" in port else str(tmp_path / port)
    (tmp_path / "a_file").touch()
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        taken = SerialPort(str(adapter.path), 115_200, loop)
        (tmp_path / "taken").symlink_to(adapter.path.resolve())
        if port == "denied":
            (tmp_path / "denied").symlink_to(adapter.path.resolve())

            def denied(*_: object) -> int:
                raise PermissionError(errno.EACCES, "Permission denied")

            monkeypatch.setattr(os, "open", denied)
        with pytest.raises(UsageError, match="cannot be opened") as wrong:
            SerialPort(url, 115_200, loop)
        assert re.search(advice, wrong.value.next_step), wrong.value.next_step
        if "://" not in port:
            assert wrong.value.what.count(url) == 1, "the port is named once"
        monkeypatch.undo()
        taken.close()
        SerialPort(str(tmp_path / "taken"), 115_200, loop).close()


def test_a_port_has_one_user(adapter: Adapter) -> None:
    with asyncio.Runner() as runner:
        port = SerialPort(str(adapter.path), 115_200, runner.get_loop())
        with pytest.raises(UsageError, match="another program has") as wrong:
            SerialPort(str(adapter.path), 115_200, runner.get_loop())
        assert str(adapter.path) in wrong.value.what
        port.close()
        SerialPort(str(adapter.path), 115_200, runner.get_loop()).close()


def test_a_port_that_takes_nothing_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that hangs: a long queue, each piece with a patience of its own, would hold Ctrl-C up for minutes."""
    monkeypatch.setattr("hanlab.wan.serial_port.WRITE_S", 0.1)
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    loop = asyncio.new_event_loop()
    port = SerialPort(os.ttyname(theirs), 115_200, loop)
    for _ in range(50):
        port.write(bytes(8192))
    port.close()
    assert port._unsent.qsize() > 40
    loop.close()
    os.close(ours)
    os.close(theirs)


def test_a_port_behind_tcp() -> None:
    """As ser2net and other device servers give it."""
    with socket.create_server(("127.0.0.1", 0)) as server, asyncio.Runner() as runner:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        port = SerialPort(url, 115_200, runner.get_loop())
        theirs, _ = server.accept()
        with theirs:
            port.write(b"ask")
            assert theirs.recv(3, socket.MSG_WAITALL) == b"ask"
            theirs.sendall(b"answer")
            assert runner.run(read(port, 6)) == b"answer"
        port.close()


def test_nothing_is_read_after_the_loop_is_closed(adapter: Adapter) -> None:
    runner = asyncio.Runner()
    port = SerialPort(str(adapter.path), 115_200, runner.get_loop())
    runner.close()
    adapter.send(b"too late")
    port.close()
