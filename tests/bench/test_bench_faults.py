"""What goes wrong on the bench is an error that says where, with the board's last output; never a hang."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from labs import OpenDesk, OpenLab, config, in_vm, make_image

from hanlab.bench.board import BoardError
from hanlab.bench.flash import NorFlash
from hanlab.bench.kernel import BenchError
from hanlab.bench.radio import ACK_OCTETS
from hanlab.boards.data import load_board
from hanlab.boards.vm import Vm
from hanlab.errors import UsageError
from hanlab.lab import Device, Lab
from hanlab.lab.boards import DualControl, s1sp_on, wan_client
from hanlab.lab.desk import Desk
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.target import Target
from hanlab.wan.client import WanClient, Window

Firmware = Callable[[str], None]

START = """
import asyncio, sys

def run(port):
    asyncio.run(work(port))

async def work(port):
"""


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Firmware:
    """Give the boards another firmware: the source of its main.py."""

    def firmware_(source: str) -> None:
        folder = tmp_path / "firmware"
        folder.mkdir()
        (folder / "main.py").write_text(source)
        monkeypatch.setattr("hanlab.bench.board.firmware_dir", lambda: folder)

    return firmware_


def wait_for_the_hub(desk: Desk) -> None:
    desk.run(desk.ports["hub"].read())


# -- boards


def test_board_that_fails_at_boot(open_desk: OpenDesk, firmware: Firmware) -> None:
    firmware("raise RuntimeError('there is no such pin')")
    with pytest.raises(BoardError) as failed:
        wait_for_the_hub(open_desk())
    assert "board PPMID (Raspberry Pi Pico) died at 0." in failed.value.what, "it starts first"
    assert "exit code 1" in failed.value.what
    assert "RuntimeError: there is no such pin" in failed.value.what
    assert failed.value.exit_code == 2


def test_board_that_exits_in_mid_run(open_desk: OpenDesk, firmware: Firmware) -> None:
    firmware(
        START
        + """
    if port.smp_buffers[1] == 2:  # the hub
        await asyncio.sleep(10)
        print("giving up")
        sys.exit(7)
    await asyncio.Event().wait()
"""
    )
    with pytest.raises(BoardError) as failed:
        wait_for_the_hub(open_desk())
    assert "board hub (ESP32-DevKitC) died at 10." in failed.value.what
    assert "exit code 7" in failed.value.what
    assert "giving up" in failed.value.what


@pytest.mark.parametrize(
    "work",
    [
        "while True: pass",
        "while True: await asyncio.sleep(0)",
        "while True: port._bench.call(b'E', 0, b'')",
    ],
    ids=["computes", "yields", "erases"],
)
def test_board_that_loops_for_ever(
    open_desk: OpenDesk, firmware: Firmware, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    monkeypatch.setattr("hanlab.bench.board._HUNG_S", 0.3)
    firmware(f"{START}    print('starting')\n    {work}\n")
    with pytest.raises(BoardError) as failed:
        wait_for_the_hub(open_desk())
    assert "board PPMID" in failed.value.what
    assert "without waiting: hung" in failed.value.what
    assert "starting" in failed.value.what


def test_vm_that_does_not_start(open_desk: OpenDesk) -> None:
    with pytest.raises(BoardError) as failed:
        wait_for_the_hub(open_desk(vm=Vm(("/no/micropython",), 64, "none")))
    assert failed.value.what == (
        "board PPMID: /no/micropython does not start: No such file or directory"
    )


def test_vm_that_is_another_program(open_desk: OpenDesk) -> None:
    with pytest.raises(BoardError) as failed:
        wait_for_the_hub(open_desk(vm=Vm(("false",), 64, "none")))
    assert "board PPMID (Raspberry Pi Pico) died" in failed.value.what
    assert "exit code 1\n" in failed.value.what
    assert "it printed nothing" in failed.value.what


def test_host_that_waits_for_what_never_comes(open_desk: OpenDesk, firmware: Firmware) -> None:
    firmware(f"{START}    print('I only wait')\n    await asyncio.Event().wait()\n")
    with pytest.raises(BenchError) as failed:
        wait_for_the_hub(open_desk())
    assert "deadlock at 0." in failed.value.what
    for board in ("hub", "PPMID"):
        assert f"board {board} printed last:\n    I only wait" in failed.value.what


def test_output_of_an_earlier_run_is_not_shown(open_desk: OpenDesk, firmware: Firmware) -> None:
    firmware("raise RuntimeError('of the first run')")
    with pytest.raises(BoardError, match="of the first run"):
        wait_for_the_hub(open_desk())
    again = open_desk()
    for board in again.boards.values():
        assert "(it printed nothing)" in board.last_output()


def test_nothing_is_left_pending(
    tmp_path: Path, firmware: Firmware, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio says `Task was destroyed but it is pending!` of what a lab leaves behind."""
    firmware("raise RuntimeError")

    def run_into_it() -> None:
        with Lab(config(), tmp_path) as lab, suppress(BoardError):
            lab.run(lab.update_firmware(make_image(), lab.device("PPMID")))

    run_into_it()
    gc.collect()
    assert caplog.messages == []


