"""`hanlab dsp`, `hanlab sign` and `hanlab serve --unsigned`: what an operator has at hand."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hanlab.cli import app
from hanlab.cli.hints import with_lab
from hanlab.dsp.service import Dsp
from hanlab.duis.messages import ReadFirmwareVersion, Request, RequestId
from hanlab.duis.pki import read_pki
from hanlab.duis.reading import read_request
from hanlab.duis.signing import verify
from hanlab.duis.writing import write_request
from hanlab.errors import HanlabError
from hanlab.eui import Eui
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.office import open_office

SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")
STATE = Path(".hanlab/default")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def hanlab(*arguments: str) -> tuple[int, str]:
    """Exit code and what it said; no traceback, whatever happens."""
    ran = CliRunner().invoke(app, arguments)
    if isinstance(ran.exception, HanlabError):
        return ran.exception.exit_code, str(ran.exception)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran.exit_code, ran.output


def remember(last: int) -> None:
    def put(dsp: Dsp) -> None:
        with dsp.parts.transaction():
            dsp.counters.put(SUPPLIER, last)

    office = open_office(make_lab("default", DEFAULT), STATE)
    put(office.dsp)
    office.close()


@pytest.mark.parametrize("last", [2**64 - 1, 2**63, 2**42, 0])
def test_any_stored_counter_leaves_a_way_on(last: int) -> None:
    remember(last)
    code, said = hanlab("version", "PPMID")
    if last < 2**64 - 1:
        assert code == 0
        return
    assert code == 2
    assert f"hanlab dsp reset-counter {SUPPLIER}" in said
    assert hanlab("dsp", "reset-counter", str(SUPPLIER))[0] == 0
    code, said = hanlab("version", "PPMID")
    assert (code, "IHDAE05" in said) == (0, True)
    assert "counter reset" in hanlab("audit", "--json")[1]


def test_after_a_reset_commands_work_as_before() -> None:
    """Their RequestIDs were there before."""
    for _ in range(2):
        assert hanlab("version", "PPMID")[0] == 0
        assert hanlab("dsp", "reset-counter", "supplier")[0] == 0


def test_counters_are_listed_and_set() -> None:
    remember(5)
    assert json.loads(hanlab("dsp", "counters", "--json")[1])["counters"]["supplier"] == 5
    code, said = hanlab("dsp", "reset-counter", "supplier", "--to", "3", "--json")
    assert (code, json.loads(said)) == (0, {"user": "supplier", "before": 5, "last": 3})
    assert "4398046511107" in hanlab("dsp", "counters")[1], "the next one up to"
    assert hanlab("dsp", "reset-counter", "nobody")[0] == 2


@pytest.mark.rule(24)
def test_a_third_party_device_joins_by_12_2_and_8_11() -> None:
    Path("lab.toml").write_text(
        '[comms_hub]\nboard = "esp32-devkitc"\nmodel = "skyline-i510"\n'
        'eui = "00-DB-12-34-56-78-90-A2"\n'
        f'[[device]]\nname = "PPMID"\nboard = "pico"\nmodel = "sed-v3"\neui = "{PPMID}"\n'
    )
    code, said = hanlab("version", "PPMID", "--lab", "lab.toml")
    assert (code, "E19" in said) == (1, True)
    code, said = hanlab("join", "PPMID", "--lab", "lab.toml", "--json")
    ended = {"codes": {"12.2": "I99", "8.11": "I0", "8.7.2": "I0"}, "status": "Commissioned"}
    assert (code, {name: json.loads(said)[name] for name in ended}) == (0, ended)
    rows = json.loads(hanlab("inventory", "--lab", "lab.toml", "--json")[1])["devices"]
    assert [row["status"] for row in rows] == ["Commissioned"] * 2


@pytest.mark.parametrize("fresh", [False, True])
def test_a_request_is_signed_by_its_originator(fresh: bool) -> None:
    request = Request(RequestId(SUPPLIER, PPMID, 7), 1, "11.2", "11.2", ReadFirmwareVersion())
    Path("request.xml").write_bytes(write_request(request))
    code, said = hanlab("sign", "request.xml", *(["--fresh"] if fresh else []))
    assert code == 0
    signed = verify(said.encode(), read_pki(STATE / "pki").certificates)
    assert signed.by.name == "supplier"
    counter = read_request(signed.octets).id.counter
    assert counter > 1_700_000_000_000 if fresh else counter == 7


def test_a_stranger_has_no_key() -> None:
    request = Request(RequestId(PPMID, PPMID, 7), 1, "11.2", "11.2", ReadFirmwareVersion())
    Path("request.xml").write_bytes(write_request(request))
    code, said = hanlab("sign", "request.xml")
    assert (code, str(PPMID) in said, "supplier" in said) == (2, True, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_unsigned_is_for_this_computer_alone(host: str) -> None:
    code, said = hanlab("serve", "--unsigned", "--host", host)
    assert (code, "--unsigned" in said, host in said) == (2, True, True)


def test_a_next_step_of_the_operators_has_the_lab_where_it_belongs() -> None:
    said = with_lab("hanlab dsp reset-counter supplier", "a lab.toml")
    assert said == "hanlab dsp reset-counter --lab 'a lab.toml' supplier"


@pytest.mark.parametrize("unsigned", [True, False])
def test_a_gateway_that_takes_unsigned_requests_says_so(
    unsigned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(*_: object) -> None:
        """Ctrl-C as soon as it is ready."""

    monkeypatch.setattr(importlib.import_module("hanlab.cli.serve"), "_serve", at_once)
    options = ["--unsigned"] if unsigned else []
    code, said = hanlab("serve", "--port", "0", *options)
    shown = "whoever is on this computer can send requests as any user" in " ".join(said.split())
    assert (code, shown, "requests are signed" in said) == (0, unsigned, not unsigned)
    code, said = hanlab("serve", "--port", "0", "--json", *options)
    assert json.loads(said.splitlines()[-1])["signed"] is not unsigned
