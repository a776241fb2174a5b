"""`hanlab flash` on a board whose REPL is MicroPython's own: mpremote works on it, cables are pulled, ports change."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lab_file import lab_toml
from repl_board import PICO, ReplBoard, SparePort

from hanlab.boards.files import CHIP_PORT, firmware_files
from hanlab.errors import HanlabError, UsageError
from hanlab.flashing import flash as flash_module
from hanlab.flashing import micropython, repl, steps
from hanlab.flashing import plugged as plugged_module
from hanlab.flashing import wanted as wanted_module
from hanlab.flashing.flash import Done, Job, flash
from hanlab.flashing.look import Found
from hanlab.flashing.plan import Plan
from hanlab.flashing.plugged import Plugged
from hanlab.flashing.steps import look_at
from hanlab.keys import LabKeys
from hanlab.lab.config import LabConfig, read_lab

ROOT = Path(__file__).parents[2]
SMALL = {
    "main.py": b"# starts it\n",
    "chip.mpy": b"c" * 6000,
    "smets1/octets.mpy": b"o" * 4000,
    "smets1/wan/cbor.mpy": b"w" * 9000,
}


class Shown:
    """What the user is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        self.octets: list[tuple[int, int]] = []

    def step(self, head: str, rest: str) -> None:
        self.steps.append((head, rest))

    def progress(self, done: int, total: int, what: str) -> None:
        self.octets.append((done, total))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplBoard]:
    """A bare Pico, which the computer lists with its serial number; the firmware is a small one."""
    monkeypatch.setattr(wanted_module, "firmware_files", lambda architecture: SMALL)
    made = ReplBoard(tmp_path)

    def comports() -> list[SimpleNamespace]:
        port = {"vid": 0x2E8A, "pid": 5, "serial_number": "E661", "location": "1-1:1.0"}
        return [SimpleNamespace(device=made.device, **port)] if made.is_on else []

    monkeypatch.setattr(plugged_module, "comports", comports)
    yield made
    made.close()


@pytest.fixture
def lab(tmp_path: Path) -> LabConfig:
    """Its PPMID is a Pico that has no port of its own to be asked at."""
    path = tmp_path / "lab.toml"
    path.write_text(lab_toml(top='keys = "seed"', of_hub='wired = true\nport = "/dev/ttyUSB9"'))
    return read_lab(path)


def do(lab: LabConfig, board: ReplBoard, show: Shown | None = None, **more: Any) -> Done:
    seed = more.pop("seed", lab.seed)
    job = Job(lab, lab.node("PPMID"), LabKeys(seed), board.device, **more)
    resets = board.resets
    done = flash(job, show or Shown())
    board.wait_for_reset(resets + 1)
    return done


def test_a_bare_board_is_flashed_and_then_there_is_nothing_to_do(
    board: ReplBoard, lab: LabConfig
) -> None:
    show = Shown()
    done = do(lab, board, show)
    there = look_at(board.device, bridge=False)
    assert there.files.keys() == {*SMALL, "hanlab/board.json"}
    assert there.identity
    assert there.identity.eui == "00db1234567890a4"
    assert board.resets == 1
    total = sum(map(len, SMALL.values())) + there.files["hanlab/board.json"].size
    assert done.plan.octets == total
    assert show.octets[0] == (0, total)
    assert show.octets == sorted(show.octets)
    assert len(show.octets) > len(SMALL)
    received = board.received
    assert do(lab, board).plan.is_empty
    assert board.received - received < 8000, "nothing is copied again"
    assert board.resets == 2, "it runs again"


@pytest.mark.parametrize("octets", [10, 14_000, 22_000])
def test_a_pulled_cable_and_a_port_that_comes_back_under_another_name(
    board: ReplBoard, lab: LabConfig, monkeypatch: pytest.MonkeyPatch, octets: int
) -> None:
    """While it is asked, before the first file, in mid-file, at the last ones: it goes on, and nothing is missing."""
    board.pull_at = octets
    before = board.device
    board.on_pull = lambda: threading.Timer(0.3, board.plug_in).start()
    show = Shown()
    do(lab, board, show)
    assert board.device != before
    heads = [head for head, _ in show.steps]
    assert heads.count("the cable was out") == 1
    assert look_at(board.device, bridge=False).files.keys() == {*SMALL, "hanlab/board.json"}


def test_a_board_that_stays_away_is_said_and_the_same_command_goes_on(
    board: ReplBoard, lab: LabConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash_module, "BACK_S", 0.2)
    board.pull_at = 20_000
    with pytest.raises(repl.PortGone, match="is gone: the cable was pulled") as gone:
        do(lab, board)
    assert gone.value.next_step == "plug it in, and the same command goes on where it stopped"
    board.plug_in()
    left = look_at(board.device, bridge=False).files
    assert "main.py" not in left, "half a firmware does not start"
    done = do(lab, board)
    assert 0 < done.plan.unchanged < done.plan.octets + done.plan.unchanged
    assert look_at(board.device, bridge=False).files.keys() == {*SMALL, "hanlab/board.json"}


