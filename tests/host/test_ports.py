"""`hanlab ports`: what is plugged in, who has it, and what runs on it, asked without harm."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from lab_file import lab_toml
from repl_board import ReplBoard, SparePort

from hanlab.cli.ports import run
from hanlab.errors import HanlabError, UsageError
from hanlab.flashing import asking, hello, micropython, plugged, wanted
from hanlab.flashing import flash as flashing
from hanlab.flashing.flash import Done, Job
from hanlab.flashing.plugged import Plugged, at, check_usable, holders, siblings, wait_for
from hanlab.keys import LabKeys
from hanlab.lab.config import read_lab
from hanlab.wan import ble_port
from hanlab.wan.auth import Credentials
from hanlab.wan.errors import AccessDenied

COMMAND = [sys.executable, "-c", "from hanlab.cli import main; main()"]


def port(
    device: str,
    vid: int | None,
    pid: int = 5,
    serial: str | None = None,
    location: str | None = None,
) -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial, location=location)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What pyserial says is plugged in."""
    ports: list[SimpleNamespace] = []
    monkeypatch.setattr(plugged, "comports", lambda: ports)
    return ports


def test_the_two_interfaces_of_a_pico(listed: list[SimpleNamespace]) -> None:
    listed += [
        port("/dev/ttyACM1", 0x2E8A, serial="E661", location="1-1:1.2"),
        port("/dev/ttyACM0", 0x2E8A, serial="E661", location="1-1:1.0"),
        port("/dev/ttyACM2", 0x2E8A, serial="E662", location="1-2:1.0"),
        port("/dev/ttyUSB0", 0x10C4, 0xEA60, "0001"),
        port("/dev/ttyS0", None),
    ]
    found = plugged.plugged()
    assert [(p.device, p.interface, p.interfaces) for p in found] == [
        ("/dev/ttyACM0", 0, 2),
        ("/dev/ttyACM1", 1, 2),
        ("/dev/ttyACM2", 0, 1),
        ("/dev/ttyUSB0", 0, 1),
    ]
    assert [p.device for p in siblings(found[1])] == ["/dev/ttyACM0", "/dev/ttyACM1"]
    assert found[3].kind.startswith("CP210x bridge")
    assert at("/dev/ttyACM1") == found[1]
    assert at("/dev/pts/99") == Plugged("/dev/pts/99")


def test_a_board_is_found_again_by_its_serial_number(listed: list[SimpleNamespace]) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            listed.append(port("/dev/ttyACM7", 0x2E8A, serial="E661"))

    found = wait_for(lambda p: p.serial == "E661", 5, sleep=sleep)
    assert found
    assert (found.device, len(slept)) == ("/dev/ttyACM7", 3)
    assert wait_for(lambda p: p.serial == "E662", 1, sleep=sleep) is None


def test_who_has_a_port_and_who_may_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "ttyACM0"
    device.touch()
    check_usable(str(device))
    code = f"f = open({str(device)!r}); print(flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout
    other.stdout.readline()
    try:
        assert holders(str(device)) == [f"{Path(sys.executable).name} (pid {other.pid})"]
        with pytest.raises(UsageError, match=rf"\(pid {other.pid}\) has ") as wrong:
            check_usable(str(device))
        assert wrong.value.next_step.startswith("end it")
    finally:
        other.communicate(b"\n")
    check_usable(str(device))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="belongs to the group") as wrong:
        check_usable(str(device))
    assert wrong.value.next_step.startswith("sudo usermod -aG ")


def test_a_repl_says_which_micropython_it_is_and_nothing_is_stopped(tmp_path: Path) -> None:
    board = ReplBoard(tmp_path)
    try:
        pico = Plugged(board.device, 0x2E8A, 5, "E661")
        monkey = asking.ask.__globals__
        held, monkey["holders"] = monkey["holders"], lambda device: []  # the VM has its own end
        try:
            answer = asking.ask(pico)
        finally:
            monkey["holders"] = held
        assert "linux" in answer.micropython
        assert board.received == 1, "Ctrl-B alone"
    finally:
        board.close()


def test_what_says_nothing(monkeypatch: pytest.MonkeyPatch, listed: list[SimpleNamespace]) -> None:
    silent = SparePort()
    monkeypatch.setattr(asking, "holders", lambda device: [])
    monkeypatch.setattr(asking, "SMP_S", 0.1)
    monkeypatch.setattr(asking, "REPL_S", 0.1)
    try:
        bridge = Plugged(silent.device, 0x10C4, 0xEA60)
        assert asking.ask(bridge).note.startswith("no REPL's prompt and no SMP")
        assert asking.ask(Plugged(silent.device, 0x0403, 0x6001)).note == "not asked"
        repl = Plugged(silent.device, 0x2E8A, 5, "E661", interface=0, interfaces=2)
        assert "second interface" in asking.ask(repl).note
    finally:
        silent.close()
    monkeypatch.setattr(asking, "holders", lambda device: ["screen (pid 7)"])
    assert asking.ask(bridge).trouble == "screen (pid 7) has it"
    monkeypatch.undo()
    monkeypatch.setattr(asking, "forbidden", lambda device: "dialout")
    assert "usermod -aG dialout" in asking.ask(bridge).trouble


