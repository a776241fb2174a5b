"""A HAN with more devices than one answer of the CH holds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from labs import large_lab
from rich.console import Console

from hanlab.cli import main
from hanlab.cli.homes import _how_far
from hanlab.cli.show import live_line
from hanlab.lab import Lab


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
        assert _how_far(lab, devices[:7]) == "34 of 34 boards on, 7 of 33 devices on the HAN"


def test_a_line_that_lives_is_for_terminals_only() -> None:
    for terminal in (True, False):
        shown = io.StringIO()
        with live_line(lambda: "7 of 33", Console(file=shown, force_terminal=terminal)):
            pass
        assert ("7 of 33" in shown.getvalue()) is terminal
