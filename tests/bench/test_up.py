"""`hanlab up`: unmodified SMP clients on the boards' PTYs, in real time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from labs import OpenDesk, in_vm, make_image
from smpclient import SMPClient
from smpclient.exceptions import SMPBadSequence
from smpclient.generics import success
from smpclient.requests.image_management import ImageErase, ImageStatesRead
from smpclient.requests.os_management import EchoWrite, MCUMgrParametersRead, ResetWrite
from smpclient.transport import SMPTransport
from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport
from smpclient.transport.serial.encoded import BufferParams
from smpclient.transport.serial.framing.cobs import Cobs

from hanlab.bench.board import BoardError
from hanlab.bench.realtime import PtyPort
from hanlab.boards.data import load_board
from hanlab.cli.up import read_address
from hanlab.errors import UsageError
from hanlab.lab import Lab

LAB = """
wan_open = true

[comms_hub]
board = "esp32-devkitc"
model = "skyline-i510"
eui = "00-DB-12-34-56-78-90-A2"
baud = 921600

[[device]]
name = "PPMID"
board = "pico"
model = "pipit-500"
eui = "00-DB-12-34-56-78-90-A4"
"""

IMAGE = make_image(4096)

Up = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Start `hanlab up` in the test's folder, on `LAB`."""
    processes: list[subprocess.Popen[str]] = []

    def up_(*options: str) -> subprocess.Popen[str]:
        (tmp_path / "lab.toml").write_text(LAB)
        command = [sys.executable, "-c", "from hanlab.cli import main; main()", "up"]
        processes.append(
            subprocess.Popen(
                [*command, "--lab", "lab.toml", *options],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield up_
    for process in processes:
        process.kill()
        process.communicate()


async def update(transport: SMPTransport, pty: str) -> int:
    """What an SMP tool does with a Communications Hub; the slot of the image that stays in it."""
    octets = IMAGE.to_bytes()
    async with SMPClient(transport, pty) as hub:
        echo = await hub.request(EchoWrite(d="Hello"))
        assert success(echo)
        assert echo.r == "Hello"
        params = await hub.request(MCUMgrParametersRead())
        assert success(params)
        smp = load_board("esp32-devkitc").smp
        assert (params.buf_size, params.buf_count) == (smp.buf_size, smp.buf_count)
        assert [off async for off in hub.upload(octets)][-1] == len(octets)
        state = await hub.request(ImageStatesRead())
        assert success(state)
        assert [i.hash for i in state.images] == [IMAGE.file_hash]
        return state.images[0].slot


async def erase(transport: SMPTransport, pty: str, slot: int) -> None:
    async with SMPClient(transport, pty) as hub:
        assert success(await hub.request(ImageErase(slot=slot)))
        state = await hub.request(ImageStatesRead())
        assert success(state)
        assert state.images == []


async def restart(transport: SMPTransport, pty: str) -> None:
    async with SMPClient(transport, pty) as device:
        assert success(await device.request(EchoWrite(d="Hello")))
        assert success(await device.request(ResetWrite()))
    async with asyncio.timeout(30):
        while not await answers(transport, pty):
            pass


async def answers(transport: SMPTransport, pty: str) -> bool:
    """False while the board starts: what it is asked then is lost."""
    async with SMPClient(transport, pty, timeout_s=0.5) as device:
        with suppress(TimeoutError, SMPBadSequence):
            return success(await device.request(EchoWrite(d="Hello again")))
    return False


def test_any_smp_client_can_attach(up: Up, tmp_path: Path) -> None:
    process = up("--json")
    assert process.stdout
    boards = json.loads(process.stdout.readline())["boards"]
    assert [(b["name"], b["role"]) for b in boards] == [("hub", "CHF"), ("PPMID", "PPMID")]
    hub, ppmid = (b["pty"] for b in boards)

    slot = asyncio.run(update(SMPSerialTransport(), hub))
    asyncio.run(erase(SMPSerialTransport(), hub, slot))
    asyncio.run(update(SMPSerialRawTransport(framing=Cobs()), hub))
    asyncio.run(restart(SMPSerialTransport(), ppmid))

    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate()
    assert (process.returncode, rest, errors) == (0, "", "")
    with Lab.open(tmp_path / "lab.toml") as lab:  # the boards are off, their flash stays
        assert [i.sha for i in lab.run(lab.store()).images] == [IMAGE.file_hash]


def test_table_says_where_the_boards_are(up: Up, tmp_path: Path) -> None:
    process = up("--pcap", "han.pcap")
    assert process.stdout
    shown = ""
    while "Ctrl-C" not in shown:
        line = process.stdout.readline()
        assert line, shown
        shown += line
    assert "image upload --format any FILE.ota" in shown
    for row in ("hub: ESP32-DevKitC", "CHF, Secure Skyline i-510", "PPMID, Secure Pipit 500"):
        assert row in shown
    assert shown.count("/dev/") >= 3, "two PTYs, and one in the example"
    assert "WIRESHARK_CONFIG_DIR=han.pcap.wireshark wireshark han.pcap" in shown
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    assert (tmp_path / "han.pcap").stat().st_size > 24, "more than a header"


def test_upload_command_is_whole_and_works(up: Up, tmp_path: Path) -> None:
    """What smpmgr does when it is told so: no look for an MCUboot header, so many lines of 128 characters."""
    process = up("--json")
    assert process.stdout
    up_as = json.loads(process.stdout.readline())
    pty = up_as["boards"][0]["pty"]
    words = up_as["upload"].split()
    assert words[:3] == ["smpmgr", "--port", pty]
    assert words[-5:] == ["image", "upload", "--format", "any", "FILE.ota"]
    options = dict(zip(words[3:7:2], words[4:8:2], strict=True))
    lines = int(options["--line-buffers"])
    transport = SMPSerialTransport(BufferParams(line_length=128, line_buffers=lines))
    asyncio.run(update(transport, pty))


def test_boards_on_tcp_ports(up: Up, tmp_path: Path) -> None:
    process = up("--json", "--tcp", "0")
    assert process.stdout
    up_as = json.loads(process.stdout.readline())
    urls = [b["tcp"] for b in up_as["boards"]]
    assert all(url.startswith("socket://127.0.0.1:") for url in urls), "this computer alone"
    host, port = urls[0].removeprefix("socket://").split(":")
    assert up_as["bridge"] == f"socat pty,link=hub.tty,raw,echo=0 tcp:{host}:{port}"
    assert up_as["upload"].startswith("smpmgr --port hub.tty "), "which opens devices only"
    for _ in range(2):  # one tool after the other
        with socket.create_connection((host, int(port)), timeout=30) as tool:
            tool.settimeout(30)
            tool.sendall(EchoWrite(d="Hello", sequence=1).BYTES)  # raw framing
            answer = b""
            while not answer.endswith(b"Hello"):
                octets = tool.recv(100)
                assert octets, answer
                answer += octets
    text = (tmp_path / "lab.toml").read_text()
    ports = iter(urls)
    ours = "".join(
        f'{line}\nport = "{next(ports)}"\n' if line.startswith("eui") else f"{line}\n"
        for line in text.splitlines()
    )
    (tmp_path / "ours.toml").write_text(f'keys = "seed"\n{ours}')
    with Lab.open(tmp_path / "ours.toml") as lab:
        assert lab.run(lab.store()).images == []
        assert [d.eui for d in lab.run(lab.han_devices())] == [lab.devices[0].eui.octets]
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate()
    assert (process.returncode, rest, errors) == (0, "", "")


def test_tcp_address_that_is_not_to_be_had(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = up("--tcp", str(port))
        _, errors = process.communicate()
        assert process.returncode == 2
        assert errors == (
            f"hanlab: 127.0.0.1:{port} cannot be served: Address already in use\n"
            "  next: another program has the port: --tcp 127.0.0.1:0 takes any that is free\n"
        )


def test_tcp_addresses() -> None:
    assert read_address("5331") == ("127.0.0.1", 5331)
    assert read_address("0.0.0.0:0") == ("0.0.0.0", 0)
    assert read_address("[::1]:80") == ("::1", 80)
    for wrong in ("", "x", "-1", "65536", "host:", ":5331", "5331:host", "\u0665"):
        with pytest.raises(UsageError, match="is no"):
            read_address(wrong)


def test_a_board_that_dies_ends_it(open_desk: OpenDesk) -> None:
    desk = open_desk()

    def kill_a_board(ptys: dict[str, str]) -> None:
        desk.run(asyncio.sleep(2))
        process = in_vm(desk.boards["hub"])._process
        assert process
        process.kill()

    with pytest.raises(BoardError, match=r"board hub \(ESP32-DevKitC\) died .* exit code -9"):
        desk.serve(kill_a_board)


def test_octets_that_no_tool_reads_stop_nothing() -> None:
    with PtyPort() as pty:
        for _ in range(100):
            pty.feed(bytes(4096))
        assert pty.unread > 0
        tool = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)
        assert os.read(tool, 1) == b"\0"
        os.close(tool)