def test_what_was_there_before(board: ReplBoard, lab: LabConfig) -> None:
    """Sources of an older firmware would be found first; what it has stored stays, unless it is another lab's."""
    do(lab, board)
    put = "for n in ('smets1/octets.py','hanlab/store.1','own.py'):open('/'+n,'w').write('old')"
    repl.run(board.device, [["exec", put]])
    done = do(lab, board)
    assert done.plan.remove == ("smets1/octets.py",)
    assert {"hanlab/store.1", "own.py"} <= look_at(board.device, bridge=False).files.keys()
    with pytest.raises(UsageError, match="with the keys of another lab") as wrong:
        do(lab, board, seed=2)
    assert wrong.value.next_step.startswith("--force")
    assert "hanlab/store.1" in do(lab, board, seed=2, force=True).plan.remove
    files = look_at(board.device, bridge=False).files
    assert "hanlab/store.1" not in files
    assert "own.py" in files
    assert do(lab, board, seed=2).plan.is_empty


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ((PICO[0], (1, 27, 0), *PICO[2:]), "1.28 is the oldest"),
        (("esp32", PICO[1], "Generic ESP32 module with ESP32", "ESP32_GENERIC", 11014), "RP2040"),
        ((*PICO[:4], 4871), "takes .mpy files of version 7.3"),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_written(
    board: ReplBoard, lab: LabConfig, tmp_path: Path, facts: object, says: str
) -> None:
    board.close()
    (tmp_path / "other").mkdir()
    board = ReplBoard(tmp_path / "other", facts=facts)
    try:
        with pytest.raises(UsageError) as wrong:
            do(lab, board)
        assert says in wrong.value.what
        assert look_at(board.device, bridge=False).files == {}
    finally:
        board.close()


def test_a_full_board_is_refused_before_anything_is_written(
    board: ReplBoard, lab: LabConfig, tmp_path: Path
) -> None:
    board.close()
    (tmp_path / "other").mkdir()
    board = ReplBoard(tmp_path / "other", blocks=14)
    try:
        with pytest.raises(UsageError, match="the firmware does not fit"):
            do(lab, board)
        assert look_at(board.device, bridge=False).files == {}
    finally:
        board.close()


