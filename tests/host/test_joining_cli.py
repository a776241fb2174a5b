"""`hanlab join`, `leave` and `move`: each Service Request with its code, and what has come of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hanlab.cli import app, joining
from hanlab.errors import CarriedOn, HanlabError
from hanlab.images import made_body
from hanlab.lab import Lab

LAB = """
[[home]]
name = "one"
comms_hub = { board = "esp32-devkitc", model = "skyline-i510", eui = "00-DB-12-34-56-78-90-A2" }
[[home.device]]
name = "PPMID"
board = "pico"
model = "pipit-500"
eui = "00-DB-12-34-56-78-90-A4"
[[home]]
name = "two"
comms_hub = { board = "esp32-devkitc", model = "am110r", eui = "00-DB-12-34-56-78-91-A2" }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lab.toml").write_text(LAB)


def hanlab(*arguments: str) -> str:
    """What it said. Raises what it raises."""
    ran = CliRunner().invoke(app, [*arguments, "--lab", "lab.toml"])
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.mark.rule(11)
def test_a_ppmid_moves_and_leaves_and_comes_back() -> None:
    with pytest.raises(HanlabError, match=r"E081102: .* is on the whitelist of the CH") as e:
        hanlab("join", "PPMID", "--to", "two")
    assert e.value.next_step.startswith("hanlab move")
    said = hanlab("move", "PPMID", "--to", "two")
    assert [line.split()[0] for line in said.splitlines()] == ["8.11", "8.11", "8.7.2", "✓"]
    with pytest.raises(HanlabError, match="two/hub already"):
        hanlab("move", "PPMID", "--to", "two")
    left = json.loads(hanlab("leave", "PPMID", "--decommission", "--json"))
    assert left == {
        "device": "00-DB-12-34-56-78-90-A4",
        "codes": {"8.11": "I0", "8.3": "I99"},
        "status": "Decommissioned",
        "hub": None,
    }
    with pytest.raises(HanlabError, match="no CH's whitelist"):
        hanlab("leave", "PPMID")
    joined = json.loads(hanlab("join", "PPMID", "--json"))
    assert joined["codes"] == {"8.4": "I99", "8.11": "I0", "8.7.2": "I0"}
    assert (joined["status"], joined["hub"]) == ("Commissioned", "00-DB-12-34-56-78-90-A2")


def test_after_a_move_images_are_for_the_new_home() -> None:
    """What keeps an image from a device, and the command that mends it, go by the CH that it is at now."""
    Path("my.bin").write_bytes(made_body(2000, seed=1))
    hanlab("image", "build", "my.bin", "--version", "OLD1", "-o", "one.ota")
    hanlab("cpl", "add", "one.ota")
    hanlab("move", "PPMID", "--to", "two")
    with pytest.raises(HanlabError, match="AM110R needs a metadata block of Elster") as e:
        hanlab("push", "one.ota", "--to", "PPMID")
    assert "image build one.ota --lab --to one/PPMID --version" in e.value.next_step
    hanlab("image", "build", "my.bin", "--to", "PPMID", "--version", "NEW1", "-o", "two.ota")
    hanlab("cpl", "add", "two.ota")
    assert "distributed" in hanlab("push", "two.ota", "--to", "PPMID")


def test_a_device_with_another_code_on_its_label_does_not_join(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hanlab("leave", "PPMID")
    with monkeypatch.context() as patch:
        patch.setattr(joining, "install_code", lambda node, keys: bytes(16))
        with pytest.raises(HanlabError, match="has not joined one/hub within 1 min"):
            hanlab("join", "PPMID", "--minutes", "1")
    devices = json.loads(hanlab("inventory", "--json"))["devices"]
    assert [d["status"] for d in devices if d["device_type"] == "PPMID"] == ["Whitelisted"]
    assert "✓ Commissioned" in hanlab("join", "PPMID")


def test_ctrl_c_while_it_joins_says_what_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stopped(*_: object) -> bool:
        raise KeyboardInterrupt

    hanlab("leave", "PPMID")
    with monkeypatch.context() as patch:
        patch.setattr(Lab, "wait_until_joined", lambda *_: stopped())
        with pytest.raises(CarriedOn) as e:
            joining.join("PPMID", None, 5, lab=Path("lab.toml"), as_json=True)
        assert "hanlab join again" in e.value.next_step
    assert "✓ Commissioned" in hanlab("join", "PPMID")
