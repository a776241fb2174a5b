"""A lab's beginning: `hanlab --version`, `init` with its samples, `reset`, `--print-duis`, lab.toml's reference."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from full_disk import no_room

from hanlab.cli import main
from hanlab.dsp.settings import DSP_KEYS, USER_KEYS
from hanlab.duis import signing
from hanlab.duis.messages import ActivateFirmware, ReadFirmwareVersion, UpdateFirmware
from hanlab.duis.reading import read_request
from hanlab.images import OtaImage, build, made_body
from hanlab.impairments import Impairments
from hanlab.lab import Lab
from hanlab.lab.config import DEFAULT, KEYS, make_lab, read_lab
from hanlab.lab.homes import HOME_KEYS
from hanlab.lab.nodes import DEVICE_KEYS, HUB_KEYS, NODE_KEYS
from hanlab.lab.office import open_pki
from hanlab.resources import samples_dir

Hanlab = Callable[..., str]
REFERENCE = Path(__file__).parents[2] / "host" / "lab-toml.md"


@pytest.fixture
def hanlab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Hanlab:
    """Runs a command in an empty folder; what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["hanlab", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert end.value.code == code, out + err
        return out + err

    return run


def test_version(hanlab: Hanlab) -> None:
    assert hanlab("--version") == f"hanlab {version('hanlab')}\n"


def test_init_writes_a_lab_that_works(hanlab: Hanlab) -> None:
    said = hanlab("init", "desk")
    assert "next: hanlab devices --lab desk/lab.toml" in said
    config = read_lab(Path("desk/lab.toml"))
    assert config.nodes == make_lab("lab", DEFAULT).nodes
    assert "on HAN" in hanlab("devices", "--lab", "desk/lab.toml")
    before = Path("desk/lab.toml").read_bytes()
    again = hanlab("init", "desk", code=2)
    assert "is there already" in again
    assert Path("desk/lab.toml").read_bytes() == before


def test_init_writes_a_lab_of_several_homes(hanlab: Hanlab) -> None:
    hanlab("init", "--homes", "3")
    config = read_lab(Path("lab.toml"))
    assert [home.name for home in config.homes] == ["home-1", "home-2", "home-3"]
    assert config.homes[0].hub.eui == make_lab("lab", DEFAULT).hub.eui
    rows = json.loads(hanlab("devices", "--lab", "lab.toml", "--json"))["devices"]
    assert [(row["name"], row["home"]) for row in rows[:3]] == [
        ("home-1/hub", "home-1"),
        ("home-1/PPMID", "home-1"),
        ("home-2/hub", "home-2"),
    ]
    assert all(row["on_han"] for row in rows)


def test_init_on_a_full_disk_leaves_no_stump(hanlab: Hanlab) -> None:
    with no_room(1000):  # the sample lab.toml has more
        assert "File too large" in hanlab("init", "desk", code=2)
    assert [file for file in Path("desk").rglob("*") if file.is_file()] == []
    hanlab("init", "desk")


def test_what_init_comments_out_can_be_had() -> None:
    """Each `# key = …` of the sample stands in the right table, and is read."""
    text = (samples_dir() / "lab.toml").read_text()
    had = re.sub(r"(?m)^# (\[|\w+ = )", r"\1", text)
    had = re.sub(r"(?m)^(port|keys) = .*$", "", had)  # real boards are another lab
    data = tomllib.loads(had)
    assert [u.name for u in make_lab("lab", data).dsp.users] == ["supplier"]
    assert set(data) == {
        "seed",
        "wan_open",
        "october_2021",
        "join_rounding",
        "comms_hub",
        "device",
        "wan",
        "dsp",
        "user",
    }


def test_the_sample_requests_work_one_after_the_other(hanlab: Hanlab) -> None:
    hanlab("init")
    lab = ("--lab", "lab.toml")
    hanlab("cpl", "add", "requests/cpl.toml", *lab)
    codes = [
        json.loads(hanlab("request", str(file), *lab, "--json"))["codes"]
        for file in sorted(Path("requests").glob("*.xml"))
    ]
    done = ["I99", "I0"]
    joined = ["I99", "N24", "I0"]
    assert codes == [["I0"], done, ["I99", "N60"], done, done, joined, done, done]
    devices = json.loads(hanlab("inventory", *lab, "--json"))["devices"]
    assert {d["status"] for d in devices} == {"Commissioned"}
    assert "runs IHDAE06" in hanlab("version", "PPMID", *lab)


def image() -> OtaImage:
    made = build(made_body(4096), device_type="PPMID", version="IHDAE06", for_ch="Secure")
    Path("v6.ota").write_bytes(made.to_bytes())
    return made


def test_print_duis_is_what_would_be_sent(hanlab: Hanlab) -> None:
    """Signed by who sends it; nothing is sent, and no counter is used up."""
    made = image()
    ppmid = read_lab(None).devices[0].eui
    bodies = {
        ("push", "v6.ota", "--to", "PPMID"): UpdateFirmware(made.to_bytes(), "IHDAE06", (ppmid,)),
        ("version", "PPMID"): ReadFirmwareVersion(),
        ("activate", "PPMID", "--image", "v6.ota"): ActivateFirmware(made.manufacturer_image_hash),
    }
    known = None
    for command, body in bodies.items():
        for user in ("supplier", "network"):
            xml = hanlab(*command, "--print-duis", "--as", user).encode()
            known = known or open_pki(Path(".hanlab/default/pki"), read_lab(None)).certificates
            assert signing.verify(xml, known).by.name == user
            request = read_request(xml)
            assert (request.body, request.id.counter) == (body, 1)
    assert not list(Path(".hanlab/default").glob("*.flash"))
    Path("sent.xml").write_text(hanlab("version", "PPMID", "--print-duis"))
    assert json.loads(hanlab("request", "sent.xml", "--json"))["codes"] == ["I99", "I0"]


def test_reset_forgets_and_keys_stay(hanlab: Hanlab) -> None:
    image()
    hanlab("cpl", "add", "v6.ota")
    hanlab("push", "v6.ota", "--to", "PPMID")
    hanlab("activate", "PPMID", "--image", "v6.ota")
    state = Path(".hanlab/default")
    kept = {p: p.read_bytes() for p in (state / "pki").iterdir()}
    with Lab.open() as lab:
        assert lab.folder == state
        assert "another hanlab command" in hanlab("reset", code=2)
    assert "as from the box" in hanlab("reset")
    assert {p: p.read_bytes() for p in (state / "pki").iterdir()} == kept
    assert json.loads(hanlab("reset", "--json"))["gone"] == []
    assert "runs IHDAE05" in hanlab("version", "PPMID")
    assert json.loads(hanlab("cpl", "--json"))["entries"][-1]["version"] != "IHDAE06"


def test_reset_of_real_boards_forgets_the_dsp_alone(hanlab: Hanlab) -> None:
    hanlab("init")
    text = Path("lab.toml").read_text().replace("# port =", "port =")
    Path("lab.toml").write_text(text)
    hanlab("provision", "--lab", "lab.toml")
    hanlab("inventory", "--lab", "lab.toml")
    state = Path(".hanlab/lab")
    (state / "originator_counter").write_text("7\n")
    (state / "dco.log").write_text("11.3\n")
    assert "real boards keep theirs" in hanlab("reset", "--lab", "lab.toml")
    assert not list(state.glob("dsp.sqlite*"))
    assert {"boards.key", "boards", "pki", "originator_counter", "dco.log"} <= {
        p.name for p in state.iterdir()
    }


def test_provision_of_a_lab_that_cannot_work(hanlab: Hanlab) -> None:
    """Two devices on a HAN that is one wire; and WAN ports that are boards' own USB."""
    hanlab("init")
    text = Path("lab.toml").read_text().replace("# port =", "wired = true\nport =")
    text = text.replace("ttyACM0", "ttyUSB1")
    more = text.split("[[device]]")[1].split("# [wan]")[0].replace("PPMID", "SECOND")
    Path("lab.toml").write_text(f"{text}\n[[device]]{more.replace('-A4', '-A6')}")
    said = hanlab("provision", "--lab", "lab.toml", code=2)
    assert "a CH with 2 devices cannot work with wired = true" in said
    assert not Path(".hanlab").exists()
    Path("lab.toml").write_text(text)  # one [[device]], as it says
    assert "is its REPL" not in hanlab("provision", "--lab", "lab.toml")
    Path("lab.toml").write_text(text.replace("/dev/ttyUSB1", "/dev/ttyACM0"))
    assert "/dev/ttyACM0 of hub: such a port is a board's own USB" in hanlab(
        "provision", "--lab", "lab.toml"
    )
    Path("lab.toml").write_text(
        f"{text}\n[[device]]{more.replace('-A4', '-A6')}".replace("wired = true\n", "")
    )
    assert "is its REPL" not in hanlab(
        "provision", "--lab", "lab.toml"
    )  # its one cable is just that


def test_a_sweep_of_a_lab_of_real_boards_has_boards_of_its_own(hanlab: Hanlab) -> None:
    hanlab("init")
    text = Path("lab.toml").read_text().replace("# port =", "port =")
    Path("lab.toml").write_text(text)
    assert "✓ done" in hanlab(
        "sweep", "--lab", "lab.toml", "--size", "1K", "--only", "hub:before:1"
    )


# -- the reference page


def settings() -> dict[str, dict[str, str]]:
    """The page's tables: section to setting to its example."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in REFERENCE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif row := re.match(r"\| `(\w+)` \|(?: `(.+?)`)? \|", line):
            found.setdefault(section, {})[row[1]] = row[2] or ""
    return found


NODES, WIRES, FILE = "[comms_hub] and [[device]]", "[wan] and [han]", "The file"
HOME = "[[home]]"


def test_every_setting_is_documented_and_no_other() -> None:
    page = {section: set(rows) for section, rows in settings().items()}
    tables = {"comms_hub", "device", "home", "dsp", "user", "wan", "han"}
    assert page == {
        FILE: set(KEYS) - tables,
        NODES: {*NODE_KEYS, *HUB_KEYS},
        HOME: set(HOME_KEYS),
        WIRES: {f.name for f in fields(Impairments)},
        "[dsp]": set(DSP_KEYS),
        "[[user]]": set(USER_KEYS),
    }


@pytest.mark.parametrize(
    ("section", "key", "example"),
    [(s, k, e) for s, rows in settings().items() for k, e in rows.items() if e],
)
def test_every_documented_example_is_read(section: str, key: str, example: str) -> None:
    value: Any = tomllib.loads(f"x = {example}")["x"]
    data: dict[str, Any] = {**DEFAULT, "comms_hub": dict(DEFAULT["comms_hub"])}
    if section == FILE:
        data[key] = value
    elif section == HOME:
        boards = {key: data.pop(key) for key in ("comms_hub", "device")}
        data["home"] = [{"name": "a", **boards, key: value}]
    elif key in DEVICE_KEYS:
        data["device"] = [{**DEFAULT["device"][0], key: value}]
    elif section == NODES:
        data["comms_hub"][key] = value
    elif section == "[[user]]":
        user = {"name": "a", "eui": "90-B3-D5-1F-30-01-00-00", "roles": ["IS"]}
        data["user"] = [{**user, key: value}]
    else:
        data[section.split("]")[0].strip("[")] = {key: value}
    make_lab("page", data)