def test_a_flash_that_keeps_nothing(
    board: ReplBoard, lab: LabConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on the board afterwards is looked at, not believed; main.py is not copied onto a bad flash."""
    carry_out = steps.carry_out

    def spoilt(device: str, plan: Plan, tell: steps.Tell) -> Found:
        carry_out(device, plan, tell)
        repl.run(device, [["exec", "open('/chip.mpy','wb').write(b'rot')"]])
        return look_at(device, bridge=False)

    monkeypatch.setattr(steps, "carry_out", spoilt)
    with pytest.raises(UsageError, match=r"chip\.mpy is not on the board as it should be") as wrong:
        flash(Job(lab, lab.node("PPMID"), LabKeys(1), board.device), Shown())
    assert wrong.value.next_step.startswith("again")
    assert "main.py" not in look_at(board.device, bridge=False).files


def test_micropython_itself_comes_first(
    board: ReplBoard, lab: LabConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board whose MicroPython is too old gets the file's, then the firmware; another lab's gets neither."""
    board.close()
    (tmp_path / "other").mkdir()
    boards = [ReplBoard(tmp_path / "other", facts=(PICO[0], (1, 20, 0), *PICO[2:]))]
    put = "import os;os.mkdir('/hanlab');open('/hanlab/board.json','w').write(%r)"
    installed: list[bool] = []

    def install(
        file: Path, facts: object, port: Plugged, tell: object, *, running: bool
    ) -> Plugged:
        installed.append(running)
        boards[-1].close()
        boards.append(ReplBoard(tmp_path / "other"))
        return Plugged(boards[-1].device)

    monkeypatch.setattr(micropython, "check_file", lambda file, facts: None)
    monkeypatch.setattr(micropython, "install", install)
    job = Job(lab, lab.node("PPMID"), LabKeys(1), boards[0].device, micropython=tmp_path)
    try:
        theirs = json.dumps({"eui": "00db120000000001", "role": "device", "wan": {"key": "11"}})
        repl.run(boards[0].device, [["exec", put % theirs]])
        with pytest.raises(UsageError, match="another lab's"):
            flash(job, Shown())
        assert not installed
        flash(dataclasses.replace(job, force=True), Shown())
        assert installed == [True]
        boards[-1].wait_for_reset(1)
        assert "main.py" in look_at(boards[-1].device, bridge=False).files
    finally:
        boards[-1].close()


def test_a_library_that_a_pico_needs_for_its_cable(
    board: ReplBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash_module, "ANSWER_S", 0.3)
    library = tmp_path / "usb" / "device"
    library.mkdir(parents=True)
    for name in ("__init__", "core", "cdc"):
        (library / f"{name}.py").write_text(f"# {name}\n")
    path = tmp_path / "lab.toml"
    path.write_text(lab_toml(top='keys = "seed"', of_device='port = "/dev/ttyACM9"'))
    config = read_lab(path)
    done = do(config, board, library=tmp_path)
    assert done.cable is None, "the second interface has not appeared"
    there = look_at(board.device, bridge=False).files
    assert {f"lib/usb/device/{name}.mpy" for name in ("__init__", "core", "cdc")} <= there.keys()


def test_a_port_that_is_no_repl(
    board: ReplBoard, lab: LabConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = SparePort()
    try:
        job = Job(lab, lab.node("PPMID"), LabKeys(1), port.device)
        with pytest.raises(UsageError, match="no MicroPython answers Ctrl-C on") as wrong:
            flash(job, Shown())
        assert "--micropython FILE" in wrong.value.next_step
    finally:
        port.close()
    with pytest.raises(UsageError, match="is not there") as wrong:
        flash(Job(lab, lab.node("PPMID"), LabKeys(1), "/dev/ttyACM77"), Shown())
    assert board.device in wrong.value.next_step


def test_the_command(
    board: ReplBoard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from hanlab.cli.flash import run

    path = tmp_path / "lab.toml"
    path.write_text(lab_toml(of_hub='wired = true\nport = "/dev/ttyUSB9"'))
    options: dict[str, Any] = {
        "lab": path,
        "name": "PPMID",
        "micropython": None,
        "library": None,
        "force": False,
        "sources": False,
    }
    run(None, **options, as_json=False)  # the only board that is plugged in
    said = capsys.readouterr().out
    assert said.startswith("  flash: looking at what is on the board\n")
    assert "✓ PPMID: 19,0" not in said
    assert f"next: hanlab devices --lab {path}" in said
    assert (tmp_path / ".hanlab/lab/boards.key").exists()
    run(board.device, **options, as_json=True)
    done = json.loads(capsys.readouterr().out)
    assert (done["board"], done["octets"], done["port"]) == ("PPMID", 0, None)


def test_which_board_it_is_to_be(lab: LabConfig, board: ReplBoard, tmp_path: Path) -> None:
    from hanlab.flashing.which import node_of

    with pytest.raises(UsageError, match="which board of lab lab is it to be") as wrong:
        node_of(lab, None, board.device)
    assert wrong.value.next_step == "--as NAME: hub, PPMID"
    path = tmp_path / "emulated.toml"
    path.write_text(lab_toml())
    with pytest.raises(UsageError, match="PPMID is an emulated board") as wrong:
        node_of(read_lab(path), "PPMID", board.device)
    assert wrong.value.next_step.startswith('port = "/dev/ttyACM1"')
    path.write_text(lab_toml(of_device=f'port = "{board.device}"'))
    assert node_of(read_lab(path), None, board.device).name == "PPMID"
    assert node_of(read_lab(path), None, None).name == "PPMID"
    with pytest.raises(HanlabError):
        node_of(read_lab(path), "hub", board.device)


def test_mip_installs_the_firmware(tmp_path: Path) -> None:
    """package.json names every file, and mpremote takes it as it is; the library comes from the network."""
    whole = json.loads((ROOT / "package.json").read_text())
    assert whole["deps"] == [["usb-device-cdc", "latest"]]
    named = dict(whole["urls"])
    assert named.keys() == firmware_files(None).keys()
    assert all((ROOT / path).read_bytes() == firmware_files(None)[n] for n, path in named.items())
    for folder in ("firmware", "boards"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    few = [pair for pair in whole["urls"] if pair[0] in ("main.py", "smets1/wan/smp.py")]
    (tmp_path / "package.json").write_text(json.dumps({"urls": few}))
    board = ReplBoard(tmp_path)
    try:
        target = ["mip", "install", "--target", "/", str(tmp_path / "package.json")]
        repl.run(board.device, [target])
        there = look_at(board.device, bridge=False).files
    finally:
        board.close()
    assert there.keys() == {"main.py", "smets1/wan/smp.py"}


def test_a_frozen_build_has_all_of_it() -> None:
    manifest = (ROOT / "firmware" / "manifest.py").read_text()
    for name in (*CHIP_PORT, "main.py"):
        assert f'module("{name}", base_path=' in manifest
    assert 'package("smets1"' in manifest
    assert 'require("usb-device-cdc")' in manifest
