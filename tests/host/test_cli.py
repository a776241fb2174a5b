"""`hanlab` as a user and an attacker meet it: exit codes, both streams, and what the boards then hold."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab_file import lab_toml
from rich.console import Console

from hanlab.boards.vm import find_vm
from hanlab.cli import main
from hanlab.cli.show import Watch, store_bar
from hanlab.images import build, made_body
from hanlab.s1sp.progress import Progress
from hanlab.wan.messages import StoreReadResponse

BODY = 20_000
IMAGE = build(made_body(BODY), device_type="PPMID", version="IHDAE06", for_ch="Secure")
OCTETS = IMAGE.to_bytes()
HASH = IMAGE.manufacturer_image_hash.hex()
STATE = Path(".hanlab/default")

COMMANDS = (
    "demo", "push", "version", "activate", "store", "devices", "up", "sweep", "boards",
    "request", "provision", "serve", "inventory", "cpl", "alerts", "audit", "init", "reset", "new-test",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it has to be."""
        assert not self.err, self.err
        return json.loads(self.out)


class Cli:
    """Runs commands in this process; `process` runs one in a process of its own."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ended:
        self._patch.setattr(sys, "argv", ["hanlab", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self._capsys.readouterr()
        code = end.value.code
        assert isinstance(code, int)
        return Ended(code, out, err)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Commands in an empty folder that holds `ppmid.ota`, an image for the default lab's PPMID."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("ppmid.ota").write_bytes(OCTETS)
    return Cli(monkeypatch, capsys)


@pytest.fixture(scope="module")
def boards_after_a_push(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flash of a CH and a PPMID that hold `ppmid.ota`."""
    folder = tmp_path_factory.mktemp("pushed")
    (folder / "ppmid.ota").write_bytes(OCTETS)
    assert process("push", "ppmid.ota", "--to", "PPMID", "--direct", cwd=folder).code == 0
    return folder / STATE


@pytest.fixture
def pushed(cli: Cli, boards_after_a_push: Path) -> Cli:
    """As `cli`, and `ppmid.ota` was pushed already."""
    shutil.copytree(boards_after_a_push, STATE)
    return cli


def process(
    *arguments: str,
    cwd: Path | None = None,
    stdout: int | None = None,
    env: dict[str, str] | None = None,
) -> Ended:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from hanlab.cli import main; main()", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    out = (done.stdout or b"").decode("utf-8")
    return Ended(done.returncode, out, done.stderr.decode("utf-8"))


def flash() -> dict[str, str]:
    """The octets of every board's flash."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in STATE.glob("*.flash")}


def is_one_sentence(ended: Ended, code: int, words: str) -> None:
    """An error: what happened with the numbers, the next step, and nothing else."""
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    what, next_step = ended.err.splitlines()
    assert re.search(words, what), what
    assert what.startswith("hanlab: ")
    assert re.fullmatch(r"  next: \S.*", next_step)


# -- the way through


def test_push_activate_version(cli: Cli) -> None:
    """Rules 1 and 97, in the user's own steps: each command names the next one."""
    done = cli("push", "ppmid.ota", "--to", "PPMID", "--direct")
    assert (done.code, done.err) == (0, "")
    assert "11.1 Update Firmware: IHDAE06, 20,092 B, to PPMID" in done.out
    assert re.search(
        r"S1SP → CH +20,092 B +[\d,]+ B/s +\d+\.\d s virtual +\d\.\d\d s wall", done.out
    )
    assert re.search(r"CH → PPMID +20,092 B +[\d,]+ B/s", done.out)
    assert "▏ 20,092 of 393,216 B, 373,124 B free" in done.out
    assert "capacity is illustrative" in done.out
    assert "✓ distributed: PPMID holds IHDAE06" in done.out
    (command,) = re.findall(r"next: hanlab (.*)", done.out)
    done = cli(*shlex.split(command))
    assert (done.code, done.err) == (0, "")
    assert "✓ activated: PPMID runs IHDAE06" in done.out
    done = cli("version", "PPMID", "--direct")
    assert (done.code, done.err) == (0, "")
    assert done.out == "11.2 Read Firmware Version: PPMID, a Pipit 500, runs IHDAE06\n"
    done = cli("push", "ppmid.ota", "--to", "PPMID", "--direct")
    is_one_sentence(done, 1, "PPMID runs IHDAE06 already")