# -- flash


def test_program_where_nothing_was_erased(open_desk: OpenDesk, firmware: Firmware) -> None:
    firmware(
        START
        + """
    port._bench.call(b"E", 4096, b"")
    port._bench.call(b"P", 4096, b"\\x0F")
    port._bench.call(b"P", 4096, b"\\x07")  # bits may go from 1 to 0
    port._bench.call(b"P", 4096, b"\\x0F")  # and never back
"""
    )
    with pytest.raises(BenchError, match=r"flash PPMID.flash: 1 octets programmed at 0x001000"):
        wait_for_the_hub(open_desk())


def test_flash_keeps_to_its_chip(tmp_path: Path) -> None:
    facts = load_board("pico").flash
    flash = NorFlash(tmp_path / "chip.flash", facts)
    assert flash.erase(0) == facts.erase_us
    assert flash.program(200, b"\0" * 100) == 2 * facts.program_us, "it crosses a page"
    assert flash.operations == 3
    assert flash.path.read_bytes()[199:301] == b"\xff" + b"\0" * 100 + b"\xff"
    for address, octets in (
        (facts.filesystem, b"\0"),
        (facts.filesystem - 1, b"\0\0"),
        (-1, b"\0"),
    ):
        with pytest.raises(BenchError, match="are outside it"):
            flash.program(address, octets)
    with pytest.raises(BenchError, match="not erased before"):
        flash.program(250, b"\x01")
    flash.close()


def test_flash_of_another_size(open_desk: OpenDesk, tmp_path: Path) -> None:
    file = tmp_path / "lab" / "hub.flash"
    file.parent.mkdir()
    file.write_bytes(b"\xff" * 1000)
    with pytest.raises(UsageError) as failed:
        open_desk()
    assert "hub.flash holds 1,000 octets, but this board's flash has 2,097,152" in failed.value.what
    assert failed.value.next_step.startswith("nothing is in it")
    assert file.read_bytes() == b"\xff" * 1000


@pytest.mark.parametrize("fill", ["noise", "zeros", "text"])
def test_flash_that_holds_something_else(open_lab: OpenLab, tmp_path: Path, fill: str) -> None:
    size = load_board("esp32-devkitc").flash.filesystem
    octets = {
        "noise": random.Random(1).randbytes(size),
        "zeros": bytes(size),
        "text": (b"not a filesystem " * size)[:size],
    }[fill]
    file = tmp_path / "lab" / "hub.flash"
    file.parent.mkdir()
    file.write_bytes(octets)
    lab = open_lab()
    with pytest.raises(BoardError) as failed:
        lab.run(lab.store())
    assert f"board hub (ESP32-DevKitC): {file} holds no filesystem" in failed.value.what
    assert failed.value.next_step == f"move {file} aside to begin with an empty board"
    lab.close()
    assert file.read_bytes() == octets


# -- wires