@pytest.fixture
def up(tmp_path: Path) -> Iterator[str]:
    """The PTY of a PPMID that runs the firmware, on one cable."""
    path = tmp_path / "lab.toml"
    path.write_text(lab_toml(of_hub="cable = true", of_device="cable = true"))
    process = subprocess.Popen(
        [*COMMAND, "up", "--lab", path, "--json"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    boards = json.loads(process.stdout.readline())["boards"]
    yield next(board["pty"] for board in boards if board["name"] == "PPMID")
    process.kill()
    process.communicate()


def test_a_board_that_runs_the_firmware_says_who_it_is(up: str, tmp_path: Path) -> None:
    who = hello.ask(up, 921_600, 10)
    assert who
    assert (who.role, who.version, who.eui) == ("ppmid", "IHDAE05", "00-DB-12-34-56-78-90-A4")
    assert who.micropython.startswith("micropython 1.")
    eui = read_lab(tmp_path / "lab.toml").node("PPMID").eui.octets
    proved = Credentials(eui, LabKeys(1).wan(eui), os.urandom)
    assert hello.ask(up, 921_600, 10, proved) == who
    with pytest.raises(AccessDenied):
        hello.ask(up, 921_600, 10, Credentials(eui, LabKeys(2).wan(eui), os.urandom))


@pytest.fixture
def flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Done]]:
    """Flashes a board with one file, whose cable is at a port of its own."""
    monkeypatch.setattr(wanted, "firmware_files", lambda architecture: {"main.py": b"#"})
    (tmp_path / "usb/device").mkdir(parents=True)
    for name in ("__init__", "core", "cdc"):
        (tmp_path / f"usb/device/{name}.py").write_text("")
    board = ReplBoard(tmp_path)
    path = tmp_path / "real.toml"

    def flash_(cable: str, eui: str = "00-DB-12-34-56-78-90-A4", top: str = "") -> Done:
        text = lab_toml(top=f'keys = "seed"\n{top}', of_device=f'port = "{cable}"')
        path.write_text(text.replace("00-DB-12-34-56-78-90-A4", eui))
        config = read_lab(path)
        job = Job(config, config.node("PPMID"), LabKeys(1), board.device, library=tmp_path)
        resets = board.resets
        try:
            return flashing.flash(dataclasses.replace(job, force=True), Silent())
        finally:
            board.wait_for_reset(resets + 1)

    yield flash_
    board.close()


def test_a_flash_ends_with_the_boards_own_answer(up: str, flash: Callable[..., Done]) -> None:
    done = flash(up)
    assert done.hello
    assert (done.cable, done.hello.eui) == (up, "00-DB-12-34-56-78-90-A4")


def test_a_flash_whose_port_has_another_board(up: str, flash: Callable[..., Done]) -> None:
    other = "00-DB-12-34-56-78-90-A9"
    with pytest.raises(AccessDenied):
        flash(up, other)
    with pytest.raises(HanlabError, match="there is the board 00-DB-12-34-56-78-90-A4") as wrong:
        flash(up, other, "wan_open = true")  # nobody has to know a key
    assert wrong.value.next_step.startswith("that is another board's port")


def test_a_flash_that_nobody_answers(
    flash: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flashing, "ANSWER_S", 0.3)
    silent = SparePort()
    try:
        with pytest.raises(HanlabError, match="the firmware is on the board, and nobody") as wrong:
            flash(silent.device)
    finally:
        silent.close()
    assert "shows why it ended" in wrong.value.next_step


class Silent:
    def step(self, head: str, rest: str) -> None: ...

    def progress(self, done: int, total: int, what: str) -> None: ...


def test_the_command(
    listed: list[SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(ble=False, as_json=False)
    assert "no board" in capsys.readouterr().out
    listed += [port("/dev/ttyACM0", 0x2E8A, serial="E661"), port("/dev/ttyUSB0", 0x1234, 0x5678)]
    who = hello.Hello("ppmid", "IHDAE05", "micropython 1.28.0", "Pico", "00-DB-12-34-56-78-90-A4")
    monkeypatch.setattr(asking, "_asked", lambda port: asking.Answer(hello=who))
    run(ble=False, as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "/dev/ttyACM0: Raspberry Pi Pico with MicroPython, serial number E661, runs" in said
    assert "hanlab's ppmid 00-DB-12-34-56-78-90-A4, IHDAE05" in said
    assert "/dev/ttyUSB0: USB 1234:5678, not asked" in said
    run(ble=False, as_json=True)
    ports = json.loads(capsys.readouterr().out)["ports"]
    assert [p["port"] for p in ports] == ["/dev/ttyACM0", "/dev/ttyUSB0"]
    assert ports[0]["hanlab"]["eui"] == "00-DB-12-34-56-78-90-A4"


def test_a_board_in_bootsel_mode(
    listed: list[SimpleNamespace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "INFO_UF2.TXT").write_text("UF2 Bootloader v1.0\nBoard-ID: RP2350\n")
    monkeypatch.setattr(micropython, "_mounted", lambda: [tmp_path, tmp_path / "usb-stick"])
    run(ble=False, as_json=False)
    assert "RP2350 in BOOTSEL mode: hanlab flash" in " ".join(capsys.readouterr().out.split())
    run(ble=False, as_json=True)
    drive = {"drive": str(tmp_path), "chip": "RP2350"}
    assert json.loads(capsys.readouterr().out) == {"ports": [], "bootsel": [drive]}


def test_boards_by_ble(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:

    found = [ble_port.BleBoard("hanlab-90A2", "AA:BB", -40)]
    monkeypatch.setattr("hanlab.cli.ports.find_ble", lambda: found)
    run(ble=True, as_json=False)
    assert "ble:hanlab-90A2: AA:BB, -40 dBm" in capsys.readouterr().out
    found.clear()
    run(ble=True, as_json=False)
    assert "ble = true" in capsys.readouterr().out