def test_the_next_command_can_be_pasted(cli: Cli) -> None:
    Path("my lab.toml").write_text(lab_toml())
    Path("v 6.ota").write_bytes(OCTETS)
    done = cli("push", "v 6.ota", "--to", "ppmid", "--direct", "--lab", "my lab.toml")
    (command,) = re.findall(r"next: hanlab (.*)", done.out)
    assert cli(*shlex.split(command), "--json").json["version"] == "IHDAE06"


def test_json_is_one_document(cli: Cli) -> None:
    done = cli("push", "ppmid.ota", "--to", "00-db-12-34-56-78-90-a4", "--direct", "--json")
    assert done.code == 0
    assert done.json["outcome"] == "distributed"
    assert done.json["hash"] == HASH
    assert done.json["store"]["used"] == done.json["octets"] == len(OCTETS)
    assert cli("store", "--json").json["images"][0]["hash"] == HASH
    assert cli("version", "PPMID", "--json").json["version"] == "IHDAE05"
    assert [d["on_han"] for d in cli("devices", "--json").json["devices"]] == [True, True]
    assert cli("activate", "PPMID", "--direct", "--hash", HASH, "--json").json == {
        "outcome": "activated",
        "device": "00-DB-12-34-56-78-90-A4",
        "version": "IHDAE06",
    }
    assert {m["name"] for m in cli("boards", "--json").json["models"]} >= {"am110r", "pipit-500"}
    assert cli("demo", "--list", "--json").json[0]["name"] == "update"
    assert [r["happened"] for r in cli("demo", "no-image", "--json").json] == [
        "no-image-held",
        "IHDAE05",
    ]


def test_store_lists_and_evicts(pushed: Cli) -> None:
    done = pushed("store")
    assert "▏ 20,092 of 393,216 B, 373,124 B free" in done.out
    assert f"{HASH[:32]}…" in done.out
    done = pushed("store", "--evict", "9")
    is_one_sentence(done, 2, "the CH holds no image 9")
    assert "it holds 1 (IHDAE06)" in done.err
    done = pushed("store", "--evict", "1")
    assert (done.code, "0 of 393,216 B, 393,216 B free" in done.out) == (0, True)


def test_devices_are_all_on_the_han(cli: Cli) -> None:
    done = cli("devices")
    assert re.search(
        r"PPMID +PPMID +00-DB-12-34-56-78-90-A4 +Pipit 500 +Raspberry Pi Pico +yes", done.out
    )


def test_a_recovered_store_is_reported(pushed: Cli) -> None:
    damage(STATE / "hub.flash", "store/journal", "store/journal.old")
    done = pushed("push", "ppmid.ota", "--to", "PPMID", "--direct")
    assert done.code == 0
    assert "the CH mended its store as it started: journal bad" in done.out
    assert "✓ distributed" in done.out


@pytest.mark.parametrize("file", ["board.json", "counters"])
def test_a_damaged_setting_is_mended(pushed: Cli, file: str) -> None:
    for board in ("hub", "PPMID"):
        damage(STATE / f"{board}.flash", file)
    assert pushed("version", "PPMID", "--json").json["version"] == "IHDAE05"
    assert pushed("store", "--json").json["used"] == len(OCTETS)


# -- images that are none


def lying(size: int) -> bytes:
    octets = bytearray(OCTETS)
    octets[52:56] = size.to_bytes(4, "little")
    return bytes(octets)


BAD_IMAGES = {
    "text.ota": (b"hello\n" * 100, "it is no OTA image: it looks like text .*hello"),
    "head.ota": (OCTETS[:30], "cut short inside the OTA header: 30 octets"),
    "short.ota": (
        OCTETS[:-100],
        "its header says 20,092 octets, the file has 19,992; 100 are missing",
    ),
    "lies.ota": (
        lying(25_092),
        "its header says 25,092 octets, the file has 20,092; 5,000 are missing",
    ),
    "small.ota": (lying(10), "its header gives the whole image 10 octets"),
    "more.ota": (OCTETS + b"xx", "2 octets after the image's end"),
    "empty.ota": (b"", r"it is empty \(0 octets\)"),
    "huge.ota": (
        OCTETS + bytes(12 * 1024 * 1024 - len(OCTETS)),
        "12,582,912 octets; DUIS takes 10,240,000 at most",
    ),
}


