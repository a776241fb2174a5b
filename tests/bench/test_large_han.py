"""A HAN with more devices than one answer of the CH holds."""

from __future__ import annotations

import io
import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from labs import large_lab
from rich.console import Console

from hanlab.cli import main
from hanlab.cli.homes import _on_han
from hanlab.cli.show import Watch
from hanlab.cli.waiting import LiveLine
from hanlab.lab import Lab, Progress
from hanlab.lab.config import read_lab
from hanlab.sweep.update import make_plan


def test_every_device_of_a_hundred_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = large_lab(100, tmp_path / "lab.toml")
    monkeypatch.setattr("sys.argv", ["hanlab", "devices", "--json", "--lab", str(lab)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code or 0, err) == (0, ""), "progress is for terminals"
    rows = json.loads(out)["devices"]
    assert [row["name"] for row in rows] == ["hub", *(f"P{n}" for n in range(100))]
    assert all(row["on_han"] for row in rows)


def test_the_ch_tells_its_devices_once_each(tmp_path: Path) -> None:
    with Lab.open(large_lab(33, tmp_path / "lab.toml")) as lab:
        devices = lab.run(lab.han_devices())
        assert [d.eui for d in devices] == [device.eui.octets for device in lab.devices]
        said = _on_han(lab, devices[:7])
        assert re.fullmatch(
            r"34 of 34 boards on, \d\.\d s of the lab's time, 7 of 33 devices on the HAN", said
        )


def live(text: str, *, terminal: bool = True, after_s: float = 0.0) -> tuple[LiveLine, io.StringIO]:
    shown = io.StringIO()
    err = Console(file=shown, force_terminal=terminal)
    return LiveLine(lambda: text, err=err, after_s=after_s), shown


@pytest.mark.parametrize(
    ("terminal", "after_s", "is_shown"),
    [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)],
)
def test_a_line_that_lives_is_for_terminals_and_for_what_takes_a_while(
    terminal: bool, after_s: float, is_shown: bool
) -> None:
    line, shown = live("7 of 33", terminal=terminal, after_s=after_s)
    with line:
        pass
    assert ("7 of 33" in shown.getvalue()) is is_shown


def test_a_line_is_hidden_while_something_else_is_written() -> None:
    line, shown = live("waits")
    with line, line:
        line.hide()
        hidden = shown.getvalue()
        line.hide()
        assert shown.getvalue() == hidden
        line.show()
        assert line.is_shown
    over = shown.getvalue()
    line.show()
    assert shown.getvalue() == over, "outside of its `with` it stays hidden"


def test_a_watch_hides_the_line_while_it_draws() -> None:
    """Whatever is written to the terminal, they are never there both."""
    line, _ = live("waits")
    drawn: list[bool] = []
    out = Console(file=io.StringIO())
    with line, Watch(out, lambda: 0, device="PPMID", line=line) as watch:
        drawn.append(line.is_shown)
        watch(Progress("upload", 1, 10))
        drawn.append(line.is_shown)
        watch(Progress("upload", 10, 10))
        watch.stage_ends()
        drawn.append(line.is_shown)
        watch(Progress("distribute", 10, 10))
        drawn.append(line.is_shown)
    assert drawn == [True, False, True, False]


@pytest.mark.parametrize(
    "command",
    [
        ("version", "PPMID"),
        ("version", "PPMID", "--direct"),
        ("activate", "PPMID", "--hash", "00" * 32),
        ("store",),
        ("devices",),
        ("events",),
        ("requests", "resume"),
        ("join", "PPMID"),
    ],
)
def test_every_command_that_waits_for_boards_shows_how_far_it_is(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []

    def enter(line: LiveLine) -> LiveLine:
        said.append(line.text())
        return line

    monkeypatch.setattr(LiveLine, "__enter__", enter)
    monkeypatch.setattr(LiveLine, "__exit__", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["hanlab", *command])
    with pytest.raises(SystemExit):
        main()
    assert said[0] == "the boards are switched on"
    assert any("of 2 boards on" in text for text in said[1:])


def test_a_server_says_how_far_its_lab_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab of hundreds of boards takes seconds until it is served."""
    monkeypatch.chdir(tmp_path)
    said: list[str] = []

    def enter(line: LiveLine) -> LiveLine:
        said.append(line.text())
        return line

    async def ended_at_once(*_: object) -> None:
        pass

    monkeypatch.setattr(LiveLine, "__enter__", enter)
    monkeypatch.setattr(LiveLine, "__exit__", lambda *_: None)
    monkeypatch.setattr(import_module("hanlab.cli.serve"), "_serve", ended_at_once)
    monkeypatch.setattr("sys.argv", ["hanlab", "serve", "--port", "0"])
    with pytest.raises(SystemExit):
        main()
    assert said == ["the boards are switched on", "2 boards come into the inventory"]


def test_a_sweep_says_what_it_plans(tmp_path: Path) -> None:
    said: list[str] = []
    make_plan(read_lab(None), "PPMID", 256, tmp_path, None, said.append)
    assert [what.split(" of ")[0] for what in said][1:] == ["11.1", "11.1", "11.3"]
