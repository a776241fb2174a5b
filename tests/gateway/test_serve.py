"""`hanlab serve` as its users meet it: dates, log, a board that dies, other commands beside it."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from lab_file import lab_toml

from hanlab.cli import main
from hanlab.cli import served as served_commands
from hanlab.duis.messages import ActivateFirmware, ReadFirmwareVersion, Request, RequestId
from hanlab.duis.pki import read_pki
from hanlab.duis.reading import read_response
from hanlab.duis.responses import Response
from hanlab.duis.writing import write_request
from hanlab.eui import Eui
from hanlab.images import build, made_body
from hanlab.lab.config import read_lab
from hanlab.lab.enrolment import product
from hanlab.lab.office import open_office
from hanlab.lab.state import state_folder

COMMAND = [sys.executable, "-c", "from hanlab.cli import main; main()"]
SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")

LAB = lab_toml()
COUNTERS = itertools.count(1000, 1000)
"""Above those of the commands between them, which count one by one."""


class Serving:
    """`hanlab serve` in a process of its own, on the lab in `folder`."""

    def __init__(self, folder: Path, *arguments: str, lab: str = LAB) -> None:
        self.folder = folder
        (folder / "lab.toml").write_text(lab)
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

    def version(self, counter: int, service: str = "S") -> Response:
        """What an 11.2 is answered at once."""
        request = Request(
            RequestId(SUPPLIER, PPMID, counter), 1, "11.2", "11.2", ReadFirmwareVersion()
        )
        answer = httpx.post(
            f"{self.ready['url']}/service{service}",
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
    assert serving.version(next(COUNTERS), "D").code == "E13"
    assert serving.says(f"{PPMID}: E13 (Command Variant 1 is for serviceS, not serviceD)")
    assert httpx.post(f"{serving.ready['url']}/serviceS", content=b"<a/>").is_error
    assert serving.says("refused with HTTP 415")
    undated = [
        line
        for line in serving.log.read_text().splitlines()
        if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line)
    ]
    assert undated == []


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("{url}/serviceS", "127.0.0.1", 403),
        ("{url}/serviceS", "evil.example", 403),  # Host does not count then (RFC 9112, 3.2.2)
        ("HTTP://localhost/api/v1/serviceS?x=1", "evil.example", 403),
        ("http://evil.example/api/v1/serviceS", "127.0.0.1", 421),
        ("{url}/nosuch", "127.0.0.1", 404),
        ("http://127.0.0.1", "127.0.0.1", 404),
        ("http://[/api/v1/serviceS", "127.0.0.1", 404),
    ],
)
def test_a_whole_url_in_place_of_a_path(
    serving: Serving, target: str, host: str, status: int
) -> None:
    """As a client sends it that takes the gateway for a proxy; 403 is the missing signature's."""
    url = urlsplit(serving.ready["url"])
    request = Request(RequestId(SUPPLIER, PPMID, 1), 1, "11.2", "11.2", ReadFirmwareVersion())
    with closing(http.client.HTTPConnection(url.netloc, timeout=30)) as client:
        headers = {"host": host, "content-type": "application/xml"}
        wanted = target.format(url=serving.ready["url"])
        client.request("POST", wanted, write_request(request), headers)
        assert client.getresponse().status == status


ODD = lab_toml(of_hub="store = 4096")
ODD += f"""[[device]]
name = "SED"
board = "pico"
model = "sed-v3"
eui = "00-DB-12-34-56-78-90-A5"
[dsp]
lost_responses = 1.0
[[user]]
name = "supplier"
eui = "{SUPPLIER}"
roles = ["IS", "GS"]
retries = 1
[[user]]
name = "other-supplier"
eui = "90-B3-D5-1F-30-02-00-00"
roles = ["IS", "GS"]
"""
"""Whatever is asked of it fails: a small store, a third-party PPMID, answers that get lost."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Path]]:
    """A served lab in which much fails, and another folder with the same one, that nobody serves."""
    served, alone = (tmp_path_factory.mktemp(name) for name in ("odd", "alone"))
    server = Serving(served, lab=ODD)
    for folder in (served, alone):
        (folder / "lab.toml").write_text(ODD)
        config = read_lab(folder / "lab.toml")
        office = open_office(config, state_folder(folder / "lab.toml", config))
        for name, octets, maker in (
            ("v7", 8192, "Secure"),
            ("v8", 256, "Elster"),
            ("v9", 256, "Secure"),
        ):
            version = f"IHDAE0{name[1]}"
            body = made_body(octets, seed=int(name[1]))
            image = build(body, device_type="PPMID", version=version, for_ch=maker)
            (folder / f"{name}.ota").write_bytes(image.to_bytes())
            if name != "v9":
                model = config.node("PPMID").model
                office.dsp.load([product(model, version, image.manufacturer_image_hash)])
        office.close()
    yield server, alone
    server.end()


@pytest.mark.parametrize(
    "command",
    [
        ("version", "PPMID", "--as", "other-supplier"),
        ("version", "SED"),
        ("push", "v9.ota", "--to", "SED"),
        ("push", "v9.ota", "--to", "PPMID"),
        ("push", "v7.ota", "--to", "PPMID"),
        ("push", "v8.ota", "--to", "PPMID"),
        ("activate", "PPMID", "--hash", "00" * 32),
    ],
)
def test_a_failure_says_the_same_as_without_a_server(
    command: tuple[str, ...],
    odd: tuple[Serving, Path],
    hanlab: Callable[[Path], Hanlab],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was refused and why, the cause that the lab knows beside the service's code, the next step."""
    server, alone = odd
    monkeypatch.setattr(served_commands, "RETRY_S", 0.0)
    said = []
    for folder in (server.folder, alone):
        run = hanlab(folder)
        done = run(*command, "--json")
        assert (done.returncode, "server" in done.stdout) == (1, False), done.stdout
        told = json.loads(done.stdout)
        said.append(
            {key: told.get(key) for key in ("error", "next_step", "outcome", "code", "cause")}
        )
    assert said[0] == said[1]
    assert said[0]["next_step"]


