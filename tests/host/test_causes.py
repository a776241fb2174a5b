"""A response code is the service's and says little; what the lab knows stands beside it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_file import lab_toml
from rich.console import Console
from typer.testing import CliRunner

import hanlab.lab.facade
from hanlab.cli import app, main
from hanlab.cli.counters import draw
from hanlab.images import build, made_body
from hanlab.keys import LabKeys
from hanlab.lab.boards import Boards
from hanlab.lab.config import read_lab
from hanlab.lab.counters import Counters
from hanlab.lab.silence import explain_silence
from hanlab.wan.auth import Credentials
from hanlab.wan.client import NoAnswer, WanClient
from hanlab.wan.exchange import ClientCounters

Hanlab = Callable[..., tuple[str, Any]]


@pytest.fixture
def hanlab_(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Hanlab:
    """Runs a command that fails: what it says to a reader, and to a machine."""
    monkeypatch.chdir(tmp_path)
    image = build(made_body(4096), device_type="PPMID", version="IHDAE06", for_ch="Secure")
    Path("v6.ota").write_bytes(image.to_bytes())

    def run(*arguments: str, code: int = 1) -> tuple[str, Any]:
        said = []
        for more in ([], ["--json"]):
            monkeypatch.setattr(sys, "argv", ["hanlab", *arguments, *more])
            with pytest.raises(SystemExit) as end:
                main()
            assert end.value.code == code
            said.append(capsys.readouterr())
        return said[0].err, json.loads(said[1].out)

    return run


def well(*arguments: str) -> str:
    """A command that goes well: what it says."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def lab(model: str = "pipit-500", more: str = "") -> None:
    Path("lab.toml").write_text(lab_toml(model=model, of_device=more))


def test_every_frame_lost_between_laptop_and_ch(hanlab_: Hanlab) -> None:
    text, report = hanlab_("version", "PPMID", "--impair", "wan.loss=1")
    assert "hanlab: E20: no answer of PPMID came to the DSP" in text
    assert "  cause: the S1SP has no contact with the CH hub: no answer from the board" in text
    assert "  next: without --impair" in text
    assert "wan loss=1" in text
    assert (report["code"], report["outcome"]) == ("E20", "E20")
    assert report["cause"]["outcome"] == "no-contact"
    assert "without --impair" in report["next_step"]


def test_what_was_sent_to_a_ch_that_does_not_answer_is_counted() -> None:
    """It is no request yet: the host knocks until the board is up."""
    out = Console(file=io.StringIO(), width=200)
    draw(out, Counters((), ClientCounters(knocks=480), ()))
    assert isinstance(out.file, io.StringIO)
    assert "480 knocks at a CH that does not answer yet, 0 requests" in out.file.getvalue()


def test_every_frame_lost_on_the_han(hanlab_: Hanlab) -> None:
    text, report = hanlab_("version", "PPMID", "--impair", "han.loss=1")
    assert "E21: no answer" in text
    assert "  cause: PPMID (00-DB-12-34-56-78-90-A4) does not answer on the HAN" in text
    assert "han loss=1" in text
    assert report["cause"]["outcome"] == "no-answer"


def test_an_emulated_board_that_is_silent_has_printed_why(tmp_path: Path) -> None:
    """Its wire is whole and it has power, so that is nothing to check."""
    (tmp_path / "hub.log").write_text("hello\nstarting again: MemoryError\n")
    silent = NoAnswer("no answer", next_step="check the wire")
    explain_silence(silent, read_lab(None), tmp_path)
    assert "hub printed 'starting again: MemoryError'" in silent.next_step
    assert str(tmp_path / "hub.log") in silent.next_step


def test_a_device_of_another_han(hanlab_: Hanlab) -> None:
    lab(more="stranger = true")
    text, _ = hanlab_("version", "PPMID", "--lab", "lab.toml")
    assert "E21" in text
    assert "next: take stranger = true of PPMID out of lab.toml" in text


def test_a_wrong_key(hanlab_: Hanlab, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_key(boards: Boards, name: str) -> WanClient:
        eui = boards.config.node(name).eui.octets
        key = LabKeys(99).wan(eui)
        port = boards.ports[boards.config.node(name).name]
        return WanClient(port, credentials=Credentials(eui, key, boards.entropy.randbytes))

    monkeypatch.setattr(hanlab.lab.facade, "wan_client", wrong_key)
    text, report = hanlab_("version", "PPMID")
    assert "hanlab: E20" in text
    assert "  cause: the S1SP has no contact with the CH hub: the board refused the login" in text
    assert "next: check that it is the board at that port; then provision it again" in text
    assert report["code"] == "E20"
    text, report = hanlab_("activate", "PPMID", "--hash", "00" * 32)
    assert "refused the login" in text
    assert (report["code"], report["outcome"]) == ("E20", "no-contact")


def test_a_third_party_ppmid(hanlab_: Hanlab) -> None:
    lab("sed-v3")
    text, _ = hanlab_("push", "v6.ota", "--to", "PPMID", "--lab", "lab.toml")
    assert "E110101" in text
    assert "cause:" not in text, "that has another one"
    assert "listed, it would be refused as well: the Secure S1SP holds no details of PPMID" in text
    assert "next: only a PPMID of the CH's own population" in text, "the CPL would not help"
    text = well("cpl", "add", "v6.ota", "--lab", "lab.toml")
    assert "no push: the Secure S1SP holds no details of PPMID" in text
    assert "hanlab push" not in text
    for arguments, code in (
        (["push", "v6.ota", "--to", "PPMID"], "E110105"),
        (["version", "PPMID"], "E19"),
        (["activate", "PPMID", "--image", "v6.ota"], "E19"),
    ):
        text, report = hanlab_(*arguments, "--lab", "lab.toml")
        assert f"the DSP answered {code}" in text
        assert "00-DB-12-34-56-78-90-A4 is not in the inventory" in text
        assert "a third-party PPMID (Chameleon SED V3)" in text
        assert report["code"] == code
        assert report["cause"]["outcome"] == "third-party"


@pytest.mark.parametrize(
    ("more", "next_step"),
    [
        ("", "hanlab version --lab lab.toml PPMID reads"),
        (", mp105 = false", "hanlab version --lab lab.toml PPMID --direct reads"),
        (", secmp0007 = false", "hanlab version --lab lab.toml PPMID --direct reads"),
    ],
)
def test_an_answer_that_the_dsp_loses(more: str, next_step: str, hanlab_: Hanlab) -> None:
    """What the next step says can be done: without MP105 11.2 mends nothing, or is not to be had."""
    dsp = f"dsp = {{ lost_responses = 1.0, retries = 0{more} }}\n"
    Path("lab.toml").write_text(dsp + lab_toml())
    well("cpl", "add", "v6.ota", "--lab", "lab.toml")
    well("push", "v6.ota", "--to", "PPMID", "--lab", "lab.toml")
    text, _ = hanlab_("activate", "PPMID", "--image", "v6.ota", "--lab", "lab.toml")
    assert "hanlab: E21" in text
    assert "  cause: PPMID answered that it has activated the image" in text
    assert "lost_responses = 1" in text
    assert f"  next: {next_step}" in text
    well(*next_step.removeprefix("hanlab ").removesuffix(" reads").split())
