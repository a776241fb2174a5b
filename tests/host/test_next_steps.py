"""Every next step in the code is walked: doing what it says helps."""

from __future__ import annotations

import ast
import copy
import re
import shlex
import shutil
import socket
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from lab_file import lab_toml
from next_step_files import Mended
from next_step_rows import ROWS, Lab, Proved, Walk
from next_steps import next_steps

from hanlab.cli import app, main
from hanlab.cli.hints import with_lab
from hanlab.errors import HanlabError, UsageError
from hanlab.images import build, made_body
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.tcp import listen

ROOT = Path(__file__).parents[2]
FOUND = next_steps()
COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
Run = Callable[..., str]

LABS = {
    "lab": lab_toml(),
    "tp": lab_toml(model="sed-v3"),
    "stranger": lab_toml(of_device="stranger = true"),
    "small": lab_toml(of_hub="store = 3000"),
    "real": lab_toml(of_hub='port = "/dev/ttyS9"'),
    "middle": lab_toml(of_hub="store = 6000"),
    "smalldev": lab_toml(of_device="store = 3000"),
    "prov": lab_toml(top='keys = "provisioned"'),
    "nomp105": lab_toml(of_device="[dsp]\nmp105 = false"),
    "swapped": lab_toml(hub="pipit-500"),
    "noboard": lab_toml(board="zzz"),
    "alone": lab_toml(board="pico", model=None),
    "two": lab_toml(
        of_device='[[device]]\nname = "B"\nboard = "pico"\nmodel = "liberty-100"\neui = "00-DB-12-34-56-78-90-B0"'
    ),
    "inactive": lab_toml(
        of_device="""[[user]]
name = "supplier"
eui = "90-B3-D5-1F-30-01-00-00"
roles = ["IS", "GS"]
active = false"""
    ),
    "early": lab_toml(of_device="[dsp]\nsecmp0007 = 2030-01-01"),
    "bad": "seed = yes",
}


