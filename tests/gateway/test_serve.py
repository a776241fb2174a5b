"""`hanlab serve` as its users meet it: dates, log, a board that dies, other commands beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from hanlab.duis.messages import ReadFirmwareVersion, Request, RequestId, Response
from hanlab.duis.pki import read_pki
from hanlab.duis.reading import read_response
from hanlab.duis.writing import write_request
from hanlab.eui import Eui
from hanlab.images import build, made_body

COMMAND = [sys.executable, "-c", "from hanlab.cli import main; main()"]
SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")
LAB = """[comms_hub]
board = "esp32-devkitc"
model = "skyline-i510"
eui = "00-DB-12-34-56-78-90-A2"
[[device]]
name = "PPMID"
board = "pico"
model = "pipit-500"
eui = "00-DB-12-34-56-78-90-A4"
"""


class Serving:
    """`hanlab serve` in a process of its own, on the lab in `folder`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
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


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    (tmp_path / "lab.toml").write_text(LAB)
    made = Serving(tmp_path)
    yield made
    made.end()


def test_a_board_that_dies_starts_again_and_answers(serving: Serving) -> None:
    """Its VM is killed; the next 11.2 is answered by the board, not by nobody."""
    assert serving.version(1).code == "I99"
    assert serving.says(f"11.2 {SUPPLIER}:{PPMID}:1 has ended: I0")
    os.kill(serving.board("PPMID"), signal.SIGKILL)
    assert serving.says("PPMID starts again, as after a power failure")
    assert serving.version(2).code == "I99"
    assert serving.says(f"11.2 {SUPPLIER}:{PPMID}:2 has ended: I0")


def test_each_request_is_a_line_of_the_log(serving: Serving) -> None:
    serving.version(1)
    assert serving.says(f"supplier: 11.2 to {PPMID}: I99")
    assert httpx.post(f"{serving.ready['url']}/serviceS", content=b"<a/>").is_error
    assert serving.says("refused with HTTP")


def test_an_emulated_lab_tells_the_computers_time_which_never_goes_back(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB)
    first = Serving(tmp_path)
    assert abs(datetime.fromisoformat(first.ready["date"]) - datetime.now(UTC)) < timedelta(hours=1)
    said = first.version(1).when
    first.end(signal.SIGKILL)
    second = Serving(tmp_path)
    assert datetime.fromisoformat(second.ready["date"]) + timedelta(seconds=1) > said
    assert second.version(2).when >= said
    second.end()


def test_the_date_that_lab_toml_sets_is_said(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB + "[dsp]\nstart = 2031-05-06T07:08:09Z\n")
    with subprocess.Popen(
        [*COMMAND, "serve", "--lab", "lab.toml", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        shown = [process.stdout.readline() for _ in range(3)]
        process.terminate()
    assert any("the lab's date: 2031-05-06 07:08:" in line for line in shown)
    assert "not the computer's" in "".join(shown)


def hanlab(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments, "--lab", "lab.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_other_commands_go_through_the_server(serving: Serving) -> None:
    folder = serving.folder
    image = build(made_body(4096, seed=1), device_type="PPMID", version="IHDAE06", for_ch="Secure")
    (folder / "v6.ota").write_bytes(image.to_bytes())
    assert hanlab(folder, "cpl", "add", "v6.ota").returncode == 0
    pushed = hanlab(folder, "push", "v6.ota", "--to", "PPMID")
    assert pushed.returncode == 0, pushed.stderr
    assert f"through the server at {serving.ready['url']}" in " ".join(pushed.stdout.split())
    assert "N60 to supplier" in pushed.stdout
    activated = json.loads(
        hanlab(folder, "activate", "PPMID", "--image", "v6.ota", "--json").stdout
    )
    assert (activated["code"], activated["version"]) == ("I0", "IHDAE06")
    assert activated["server"] == serving.ready["url"]
    assert "PPMID runs IHDAE06" in hanlab(folder, "version", "PPMID").stdout
    wrong = hanlab(folder, "activate", "PPMID", "--hash", "00" * 32, "--json")
    assert (wrong.returncode, json.loads(wrong.stdout)["outcome"]) == (1, "no-image-held")
    refused = hanlab(folder, "version", "PPMID", "--as", "other-supplier")
    assert refused.returncode == 1
    assert "E4" in refused.stderr


def test_a_request_file_goes_through_the_server(serving: Serving) -> None:
    request = Request(RequestId(SUPPLIER, PPMID, 5), 1, "11.2", "11.2", ReadFirmwareVersion())
    (serving.folder / "r.xml").write_bytes(write_request(request))
    done = json.loads(hanlab(serving.folder, "request", "r.xml", "--json").stdout)
    assert (done["codes"], done["server"]) == (["I99", "I0"], serving.ready["url"])
    again = hanlab(serving.folder, "request", "r.xml")
    assert again.returncode == 2
    assert "409" in again.stderr


@pytest.mark.parametrize("command", [("store",), ("version", "PPMID", "--direct")])
def test_what_needs_the_boards_themselves_says_exactly_that(
    command: tuple[str, ...], serving: Serving
) -> None:
    done = hanlab(serving.folder, *command)
    assert done.returncode == 2
    assert f"is being served by process {serving.process.pid}" in done.stderr
    assert serving.ready["url"] in done.stderr
    assert "end the server first" in done.stderr


def test_what_a_killed_server_left_behind_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB)
    killed = Serving(tmp_path)
    vms = [killed.board(name) for name in ("hub", "PPMID")]
    killed.end(signal.SIGKILL)
    assert wait_for(lambda: not any(Path(f"/proc/{vm}/fd/1").exists() for vm in vms))
    done = hanlab(tmp_path, "version", "PPMID")
    assert done.returncode == 0, done.stderr
    assert "through the server" not in done.stdout