@pytest.mark.parametrize("name", [*BAD_IMAGES, "none.ota"])
def test_a_bad_image_is_refused_before_any_board(pushed: Cli, name: str) -> None:
    octets, words = BAD_IMAGES.get(name, (b"", "there is no file none.ota"))
    if name in BAD_IMAGES:
        Path(name).write_bytes(octets)
    before = flash()
    for command in (
        ["push", name, "--to", "PPMID", "--direct"],
        ["activate", "PPMID", "--direct", "--image", name],
    ):
        done = pushed(*command)
        is_one_sentence(done, 2, words)
        assert done.out == ""
        error = pushed(*command, "--json").json
        assert re.search(words, error["error"])
        assert error["next_step"]
    assert flash() == before


def test_a_version_of_nine_characters(cli: Cli) -> None:
    build_ = ["image", "build", "--size", "1K", "--type", "PPMID", "-o", "x.ota"]
    done = cli(*build_, "--version", "IHDAE0600")
    is_one_sentence(done, 2, "'IHDAE0600' has 9 characters; DUIS takes 1 to 8")
    assert not Path("x.ota").exists()


def test_an_image_for_another_device_type(cli: Cli) -> None:
    cli(
        "image",
        "build",
        "--size",
        "1K",
        "--type",
        "ESME",
        "--version",
        "1",
        "--for-ch",
        "Secure",
        "-o",
        "e.ota",
    )
    done = cli("push", "e.ota", "--to", "PPMID", "--direct")
    is_one_sentence(done, 1, "the image is for device type ESME, PPMID is a PPMID")


# -- names and options that are wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["push", "ppmid.ota", "--to", "00-DB-12-34-56-78-90-FF", "--direct"],
            "no device '00-DB-12-34",
        ),
        (["push", "ppmid.ota", "--to", "nobody", "--direct"], "no device 'nobody'"),
        (["push", "ppmid.ota", "--to", "", "--direct"], "no device ''"),
        (["version", "\udcff"], "no device"),
        (["activate", "nobody", "--hash", HASH], "no device 'nobody'"),
        (["activate", "PPMID"], "one hash, and there is none"),
        (
            ["activate", "PPMID", "--direct", "--hash", HASH, "--image", "ppmid.ota"],
            "there are both",
        ),
        (
            ["activate", "PPMID", "--direct", "--hash", HASH[:-1]],
            "--hash has 63 digits; a SHA-256 is 64 hex",
        ),
        (["activate", "PPMID", "--direct", "--hash", "z" * 64], "--hash has 'z' in it"),
        (["activate", "PPMID", "--direct", "--hash", ""], "--hash has 0 digits"),
        (["version", "PPMID", "--lab", "none.toml"], "none.toml cannot be read: No such file"),
        (["version", "PPMID", "--lab", "."], r"\. is no file"),
        (["version", "PPMID", "--lab", "ppmid.ota"], "ppmid.ota is no TOML"),
        (["store", "--pcap", "none/han.pcap"], "none/han.pcap cannot be written: No such file"),
        (["store", "--pcap", "."], r"\. cannot be written: Is a directory"),
        (["store", "--pcap", "/dev/full"], "/dev/full cannot be written: No space left"),
        (["demo", "nosuch"], "there is no demo 'nosuch'"),
        (["demo", "--pcap", "han.pcap"], "--pcap captures one demo"),
        (["demo", "--image", "ppmid.ota", "--store", "1.5K"], "--store '1.5K' is no size"),
        (["demo", "update", "--image", "ppmid.ota"], "--image is a demo of its own, and update"),
        (["events", "nobody"], "no device 'nobody'"),
        (["push", "ppmid.ota", "--to", "PPMID", "--cut", "x@1"], "no device 'x'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_changes_nothing(
    pushed: Cli, arguments: list[str], words: str
) -> None:
    before = flash()
    done = pushed(*arguments)
    is_one_sentence(done, 2, words)
    assert done.out == ""
    error = pushed(*arguments, "--json").json
    assert set(error) == {"error", "next_step"}
    assert error["next_step"]
    assert flash() == before
    assert not Path("han.pcap").exists()