def image(version: str = "IHDAE06", body: int = 4096, seed: int = 0, **more: Any) -> bytes:
    fields = {"device_type": "PPMID", "for_ch": "Secure", **more}
    return build(made_body(body, seed=seed), version=version, **fields).to_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and labs for the walks."""
    made = tmp_path_factory.mktemp("walks")
    for name, text in LABS.items():
        (made / f"{name}.toml").write_text(text)
    for name, octets in {
        "v6.ota": image(),
        "v7.ota": image("IHDAE07", seed=1),
        "other6.ota": image(seed=2),
        "tiny.ota": image(body=512),
        "plain.ota": image(for_ch=None),
        "e.ota": image("P4X9G02", device_type="ESME"),
        "ch.ota": image(device_type="CHF"),
        "otherhw.ota": image(hardware=(0x7000, 0x7FFF)),
        "cut.ota": image()[:-1],
        "app.bin": made_body(4096, seed=3),
        "empty.bin": b"",
        "no.hex": b"no records",
        "cp1252.toml": "# café".encode("cp1252") + lab_toml().encode(),
    }.items():
        (made / name).write_bytes(octets)
    return made


@pytest.fixture
def run(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command (without `hanlab`) in a folder with images and labs; what it complains of."""
    shutil.copytree(folder, tmp_path / "walk")
    monkeypatch.chdir(tmp_path / "walk")

    def run_(line: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["hanlab", *shlex.split(line)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert end.value.code == code, f"hanlab {line}\n{out}{err}"
        return err

    return run_


def pattern(expression: str) -> str:
    """A regular expression for what the expression says: its texts, and anything between."""
    texts = [
        re.sub(r"\\{\w+\\}", r"\\S+", re.escape(node.value))
        for node in ast.walk(ast.parse(expression, mode="eval"))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 2
    ]
    return "|".join(sorted(texts, key=len, reverse=True)[:3]) if texts else "."


def rows(kind: type) -> list[Any]:
    chosen = [(k, r) for k, r in ROWS.items() if isinstance(r, kind)]
    return [pytest.param(k, r, id=k[:50]) for k, r in chosen]


def test_every_command_that_is_named_is_there() -> None:
    prose = {"that", "itself", "again"}
    for text in FOUND:
        for name, sub in re.findall(r"\bhanlab ([a-z]+(?:-[a-z]+)*)(?: ([a-z][a-z-]+))?", text):
            assert name in {*COMMANDS, *prose}, text
            if name in ("dsp", "image"):  # nothing without a command of theirs
                assert sub in COMMANDS[name].commands, text


def test_a_hint_keeps_the_lab_of_every_command_that_has_one() -> None:
    for name, command in COMMANDS.items():
        if any(parameter.name == "lab" for parameter in command.params):
            given = with_lab(f"hanlab {name} shows it", "my.toml")
            assert given == f"hanlab {name} --lab my.toml shows it"


def test_every_next_step_has_a_row() -> None:
    """A new one is to be walked, or to say why that cannot be."""
    missing = {text: file for text, file in FOUND.items() if text not in ROWS}
    assert not missing
    gone = [text for text in ROWS if text not in FOUND]
    assert not gone


@pytest.mark.parametrize(("text", "walk"), rows(Walk))
def test_what_it_says_helps(run: Run, text: str, walk: Walk) -> None:
    for line in filter(None, walk.setup.split("; ")):
        run(line)
    said = run(walk.bad, walk.code)
    said = re.sub(r" --lab \S+\.toml", "", said.partition("  next: ")[2])  # which the CLI adds
    assert re.search(pattern(text), said), said
    for line in walk.good:
        run(line)


def merged(change: Mapping[str, Any]) -> dict[str, Any]:
    """The default lab with a change: tables are merged, a [[table]]'s too."""
    data = copy.deepcopy(dict(DEFAULT))
    user = {"name": "supplier", "eui": "90-B3-D5-1F-30-01-00-00", "roles": ["IS"]}
    for key, value in change.items():
        if isinstance(value, list):
            base = DEFAULT["device"][0] if key == "device" else user
            data[key] = [{**base, **one} for one in value]
        elif isinstance(value, dict) and value:
            data[key] = {**data.get(key, {}), **value}
        elif value != {} or key not in data or key == "device":
            data[key] = value
    return data


def as_told(bad: Mapping[str, Any], next_step: str) -> dict[str, Any]:
    """The bad setting replaced by the line that the next step begins with."""
    ends = [i for i, c in enumerate(next_step) if c in ",("] + [len(next_step)]
    for end in ends:
        try:
            line = tomllib.loads(next_step[:end])
        except tomllib.TOMLDecodeError:
            continue
        ((table, inner),) = bad.items()
        if isinstance(inner, list):
            return {table: [line]}
        return {table: line} if isinstance(inner, dict) else line
    raise AssertionError(f"no line to write: {next_step}")


@pytest.mark.parametrize(("text", "row"), rows(Lab))
def test_a_lab_is_put_right(text: str, row: Lab) -> None:
    with pytest.raises(UsageError) as wrong:
        make_lab("walk", merged(row.bad))
    assert re.search(pattern(text), wrong.value.next_step), wrong.value.next_step
    make_lab("walk", merged(row.good or as_told(row.bad, wrong.value.next_step)))


@pytest.mark.parametrize(("text", "row"), rows(Mended))
def test_what_somebody_made_is_put_right(
    text: str, row: Mended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HanlabError) as wrong:
        row.do(row.bad)
    assert re.search(pattern(text), wrong.value.next_step), wrong.value.next_step
    row.do(row.good)


@pytest.mark.parametrize(("text", "row"), rows(Proved))
def test_what_proves_it_is_there(text: str, row: Proved) -> None:
    file, _, name = row.test.partition("::")
    names = {
        node.name
        for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert name in names, text


# -- and those that need more than a row


SERVE = "--host {host} --port {port}"
UP = "--tcp {host}:{port}"


def test_an_address_that_cannot_be_served() -> None:
    """In the words of the command that wants it: `serve` has two options for it, `up` has one."""
    with listen("127.0.0.1", 0, SERVE) as taken:
        port = taken.getsockname()[1]
        for option, here, free in (
            (SERVE, "--host 127.0.0.1 --port 8079", "--host 127.0.0.1 --port 0"),
            (UP, "--tcp 127.0.0.1:8079", "--tcp 127.0.0.1:0"),
        ):
            for host, wanted, why, next_step in (
                ("127.0.0.1", port, "Address already in use", f"has the port: {free} takes any"),
                ("nosuch.invalid", 8079, "", f"{here} serves this computer"),
                ("203.0.113.9", 8079, "Cannot assign requested", f"{here} serves this computer"),
                ("", 8079, "", f"{here} serves this computer"),
                ("127.0.0.1", 99999, "it is no address", "ports are 0 to 65535"),
                ("127.0.0.1", -1, "it is no address", "ports are 0 to 65535"),
            ):
                with pytest.raises(UsageError) as wrong:
                    listen(host, wanted, option)
                assert f"{host}:{wanted} cannot be served: {why}" in wrong.value.what
                assert "attempting" not in wrong.value.what, "Python's own words"
                assert next_step in wrong.value.next_step
    listen("127.0.0.1", 0, SERVE).close()
    with pytest.MonkeyPatch.context() as patch:

        def denied(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        patch.setattr(socket.socket, "bind", denied)
        with pytest.raises(UsageError, match="Permission denied") as wrong:
            listen("127.0.0.1", 80, UP)
    assert wrong.value.next_step == "ports below 1024 are root's: --tcp 127.0.0.1:8079"


@pytest.mark.parametrize(
    ("file", "next_step"),
    [
        ("cp1252.toml", "next: save it as UTF-8"),
        ("v6.ota", "next: --lab takes a lab.toml: hanlab init FOLDER writes one"),
    ],
)
def test_a_lab_file_that_is_no_toml(run: Run, file: str, next_step: str) -> None:
    """A text that was saved otherwise, or another file altogether."""
    assert next_step in run(f"store --lab {file}", 2)
    run("init fresh")
    run("cpl --lab fresh/lab.toml")


def test_what_is_moved_aside_is_begun_anew(run: Run) -> None:
    run("inventory")
    state = Path(".hanlab/default")
    (state / "dsp.sqlite").write_bytes(b"no database, but somebody's work" * 100)
    assert "aside" in run("inventory", 2)
    for file in state.glob("dsp.sqlite*"):
        file.rename(file.with_name(f"old-{file.name}"))
    run("inventory")


def test_damaged_test_keys_are_made_anew(run: Run) -> None:
    run("provision")
    keys = Path(".hanlab/default/pki")
    (keys / "supplier.pem").write_text("rubbish")
    assert "move it away: hanlab provision makes test keys" in run("version PPMID --print-duis", 2)
    keys.rename("old")
    run("provision")
    run("version PPMID --print-duis")


@pytest.mark.parametrize("bad", ["plain.ota", "otherhw.ota", "e.ota"])
@pytest.mark.parametrize("lab", ["", " --lab lab.toml"])
def test_the_commands_that_mend_an_image(run: Run, bad: str, lab: str) -> None:
    """What `push` says of an image that the lab does not take: each command as it stands there, then a push."""
    said = run(f"push {bad} --to PPMID --direct{lab}", 1)
    commands = re.findall(r"hanlab ([^,;]+)", said.partition("  next: ")[2])
    assert len(commands) == 2, said
    for command in commands:
        run(command)
    run(f"push {commands[1].split()[-1]} --to PPMID{lab}")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hanlab inventory and hanlab cpl show it", "hanlab inventory L and hanlab cpl L show it"),
        ("hanlab cpl add F, then push", "hanlab cpl add L F, then push"),
        ("`hanlab store --evict ID` makes room", "`hanlab store L --evict ID` makes room"),
        ("hanlab image build f --lab --to P", "hanlab image build f L --to P"),
        ("hanlab version P L", "hanlab version P L"),
        ("hanlab dsp reset-counter X", "hanlab dsp reset-counter L X"),
        ("hanlab requests shows; hanlab request F", "hanlab requests L shows; hanlab request L F"),
        (
            "hanlab image inspect F, hanlab demo --list",
            "hanlab image inspect F, hanlab demo --list",
        ),
    ],
)
def test_hints_name_the_lab_once_in_each_command(text: str, named: str) -> None:
    option = "--lab 'my lab.toml'"
    assert with_lab(text.replace("L", option), "my lab.toml") == named.replace("L", option)
    assert with_lab(text, "") == text
