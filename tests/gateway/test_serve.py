"""`hanlab serve` as its users meet it: dates, log, a board that dies, other commands beside it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from lab_file import lab_toml

from hanlab.cli import main
from hanlab.duis.messages import ActivateFirmware, ReadFirmwareVersion, Request, RequestId, Response
from hanlab.duis.pki import read_pki
from hanlab.duis.reading import read_response
from hanlab.duis.writing import write_request
from hanlab.eui import Eui
from hanlab.images import build, made_body

COMMAND = [sys.executable, "-c", "from hanlab.cli import main; main()"]
SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")

COUNTERS = itertools.count(1000, 1000)
"""Above those of the commands between them, which count one by one."""


class Serving:
    """`hanlab serve` in a process of its own, on the lab in `folder`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        (folder / "lab.toml").write_text(lab_toml())
        self.log = folder / "serve.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--lab", "lab.toml", "--port", "0", "--json", *arguments],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        self.ready = json.loads(self.process.stdout.readline())
        self.signer = read_pki(folder / self.ready["pki"]).signers["supplier"]

    def version(self, counter: int) -> Response:
        """What an 11.2 is answered at once."""
        request = Request(
            RequestId(SUPPLIER, PPMID, counter), 1, "11.2", "11.2", ReadFirmwareVersion()
        )
        answer = httpx.post(
            f"{self.ready['url']}/serviceS",
            content=self.signer.sign_octets(write_request(request)),
            headers={"content-type": "application/xml"},
            timeout=30,
        )
        return read_response(answer.content)

    def says(self, words: str) -> bool:
        return wait_for(lambda: words in self.log.read_text())

    def board(self, name: str) -> int:
        """The process of that board's VM."""
        assert wait_for(lambda: self._vm(name)), f"{name} does not run"
        return self._vm(name)

    def _vm(self, name: str) -> int:
        """By the log that it writes; 0: there is none yet."""
        for process in Path("/proc").iterdir():
            try:
                log = (process / "fd" / "1").readlink()
                parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if log.name == f"{name}.log" and int(parent) == self.process.pid:
                return int(process.name)
        return 0

    def end(self, how: int = signal.SIGINT) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.communicate()


def wait_for(what: Callable[[], object]) -> bool:
    """The wall clock is the lab's here, so this waits for what has to come, not for a time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One server for all that leave it as it is."""
    made = Serving(tmp_path_factory.mktemp("served"))
    yield made
    made.end()


@dataclass(frozen=True)
class Killed:
    """A server that was killed: its folder, and what it had said it is when it answered last."""

    folder: Path
    vms: list[int]
    said: datetime


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    server = Serving(tmp_path_factory.mktemp("killed"))
    date = datetime.fromisoformat(server.ready["date"])
    assert abs(date - datetime.now(UTC)) < timedelta(hours=1)
    said = server.version(next(COUNTERS)).when
    vms = [server.board(name) for name in ("hub", "PPMID")]
    server.end(signal.SIGKILL)
    return Killed(server.folder, vms, said)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Hanlab = Callable[..., Done]


@pytest.fixture
def hanlab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Path], Hanlab]:
    """Another command on the lab in a folder; in this process, which has imported all of it."""

    def in_folder(folder: Path) -> Hanlab:
        monkeypatch.chdir(folder)

        def run(*arguments: str) -> Done:
            monkeypatch.setattr(sys, "argv", ["hanlab", *arguments, "--lab", "lab.toml"])
            capsys.readouterr()
            with pytest.raises(SystemExit) as end:
                main()
            assert isinstance(end.value.code, int)
            return Done(end.value.code, *capsys.readouterr())

        return run

    return in_folder


def test_a_board_that_dies_starts_again_and_answers(serving: Serving) -> None:
    """Its VM is killed; the next 11.2 is answered by the board, not by nobody."""
    os.kill(serving.board("PPMID"), signal.SIGKILL)
    assert serving.says("PPMID starts again, as after a power failure")
    counter = next(COUNTERS)
    assert serving.version(counter).code == "I99"
    assert serving.says(f"11.2 {SUPPLIER}:{PPMID}:{counter} has ended: I0")


def test_each_request_is_a_line_of_the_log(serving: Serving) -> None:
    serving.version(next(COUNTERS))
    assert serving.says(f"supplier: 11.2 to {PPMID}: I99")
    assert httpx.post(f"{serving.ready['url']}/serviceS", content=b"<a/>").is_error
    assert serving.says("refused with HTTP")


def test_what_a_killed_server_left_behind_counts_for_nothing(
    killed: Killed, hanlab: Callable[[Path], Hanlab]
) -> None:
    assert wait_for(lambda: not any(Path(f"/proc/{vm}/fd/1").exists() for vm in killed.vms))
    done = hanlab(killed.folder)("version", "PPMID")
    assert done.returncode == 0, done.stderr
    assert "through the server" not in done.stdout


def test_an_emulated_lab_tells_the_computers_time_which_never_goes_back(killed: Killed) -> None:
    second = Serving(killed.folder)
    assert datetime.fromisoformat(second.ready["date"]) + timedelta(seconds=1) > killed.said
    assert second.version(next(COUNTERS)).when >= killed.said
    second.end(signal.SIGKILL)