def test_client_that_ignores_the_window_loses_octets(open_desk: OpenDesk) -> None:
    """A Pico's flash work holds the interrupts: only its UART's FIFO goes on taking octets."""
    image = make_image(20_000).to_bytes()

    async def upload(client: WanClient, window: Window | None) -> int:
        client._window = window or await client.connect()
        return [off async for off in client.upload(image)][-1]

    polite = open_desk({"board": "pico"}, wan_open=True, folder="polite")
    client = WanClient(polite.ports["hub"])
    assert polite.run(upload(client, None)) == len(image)
    assert (polite.boards["hub"].lost, client.retries) == (0, 0)

    greedy = open_desk({"board": "pico"}, wan_open=True, folder="greedy")
    client = WanClient(greedy.ports["hub"])
    greedy.run(client.connect())
    assert greedy.run(upload(client, Window(4096, 2))) == len(image)
    assert greedy.boards["hub"].lost > 1000
    assert client.retries > 0
    assert greedy.kernel.now > polite.kernel.now, "it gains nothing"


def test_board_that_can_take_two_at_once_loses_none(open_desk: OpenDesk) -> None:
    desk = open_desk({"board": "esp32-devkitc"}, wan_open=True)
    client = WanClient(desk.ports["hub"])
    image = make_image(20_000).to_bytes()

    async def upload() -> int:
        return [off async for off in client.upload(image)][-1]

    assert desk.run(upload()) == len(image)
    assert (desk.boards["hub"].lost, client.retries) == (0, 0)


# -- the air


def test_board_that_is_off_acknowledges_nothing(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = open_desk()
    node = desk.config.devices[0]
    target = Target(node.name, node.eui.octets, node.model)
    s1sp = s1sp_on(wan_client(desk, "hub"), desk.config.hub, DualControl(desk.keys, tmp_path))
    frames: list[bytes] = []
    desk.air.capture(lambda _, psdu: frames.append(psdu))
    desk.run(s1sp.wait_until_back(target))
    assert [f for f in frames if len(f) == ACK_OCTETS]
    desk.boards["PPMID"].power_off()
    frames.clear()
    with pytest.raises(ServiceRequestFailed) as failed:
        desk.run(s1sp.read_firmware_version(target))
    assert failed.value.outcome is Outcome.NO_ANSWER
    assert frames, "the CH asks"
    assert not [f for f in frames if len(f) == ACK_OCTETS]


# -- a VM that dies


def test_a_vm_that_is_killed_starts_again_where_the_lab_wants_that(open_lab: OpenLab) -> None:
    lab = open_lab()
    ppmid = lab.device("PPMID")
    told: list[str] = []
    lab.desk.revive(told.append)
    lab.run(lab.wait_until_back(ppmid))
    kill(lab, ppmid)
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE05"
    assert len(told) == 1
    assert "board PPMID" in told[0]
    assert "starts again" in told[0]


def test_a_vm_that_dies_again_and_again_ends_the_run(open_lab: OpenLab) -> None:
    lab = open_lab()
    ppmid = lab.device("PPMID")
    told: list[str] = []
    lab.desk.revive(told.append)
    for _ in range(2):
        lab.run(lab.wait_until_back(ppmid))
        kill(lab, ppmid)
    lab.run(lab.wait_until_back(ppmid))
    assert len(told) == 2
    kill(lab, ppmid)
    with pytest.raises(BoardError, match="board PPMID"):
        lab.run(asyncio.sleep(5))


def test_a_vm_that_has_ended_between_two_steps_starts_again_too(open_lab: OpenLab) -> None:
    """As `hanlab up` sees it: its lifeline says so, while nothing else happens."""
    lab = open_lab()
    told: list[str] = []
    hub = lab.desk.boards["hub"]
    lab.run(lab.store())
    kill(lab, lab.hub)
    with pytest.raises(BoardError, match="hub"):
        hub.gone()
    hub.cut_power()
    lab.run(lab.wait_until_back(lab.device("PPMID")))
    lab.desk.revive(told.append)
    kill(lab, lab.hub)
    hub.gone()
    assert not hub.running
    assert told
    assert "hub starts again, as after a power failure" in told[0]
    assert lab.run(lab.store()).used == 0


def kill(lab: Lab, device: Device) -> None:
    process = in_vm(lab.board(device))._process
    assert process
    process.kill()
    process.wait()