def test_a_push_that_does_not_fit_draws_the_store_as_without_a_server(
    odd: tuple[Serving, Path], hanlab: Callable[[Path], Hanlab]
) -> None:
    server, alone = odd
    drawn = []
    for folder in (server.folder, alone):
        shown = hanlab(folder)("push", "v7.ota", "--to", "PPMID").stdout
        drawn.append([line for line in shown.splitlines() if "▕" in line])
    assert drawn[0] == drawn[1]
    store, image = drawn[0]
    assert "0 of 4,096 B, 4,096 B free" in store
    assert "✕ 8,284 B, short by 4,188 B" in image


def test_a_users_retries_are_sent_through_the_server_once_each(
    odd: tuple[Serving, Path], hanlab: Callable[[Path], Hanlab], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = hanlab(odd[0].folder)
    monkeypatch.setattr(served_commands, "RETRY_S", 0.0)
    before = len(json.loads(run("audit", "--last", "1000", "--json").stdout)["entries"])
    done = run("activate", "PPMID", "--hash", "11" * 32)
    assert done.stderr.count("E21: sent again in") == 1
    entries = json.loads(run("audit", "--last", "1000", "--json").stdout)["entries"][before:]
    sent = [e for e in entries if (e["actor"], e["action"]) == (str(SUPPLIER), "11.3")]
    assert len(sent) == 2


def test_ctrl_c_in_a_served_command_says_that_the_server_goes_on(
    serving: Serving, hanlab: Callable[[Path], Hanlab], monkeypatch: pytest.MonkeyPatch
) -> None:
    post = httpx.post

    def then_ctrl_c(*arguments: Any, **options: Any) -> httpx.Response:
        post(*arguments, **options)
        raise KeyboardInterrupt

    run = hanlab(serving.folder)
    monkeypatch.setattr(httpx, "post", then_ctrl_c)
    stopped = run("version", "PPMID")
    assert stopped.returncode == 130
    assert "hanlab: stopped by Ctrl-C\n  next: the server carries out" in stopped.stderr
    assert wait_for(lambda: "nothing is pending" in run("requests").stdout)
    ended = json.loads(run("audit", "--last", "1", "--json").stdout)["entries"][0]
    assert (ended["action"], ended["subject"]) == ("11.2 answered", str(PPMID))


def test_what_a_newer_request_makes_void_is_said_through_the_server(
    serving: Serving, hanlab: Callable[[Path], Hanlab]
) -> None:
    run = hanlab(serving.folder)
    id_ = RequestId(SUPPLIER, PPMID, next(COUNTERS))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    request = Request(id_, 1, "11.3", "11.3", ActivateFirmware(bytes(32), tomorrow))
    octets = serving.signer.sign_octets(write_request(request))
    headers = {"content-type": "application/xml"}
    httpx.post(f"{serving.ready['url']}/serviceS", content=octets, headers=headers)
    said = json.loads(run("activate", "PPMID", "--hash", "22" * 32, "--json").stdout)
    assert [(p["request_id"], p["end"]) for p in said["pending"]] == [(str(id_), "superseded")]


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
    other = run("activate", "PPMID", "--hash", "11" * 32)
    assert "shows the hashes of what the CH holds; hanlab store" in other.stderr
    assert "is for when the server has ended (Ctrl-C)" in other.stderr
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
    done = hanlab(serving.folder)("join", "PPMID", "--json")
    ended = json.loads(done.stdout)
    assert (ended["codes"], ended["status"]) == ({"8.11": "I0"}, "Commissioned")
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