def test_a_wrong_name_leaves_no_boards_behind(cli: Cli) -> None:
    cli("push", "ppmid.ota", "--to", "nobody", "--direct", "--pcap", "han.pcap")
    assert [path.name for path in Path().iterdir()] == ["ppmid.ota"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["--nosuch"], "No such option"),
        (["push", "--nosuch"], "No such option"),
        (["push", "ppmid.ota"], "Missing option '--to'"),
        (["push", "--to", "PPMID", "--direct"], "Missing argument 'IMAGE'"),
        (["version"], "Missing argument 'DEVICE'"),
        (["store", "--evict", "x"], "Invalid value for '--evict'"),
        (["alerts", "--last", "9" * 23], "Invalid value for '--last'"),
        (["audit", "--last", "9" * 23], "Invalid value for '--last'"),
        (["serve", "--port", "99999"], "Invalid value for '--port'"),
        (["image", "inspect"], "Missing argument 'FILE'"),
    ],
)
def test_usage_errors_of_the_command_line(cli: Cli, arguments: list[str], words: str) -> None:
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "--help" in done.err
    error = cli(*arguments, "--json")
    assert error.code == 2
    assert words in error.json["error"]
    assert error.json["next_step"].endswith("--help")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"pico"', '"picoo"', "lab.toml: device 1: there is no board 'picoo'"),
        ('"pipit-500"', '"nokia"', "lab.toml: device 1: there is no Device Model 'nokia'"),
        ("-A4", "-A2", "lab.toml: two boards have the eui 00-DB-12-34-56-78-90-A2"),
        ("[[device]]", "[device]", "lab.toml: device has to be an array of tables"),
    ],
)
def test_a_wrong_lab_is_refused_before_any_board(cli: Cli, old: str, new: str, words: str) -> None:
    Path("lab.toml").write_text(lab_toml().replace(old, new))
    is_one_sentence(cli("store", "--lab", "lab.toml"), 2, re.escape(words))
    assert words in cli("store", "--lab", "lab.toml", "--json").json["error"]
    assert not Path(".hanlab").exists()


# -- what the CH and the device refuse


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("refuse", "too-large"),
        ("overflow", "overflow"),
        ("truncate", "truncated"),
        ("silent", "silent"),
    ],
)
def test_too_large_says_by_how_much(cli: Cli, behaviour: str, outcome: str) -> None:
    """Rules 2 to 6: the numbers, the store drawn with the image, exit code 1."""
    Path("lab.toml").write_text(lab_toml(of_hub=f'store = 20000\nsize_behaviour = "{behaviour}"'))
    push = ["push", "ppmid.ota", "--to", "PPMID", "--direct", "--lab", "lab.toml"]
    done = cli(*push)
    is_one_sentence(done, 1, "image 20,092 B; store .* 20,000 B, 20,000 B free; short by 92 B")
    assert "✕ 20,092 B, short by 92 B" in done.out
    error = cli(*push, "--json")
    assert (error.code, error.json["outcome"]) == (1, outcome)
    assert cli("store", "--lab", "lab.toml", "--json").json["used"] == 0


def test_evicting_is_advised_only_where_it_helps(pushed: Cli) -> None:
    shutil.copytree(STATE, STATE.with_name("lab"))
    Path("lab.toml").write_text(lab_toml(of_hub="store = 22000"))
    push = ["push", "next.ota", "--to", "PPMID", "--direct", "--lab", "lab.toml", "--json"]
    for body, advice in (
        (
            BODY,
            "`hanlab store --lab lab.toml --evict ID` makes room: image 1 is IHDAE06 (20,092 B)",
        ),
        (BODY + 10_000, "use a smaller image or a CH with a larger store"),
    ):
        image = build(made_body(body), device_type="PPMID", version="IHDAE07", for_ch="Secure")
        Path("next.ota").write_bytes(image.to_bytes())
        assert advice in pushed(*push).json["next_step"]


def test_an_image_without_the_metadata_block(cli: Cli) -> None:
    """Rules 28 to 30; the next step is the option that makes the right one."""
    image = build(made_body(1000), device_type="PPMID", version="IHDAE06")
    Path("plain.ota").write_bytes(image.to_bytes())
    done = cli("push", "plain.ota", "--to", "PPMID", "--direct")
    is_one_sentence(done, 1, "Skyline i-510 needs a metadata block of Secure")
    assert "hanlab image build plain.ota --lab --to PPMID --version IHDAE06" in done.err


def test_the_three_refusals_of_activate(pushed: Cli) -> None:
    """noImageHeld 1, hashMismatch 2, each with the step that helps."""
    done = pushed("activate", "PPMID", "--direct", "--hash", "ab" * 32)
    is_one_sentence(done, 1, r"hashMismatch \(2\): PPMID holds an image")
    error = pushed("activate", "PPMID", "--direct", "--hash", "ab" * 32, "--json").json
    assert error["outcome"] == "hash-mismatch"
    shutil.rmtree(STATE)
    done = pushed("activate", "PPMID", "--direct", "--hash", HASH)
    is_one_sentence(done, 1, r"noImageHeld \(1\): PPMID holds no image")
    assert "hanlab push FILE --to PPMID" in done.err


