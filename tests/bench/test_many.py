"""`hanlab push` to several devices, and what other commands say of a lab of several homes."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hanlab.cli import main
from hanlab.images import build, made_body
from hanlab.lab import Lab
from hanlab.lab.config import make_lab
from hanlab.lab.enrolment import product

LAB = """
[[home]]
name = "oak"
comms_hub = { board = "esp32-devkitc", model = "skyline-i510", eui = "00-DB-12-34-56-78-90-A2" }
device = [{ name = "PPMID", board = "pico", model = "pipit-500", eui = "00-DB-12-34-56-78-90-A4" }]

[[home]]
name = "elm"
comms_hub = { board = "esp32-devkitc", model = "skyline-i510", eui = "00-DB-12-34-56-78-91-A2", store = 2048 }
device = [{ name = "PPMID", board = "pico", model = "pipit-500", eui = "00-DB-12-34-56-78-91-A4" }]
"""
Hanlab = Callable[..., str]


@pytest.fixture
def hanlab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Hanlab:
    """Runs a command beside `lab.toml`, with `v6.ota` on the CPL; what it prints."""
    monkeypatch.chdir(tmp_path)
    Path("lab.toml").write_text(LAB)
    image = build(made_body(4096), device_type="PPMID", version="IHDAE06", for_ch="Secure")
    Path("v6.ota").write_bytes(image.to_bytes())
    with Lab.open("lab.toml") as lab:
        lab.dsp.load([product(lab.devices[0].model, image.version, image.manufacturer_image_hash)])

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["hanlab", *arguments, "--lab", "lab.toml"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert (end.value.code or 0) == code, out + err
        return out + err

    return run


def told(text: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(text)
    return report


def test_one_11_1_for_a_device_in_each_home(hanlab: Hanlab) -> None:
    report = told(hanlab("push", "v6.ota", "--to", "*/PPMID", "--json", code=1))
    ends = {device["name"]: (device["outcome"], device["why"]) for device in report["devices"]}
    assert ends["oak/PPMID"] == ("distributed", "")
    outcome, why = ends["elm/PPMID"]
    assert outcome == "too-large"
    assert "2,048 B" in why
    assert report["alerts"].count("N60") == report["alerts"].count("N61") == 1
    stores = {home["home"]: home for home in told(hanlab("store", "--json"))["homes"]}
    assert [len(stores[name]["images"]) for name in ("oak", "elm")] == [1, 0]
    said = hanlab("push", "v6.ota", "--to", "oak/PPMID", "--to", "elm/PPMID", code=1)
    assert "1 of 2 devices" in said
    assert "too-large: elm/PPMID" in said


def test_a_home_is_named_where_one_is_needed(hanlab: Hanlab) -> None:
    hanlab("push", "v6.ota", "--to", "oak/PPMID")
    said = hanlab("store", "--evict", "1", code=2)
    assert "this lab has 2 homes" in said
    assert "--home NAME" in said
    assert "evicted" in hanlab("store", "--home", "oak", "--evict", "1")
    assert told(hanlab("store", "--home", "oak", "--json"))["images"] == []


def test_inventory_and_devices_say_in_which_home(hanlab: Hanlab) -> None:
    head, *lines = hanlab("inventory").splitlines()
    assert head.split()[:2] == ["device", "home"]
    rows = [line.split() for line in lines if line.startswith("00-")]
    assert {(row[0][-5:], row[1]) for row in rows} == {
        ("90-A2", "oak"),
        ("90-A4", "oak"),
        ("91-A2", "elm"),
        ("91-A4", "elm"),
    }
    devices = told(hanlab("devices", "--json"))["devices"]
    assert {d["name"]: d["home"] for d in devices} == {
        "oak/hub": "oak",
        "oak/PPMID": "oak",
        "elm/hub": "elm",
        "elm/PPMID": "elm",
    }


@pytest.mark.parametrize("option", [("--direct",), ("--cut", "oak/PPMID@50%")])
def test_what_is_for_one_device(hanlab: Hanlab, option: tuple[str, ...]) -> None:
    said = hanlab("push", "v6.ota", "--to", "*", *option, code=2)
    assert f"{option[0]} is for one device, and --to names 2" in said
    assert f"leave {option[0]} out" in said
    assert "distributed" in hanlab("push", "v6.ota", "--to", "oak/*", *option)


def test_a_pattern_means_devices_and_where_there_is_none_the_chs() -> None:
    config = make_lab("test", tomllib.loads(LAB))
    assert [n.name for n in config.named(["*"])] == ["oak/PPMID", "elm/PPMID"]
    assert [n.name for n in config.named(["*/hub"])] == ["oak/hub", "elm/hub"]
    assert [n.name for n in config.named(["elm/h*", "*/PPMID"])] == [
        "elm/hub",
        "oak/PPMID",
        "elm/PPMID",
    ]