def test_the_date_that_lab_toml_sets_is_said(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(lab_toml() + "[dsp]\nstart = 2031-05-06T07:08:09Z\n")
    with subprocess.Popen(
        [*COMMAND, "serve", "--lab", "lab.toml", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        shown = [process.stdout.readline() for _ in range(3)]
        process.kill()
    assert any("the lab's date: 2031-05-06 07:08:" in line for line in shown)
    assert "not the computer's" in "".join(shown)


def test_other_commands_go_through_the_server(
    serving: Serving, hanlab: Callable[[Path], Hanlab]
) -> None:
    run = hanlab(serving.folder)
    image = build(made_body(256, seed=1), device_type="PPMID", version="IHDAE06", for_ch="Secure")
    (serving.folder / "v6.ota").write_bytes(image.to_bytes())
    assert run("cpl", "add", "v6.ota").returncode == 0
    pushed = run("push", "v6.ota", "--to", "PPMID")
    assert pushed.returncode == 0, pushed.stderr
    assert f"through the server at {serving.ready['url']}" in " ".join(pushed.stdout.split())
    assert "N60 to supplier" in pushed.stdout
    octets = f"{len(image.to_bytes())} B"
    shown = [line.strip().split("  ")[0] for line in pushed.stdout.splitlines() if octets in line]
    assert shown == ["S1SP → CH", "CH → PPMID"]
    activated = json.loads(run("activate", "PPMID", "--image", "v6.ota", "--json").stdout)
    assert (activated["code"], activated["version"]) == ("I0", "IHDAE06")
    assert activated["server"] == serving.ready["url"]
    assert "PPMID runs IHDAE06" in run("version", "PPMID").stdout
    wrong = run("activate", "PPMID", "--hash", "00" * 32, "--json")
    assert (wrong.returncode, json.loads(wrong.stdout)["outcome"]) == (1, "no-image-held")
    refused = run("version", "PPMID", "--as", "other-supplier")
    assert refused.returncode == 1
    assert "E4" in refused.stderr


def test_a_request_file_goes_through_the_server(
    serving: Serving, hanlab: Callable[[Path], Hanlab]
) -> None:
    run = hanlab(serving.folder)
    id_ = RequestId(SUPPLIER, PPMID, next(COUNTERS))
    request = Request(id_, 1, "11.2", "11.2", ReadFirmwareVersion())
    (serving.folder / "r.xml").write_bytes(write_request(request))
    done = json.loads(run("request", "r.xml", "--json").stdout)
    assert (done["codes"], done["server"]) == (["I99", "I0"], serving.ready["url"])
    again = run("request", "r.xml")
    assert again.returncode == 2
    assert "409" in again.stderr


def test_a_request_file_that_is_refused_ends_with_1(
    serving: Serving, hanlab: Callable[[Path], Hanlab]
) -> None:
    id_ = RequestId(SUPPLIER, PPMID, next(COUNTERS))
    request = Request(id_, 1, "11.3", "11.3", ActivateFirmware(bytes(32)))
    (serving.folder / "r3.xml").write_bytes(write_request(request))
    done = hanlab(serving.folder)("request", "r3.xml")
    assert done.returncode == 1
    assert 'MessageSuccess="false"' in done.stdout


def test_a_device_joins_through_the_server(
    serving: Serving, hanlab: Callable[[Path], Hanlab]
) -> None:
    done = hanlab(serving.folder)("dsp", "join", "PPMID", "--json")
    assert json.loads(done.stdout) == {"codes": {"8.11": "I99"}, "status": "Commissioned"}
    assert serving.says("supplier: 8.11 to ")


@pytest.mark.parametrize(
    "command",
    [
        ("version", "PPMID", "--impair", "wan.loss=1"),
        ("version", "PPMID", "--pcap", "x.pcap"),
        ("activate", "PPMID", "--hash", "00" * 32, "--impair", "han.loss=1"),
        ("push", "own.ota", "--to", "PPMID", "--cut", "PPMID@43%"),
        ("request", "own.xml", "--pcap", "x.pcap"),
    ],
)
def test_an_option_for_the_boards_is_not_passed_over(
    command: tuple[str, ...], serving: Serving, hanlab: Callable[[Path], Hanlab]
) -> None:
    (serving.folder / "own.ota").write_bytes(
        build(made_body(64), device_type="PPMID", version="IHDAE07", for_ch="Secure").to_bytes()
    )
    id_ = RequestId(SUPPLIER, PPMID, 1)
    (serving.folder / "own.xml").write_bytes(
        write_request(Request(id_, 1, "11.2", "11.2", ReadFirmwareVersion()))
    )
    done = hanlab(serving.folder)(*command)
    assert done.returncode == 2
    assert (
        f"{command[-2]} would have no effect: the server at {serving.ready['url']}" in done.stderr
    )
    assert "open the HAN capture" not in done.stdout


@pytest.mark.parametrize("command", [("store",), ("version", "PPMID", "--direct")])
def test_what_needs_the_boards_themselves_says_exactly_that(
    command: tuple[str, ...], serving: Serving, hanlab: Callable[[Path], Hanlab]
) -> None:
    done = hanlab(serving.folder)(*command)
    assert done.returncode == 2
    assert f"is being served by process {serving.process.pid}" in done.stderr
    assert serving.ready["url"] in done.stderr
    assert "end the server first" in done.stderr