# -- the lab's folder


def test_two_commands_on_one_lab(pushed: Cli) -> None:
    before = flash()
    with (STATE / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write("4711")
        other.flush()
        for command in (["store"], ["push", "ppmid.ota", "--to", "PPMID", "--direct"]):
            done = pushed(*command)
            is_one_sentence(done, 2, r"another hanlab command \(process 4711\) uses the lab in")
            assert "process 4711" in pushed(*command, "--json").json["error"]
    assert flash() == before
    assert pushed("store").code == 0, "the lock goes with its owner"


@pytest.mark.parametrize("octets", [b"", b"x" * 1000])
def test_a_flash_file_of_the_wrong_size(pushed: Cli, octets: bytes) -> None:
    (STATE / "hub.flash").write_bytes(octets)
    before = flash()
    words = f"hub.flash holds {len(octets):,} octets, but this board's flash has 2,097,152"
    is_one_sentence(pushed("push", "ppmid.ota", "--to", "PPMID", "--direct"), 2, words)
    next_step = "move the file aside" if octets else "delete it"
    assert next_step in pushed("store", "--json").json["next_step"]
    assert flash() == before


def test_a_flash_file_that_holds_garbage(pushed: Cli) -> None:
    file = STATE / "hub.flash"
    file.write_bytes(b"garbage!" * (file.stat().st_size // 8))
    before = flash()["hub.flash"]
    for done in (pushed("store"), pushed("push", "ppmid.ota", "--to", "PPMID", "--direct")):
        assert done.code == 2
        assert "Traceback" not in done.err
        assert re.search("hub.flash holds no filesystem that can be read", done.err)
        assert f"next: move {file} aside to begin with an empty board" in done.err
    assert str(file) in pushed("store", "--json").json["next_step"]
    assert flash()["hub.flash"] == before


@pytest.mark.parametrize("in_the_way", [STATE.parent, STATE])
def test_the_state_folder_is_a_file(cli: Cli, in_the_way: Path) -> None:
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("")
    words = "cannot be written: a file is where a folder has to be"
    is_one_sentence(cli("store"), 2, words)
    assert words in cli("store", "--json").json["error"]


def test_the_state_folder_may_not_be_written(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)  # root may write everywhere
    is_one_sentence(cli("store"), 2, r"\.hanlab/default cannot be written: Permission denied")


def damage(flash_file: Path, *names: str) -> None:
    """Overwrite files inside a board's littlefs, as no board would."""
    script = """
import sys, vfs
class Flash:
    def __init__(self, path):
        self.file = open(path, "r+b")
        self.blocks = self.file.seek(0, 2) // 4096
    def readblocks(self, block, buf, offset=0):
        self.file.seek(block * 4096 + offset)
        self.file.readinto(buf)
    def writeblocks(self, block, buf, offset=0):
        self.file.seek(block * 4096 + offset)
        self.file.write(buf)
    def ioctl(self, op, argument):
        if op == 6:
            self.file.seek(argument * 4096)
            self.file.write(b"\\xff" * 4096)
        return {4: self.blocks, 5: 4096}.get(op, 0)
flash = Flash(sys.argv[1])
vfs.mount(vfs.VfsLfs2(flash, progsize=256, mtime=False), "/flash")
for name in sys.argv[2:]:
    with open("/flash/" + name, "wb") as file:
        file.write(b"rubbish")
vfs.umount("/flash")
flash.file.close()
"""
    Path("damage.py").write_text(script)
    subprocess.run([*find_vm().command, "damage.py", str(flash_file), *names], check=True)


# -- Ctrl-C


@pytest.fixture
def ctrl_c_at(monkeypatch: pytest.MonkeyPatch) -> list[Progress]:
    """Where Ctrl-C comes, once: in that stage, after that many octets. Empty: it does not come."""
    at: list[Progress] = []
    draw = Watch.__call__

    def call(self: Watch, step: Progress) -> None:
        draw(self, step)
        if at and step.stage == at[0].stage and step.done >= at[0].done:
            at.clear()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Watch, "__call__", call)
    return at


@pytest.fixture
def large(cli: Cli) -> list[str]:
    """A push of 80,092 octets, which takes a while."""
    image = build(made_body(80_000), device_type="PPMID", version="IHDAE06", for_ch="Secure")
    Path("large.ota").write_bytes(image.to_bytes())
    return ["push", "large.ota", "--to", "PPMID", "--direct"]


@pytest.mark.parametrize(
    ("stage", "label"), [("upload", "S1SP → CH"), ("distribute", "CH → PPMID")]
)
def test_ctrl_c_stops_a_push_and_the_next_one_goes_on(
    cli: Cli, large: list[str], ctrl_c_at: list[Progress], stage: str, label: str
) -> None:
    ctrl_c_at.append(Progress(stage, 50_000, 80_092))
    stopped = cli(*large)
    is_one_sentence(stopped, 130, "stopped by Ctrl-C")
    assert re.search(rf"{label} +\d\d,\d\d\d of 80,092 B", stopped.out)
    held = cli("store", "--json").json
    assert held["used"] + held["reserved"] == 80_092
    done = cli(*large)
    assert done.code == 0
    assert re.search(rf"{label}: goes on at \d\d,?\d\d\d", done.out)
    assert "✓ distributed" in done.out


def test_ctrl_c_in_json(cli: Cli, large: list[str], ctrl_c_at: list[Progress]) -> None:
    ctrl_c_at.append(Progress("upload", 10_000, 80_092))
    stopped = cli(*large, "--json")
    assert (stopped.code, stopped.json["error"]) == (130, "stopped by Ctrl-C")


# -- standard output as it is


@pytest.fixture
def nobody_reads() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("command", ["demo --list", "boards", "--help", "boards --json"])
def test_a_broken_pipe_is_silent(nobody_reads: int, command: str) -> None:
    done = process(*command.split(), stdout=nobody_reads)
    assert (done.code, done.err) == (128 + signal.SIGPIPE, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = process("boards", stdout=full.fileno())
    is_one_sentence(done, 2, "No space left on device")


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "C"],
)
def test_an_output_that_takes_ascii_only(tmp_path: Path, env: dict[str, str]) -> None:
    done = process("demo", "size-refuse", cwd=tmp_path, env=env)
    assert (done.code, done.err) == (0, "")
    assert done.out.isascii()
    assert re.search(r"CH store  \|\.+\| 0 of 98,304 B", done.out)
    assert re.search(r"image     \|#+x+ 131,164 B", done.out)


def test_a_file_name_that_is_no_text(cli: Cli) -> None:
    done = process("push", "\udcff.ota", "--to", "PPMID", "--direct", cwd=Path())
    is_one_sentence(done, 2, "there is no file")
    assert process("push", "\udcff.ota", "--to", "PPMID", "--direct", "--json", cwd=Path()).json[
        "error"
    ]


@pytest.mark.parametrize("columns", ["60", "80"])
def test_a_narrow_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = cli("demo", "size-limit")
    assert done.code == 0
    widest = max(done.out.splitlines(), key=len)
    assert len(widest) <= 80, widest
    assert all(line == line.rstrip() for line in done.out.splitlines())


def test_no_color(pushed: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in pushed("store", "--evict", "9").err + pushed("store").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    green = "\x1b[32m"
    assert green in pushed("push", "ppmid.ota", "--to", "PPMID", "--direct").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert green not in pushed("push", "ppmid.ota", "--to", "PPMID", "--direct").out


# -- help


@pytest.mark.parametrize("command", ["", *COMMANDS, "image", "image build", "image inspect"])
def test_help_is_whole(cli: Cli, command: str) -> None:
    done = cli(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert "..." not in done.out.replace("[ARGS]...", "")
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, hanlab.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    heavy = {
        "rich",
        "smp",
        "smpclient",
        "pydantic",
        "serial",
        "asyncio",
        "lxml",
        "cryptography",
        "sqlite3",
    }
    assert not heavy & set(loaded.split())


LISTS = (
    "inventory", "cpl", "alerts", "audit", "boards", "rules", "rules --coverage", "demo --list",
)  # fmt: skip


@pytest.mark.parametrize("command", LISTS)
def test_a_list_starts_quickly(command: str, tmp_path: Path) -> None:
    """What it imports is what it takes: no SMP, XML, keys or serial ports (pydantic is Typer's own)."""
    code = "import sys\nfrom hanlab.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"smp", "smpclient", "serial", "lxml", "cryptography", "signxml", "httpx", "uvicorn"}
    loaded = set(done.stderr.split())
    assert not heavy & loaded
    assert len(loaded) < 500


def test_without_a_command_there_is_the_help(cli: Cli) -> None:
    done = cli()
    assert done.code == 2
    assert all(command in done.out + done.err for command in COMMANDS)


# -- demos


def test_the_list_has_a_line_for_each_demo(cli: Cli) -> None:
    names = [d["name"] for d in cli("demo", "--list", "--json").json]
    lines = cli("demo", "--list").out.splitlines()
    assert [line.split()[0] for line in lines[: len(names)]] == names


@pytest.mark.parametrize("command", ["demo --list", "devices"])
def test_no_line_is_longer_than_a_terminal(
    command: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    out = cli(*command.split()).out
    assert max(map(len, out.splitlines())) <= 60
    assert not re.search(r"\w…", out), "no word is cut"


def test_a_demo_ends_with_a_table(cli: Cli) -> None:
    done = cli("demo", "size-refuse")
    assert done.code == 0
    assert "store 98,304 B\n" in done.out
    table = " ".join(done.out.split("What was tried, what happened, why")[1].split())
    assert "11.1 Update Firmware ✗ too-large refused at once, 32,860 B short" in table
    assert "2 of 2 requests ended as they should" in table
    assert not STATE.exists(), "a demo's boards are not the user's"


def test_a_demo_that_ends_otherwise_than_it_should(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hanlab.demos.runner.Result.as_expected", property(lambda self: False))
    done = cli("demo", "no-image")
    assert done.code == 1
    assert "NOT AS EXPECTED" in done.out
    assert "✓" not in done.out  # which is for what ended as expected
    assert "! no-image-held" in done.out
    assert "0 of 2 requests ended as they should" in done.out


def test_accepted_and_refused_are_told_apart(cli: Cli) -> None:
    """A tick for what went through as it should, ✗ for what was refused as it should; nothing twice."""
    done = cli("demo", "suspended")
    assert done.code == 0
    assert "    ✗ E21: no answer of ESME came to the DSP" in done.out
    assert "11.2 Read Firmware Version: ✗ E5: 00-DB-12-34-56-78-90-A0 is Suspended" in done.out
    assert "    ✓ Suspended, P4X9G01\n" in done.out
    assert "    ✓ 1 Suspended\n" in done.out
    table = " ".join(done.out.split("What was tried, what happened, why")[1].split())
    assert "11.3 Activate Firmware ✗ E21" in table
    assert not re.search(r"✓ E\d", done.out)


@pytest.mark.parametrize(
    "arguments", [["events", "x"], ["push", "ppmid.ota", "--to", "PPMID", "--cut", "x@1"]]
)
def test_where_any_board_will_do_the_ch_is_named_too(cli: Cli, arguments: list[str]) -> None:
    assert cli(*arguments, "--json").json["next_step"].startswith("it has hub (")


@pytest.mark.parametrize("behaviour", ["overflow", "truncate", "silent"])
def test_a_store_that_overflows_is_seen_full(cli: Cli, behaviour: str) -> None:
    Path("small.toml").write_text(lab_toml(of_hub=f'store = 8192\nsize_behaviour = "{behaviour}"'))
    done = cli("push", "ppmid.ota", "--to", "PPMID", "--direct", "--lab", "small.toml")
    (bar,) = [line for line in done.out.splitlines() if "CH store" in line]
    assert "░" not in bar
    assert "▒" in bar
    assert bar.endswith("full: 8,192 B; 8,192 B free again")
    (image,) = [line for line in done.out.splitlines() if line.strip().startswith("image")]
    assert "■" in image
    assert "✕" in image
    assert "illustrative" not in done.out  # the user's own lab.toml says how large it is


# -- what is drawn


def store(capacity: int | None, used: int = 0, reserved: int = 0) -> StoreReadResponse:
    free = 1000 if capacity is None else max(0, capacity - used - reserved)
    return StoreReadResponse.model_construct(
        capacity=capacity, used=used, reserved=reserved, free=free, behaviour="refuse", images=[]
    )


def cells(line: str) -> str:
    return line.split("▕")[1].split("▏")[0]


def test_the_store_as_a_bar() -> None:
    (line,) = store_bar(store(1000, used=250, reserved=250), width=92)
    assert cells(line) == "█" * 9 + "▒" * 9 + "░" * 18
    assert line.endswith("▏ 250 of 1,000 B, 500 B free (250 B reserved)")


def test_an_upload_that_reserves_more_than_there_is_stays_in_the_bar() -> None:
    (line,) = store_bar(store(1000, used=500, reserved=5000), width=92)
    assert cells(line) == "█" * 18 + "▒" * 18


def test_one_octet_too_many_is_seen() -> None:
    """Rule 5."""
    line, image = store_bar(store(65_536), 65_537, width=80)
    assert set(cells(line)) == {"░"}
    assert image.count("✕") == 1
    assert image.endswith(" 65,537 B, short by 1 B")
    _, image = store_bar(store(65_536), 65_536, width=80)
    assert "✕" not in image
    assert image.endswith(" 65,536 B, fits")


def test_a_limit_that_nobody_published_is_not_drawn() -> None:
    """Rule 9."""
    (line,) = store_bar(store(None, used=500), 4000)
    assert "no published limit: 500 B used, 1,000 B of flash free" in line


def test_progress_leaves_one_line_for_each_stage() -> None:
    """In a terminal of 80 characters, each bar is drawn over and one line stays of it."""
    clock = [0]
    out = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with Watch(out, lambda: clock[0], device="PPMID") as watch:
        for stage in ("upload", "distribute"):
            for done in range(0, 100_001, 1000):
                watch(Progress(stage, done, 100_000))
                clock[0] += 100_000
    assert isinstance(out.file, io.StringIO)
    drawn = out.file.getvalue()
    lines = [line for line in drawn.replace("\r", "\n").splitlines() if "wall" in line]
    assert [re.sub(r"\x1b\[[\d?]*[a-zA-Z]", "", line)[:16].strip() for line in lines] == [
        "S1SP → CH",
        "CH → PPMID",
    ]
    assert "100,000 of 100,000 B" in drawn
    for line in drawn.replace("\r", "\n").splitlines():
        assert len(re.sub(r"\x1b\[[\d?]*[a-zA-Z]", "", line)) <= 80, line


# -- the power of a board, and one's own image


@pytest.mark.parametrize(
    ("cut", "octets"), [("PPMID@43%", r"(8|9),\d\d\d"), ("hub@50", r"1\d,\d\d\d")]
)
@pytest.mark.parametrize("way", [["--direct"], []])
def test_a_push_whose_board_loses_power(cli: Cli, way: list[str], cut: str, octets: str) -> None:
    cli("cpl", "add", "ppmid.ota")
    done = cli("push", "ppmid.ota", "--to", "PPMID", "--cut", cut, *way)
    assert done.code == 0
    board = cut.partition("@")[0]
    ups = {name: int((STATE / f"{name}.power_ups").read_text()) for name in ("hub", "PPMID")}
    assert ups == {"hub": 1, "PPMID": 1} | {board: 2}
    assert re.search(rf"{board} loses power for a second, at {octets} of 20,092 B", done.out)
    assert "✓ distributed" in done.out


def test_a_cut_that_does_not_come(cli: Cli) -> None:
    """On a one-step model 11.1 leaves the device alone."""
    image = build(made_body(4096), device_type="PPMID", version="2.08.02", for_ch="Elster")
    Path("e.ota").write_bytes(image.to_bytes())
    text = lab_toml(hub="am110r", model="sed-v3")
    Path("elster.toml").write_text(text)
    push = ["push", "e.ota", "--to", "PPMID", "--direct", "--lab", "elster.toml"]
    done = cli(*push, "--cut", "PPMID@43%")
    assert "no cut: PPMID@43% did not come" in done.out
    assert cli(*push, "--cut", "PPMID@43%", "--json").json["cut"] is False


def test_ones_own_image_in_two_homes(cli: Cli) -> None:
    done = cli("demo", "--image", "ppmid.ota", "--store", "20000", "--ch", "skyline-i510")
    assert done.code == 0
    assert "✗ too-large" in done.out
    assert "short by 92 B" in done.out
    assert "1 request, in" in done.out
    results = cli("demo", "--image", "ppmid.ota", "--json").json
    assert [(r["scene"], r["happened"]) for r in results] == [
        ("Secure Skyline i-510", "distributed"),
        ("Elster AM110R", "metadata"),
    ]
    assert {r["tried"] for r in results} == {"IHDAE06, 20,092 B, to PPMID"}
