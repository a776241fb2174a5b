"""The command line with the DSP between: what a Service User and a lab engineer type."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from full_disk import no_room
from typer.testing import CliRunner

from hanlab.cli import app
from hanlab.cli.failures import fail
from hanlab.duis.messages import (
    ActivateFirmware,
    ReadFirmwareVersion,
    Request,
    RequestId,
    UpdateFirmware,
)
from hanlab.duis.reading import read_response
from hanlab.duis.writing import write_request
from hanlab.errors import HanlabError
from hanlab.eui import Eui
from hanlab.images import build, made_body
from hanlab.keys import make_secret
from hanlab.lab.config import DEFAULT, make_lab, read_lab
from hanlab.lab.office import open_office, open_pki, service_request
from hanlab.lab.state import lock

DEFAULT_LAB = make_lab("test", DEFAULT)
SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")
HUB = Eui.parse("00-DB-12-34-56-78-90-A2")
DSP = Eui.parse("90-B3-D5-1F-30-00-00-02")


class Shell:
    """Runs commands in a folder of its own, where v6.ota is an image for the PPMID."""

    def __init__(self) -> None:
        image = build(
            made_body(8192, seed=1), device_type="PPMID", version="IHDAE06", for_ch="Secure"
        )
        Path("v6.ota").write_bytes(image.to_bytes())
        self.hash = image.manufacturer_image_hash

    def __call__(self, *arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            if isinstance(result.exception, HanlabError):
                raise result.exception
            raise AssertionError(result.output) from result.exception
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def status(self) -> tuple[str, str]:
        devices = self.json("inventory")["devices"]
        (found,) = [d for d in devices if d["eui"] == str(PPMID)]
        return found["status"], found["version"]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell()


@pytest.mark.rule(1, 39, 111)
def test_an_update_through_the_dsp(shell: Shell) -> None:
    with pytest.raises(HanlabError, match="E110101") as e:
        shell("push", "v6.ota", "--to", "PPMID")
    assert "hanlab cpl add" in e.value.next_step
    assert fail(e.value, as_json=True) == 1
    assert "✓ listed: Secure Pipit 500 IHDAE06 (SMETS1)" in shell("cpl", "add", "v6.ota")
    pushed = shell("push", "v6.ota", "--to", "PPMID")
    assert "DSP: I99" in pushed
    assert "N60 to supplier" in pushed
    assert shell.status() == ("Commissioned", "IHDAE05")
    activated = shell.json("activate", "PPMID", "--image", "v6.ota")
    assert (activated["code"], activated["version"]) == ("I0", "IHDAE06")
    assert shell.status() == ("Commissioned", "IHDAE06")
    assert shell.json("version", "PPMID")["version"] == "IHDAE06"


def test_an_update_of_the_ch_itself(shell: Shell) -> None:
    """As of a device, from the firmware to the alerts that tell of it."""
    Path("hub.bin").write_bytes(made_body(8192, seed=2))
    new = ("--lab", "--to", "hub", "--version", "HUB3F10", "-o", "hub.ota")
    built = shell("image", "build", "hub.bin", *new)
    assert "locked to     CHs made by Secure" in built
    assert "next: hanlab push hub.ota --to hub" in shell("cpl", "add", "hub.ota")
    pushed = shell("push", "hub.ota", "--to", "hub")
    assert "✓ stored: the CH holds HUB3F10; 11.3 makes it run" in pushed
    assert "N57 to supplier" in pushed
    assert shell.json("version", "hub")["version"] == "HUB3F0X"
    activated = shell("activate", "hub", "--image", "hub.ota")
    assert "✓ activated: hub runs HUB3F10" in activated
    assert "N56 to supplier" in activated
    assert shell.json("version", "hub", "--direct")["version"] == "HUB3F10"
    devices = shell.json("inventory")["devices"]
    assert [d["version"] for d in devices if d["eui"] == str(HUB)] == ["HUB3F10"]


@pytest.mark.rule(78, 88, 90)
def test_withdrawn_suspended_and_back(shell: Shell) -> None:
    shell("cpl", "add", "v6.ota")
    shell("push", "v6.ota", "--to", "PPMID")
    withdrawn = shell("cpl", "withdraw", "IHDAE05")
    assert "1 device is now Suspended (rule 78)" in withdrawn
    assert shell.status() == ("Suspended", "IHDAE05")
    alerts = [d["code"] for d in shell.json("alerts")["deliveries"]]
    assert alerts[-2:] == ["N28", "N28"]
    shell("activate", "PPMID", "--image", "v6.ota", "--direct")  # the DSP hears nothing of it
    assert shell.status() == ("Suspended", "IHDAE05")
    read = shell.json("version", "PPMID")
    assert (read["version"], read["alerts"]) == ("IHDAE06", ["N29", "N29"])
    assert shell.status() == ("Commissioned", "IHDAE06")
    assert shell.json("audit")["entries"][-1]["rule"] == 88
    assert "88" in shell("audit")


@pytest.mark.rule(95)
def test_a_ch_whose_answer_says_no_version(shell: Shell) -> None:
    Path("lab.toml").write_text(
        '[comms_hub]\nboard = "esp32-devkitc"\nmodel = "am110r"\neui = "00-DB-12-34-56-78-90-A2"\n'
        '[[device]]\nname = "PPMID"\nboard = "pico"\nmodel = "sed-v3"\n'
        f'eui = "{PPMID}"\n'
    )
    image = build(made_body(4096, seed=1), device_type="PPMID", version="2.08.02", for_ch="Elster")
    Path("e.ota").write_bytes(image.to_bytes())
    lab = ("--lab", "lab.toml")
    shell("cpl", "add", "e.ota", *lab)
    shell("push", "e.ota", "--to", "PPMID", *lab)
    said = shell("activate", "PPMID", "--image", "e.ota", *lab)
    assert "says no version" in said
    assert "next: hanlab version --lab lab.toml PPMID" in said
    assert shell.json("version", "PPMID", *lab)["version"] == "2.08.02"


def test_a_service_request_in_xml(shell: Shell) -> None:
    id_ = RequestId(SUPPLIER, PPMID, 1000)
    Path("r.xml").write_bytes(write_request(Request(id_, 1, "11.2", "11.2", ReadFirmwareVersion())))
    sent = shell.json("request", "r.xml")
    assert sent["codes"] == ["I99", "I0"]
    answers = [read_response(xml.encode()) for xml in sent["xml"]]
    assert [a.code for a in answers] == ["I99", "I0"]
    assert "<ra:FirmwareVersion>IHDAE05</ra:FirmwareVersion>" in sent["xml"][1]
    with pytest.raises(HanlabError, match="not above 1000"):
        shell("request", "r.xml")
    wrong = RequestId(SUPPLIER, PPMID, 1001)
    body = ActivateFirmware(bytes(32))
    Path("w.xml").write_bytes(write_request(Request(wrong, 1, "11.3", "11.3", body)))
    said = shell("request", "w.xml", code=1)
    assert "noImageHeld" in said


def test_a_signature_in_a_file_is_not_passed_over(shell: Shell) -> None:
    shell("provision")
    signer = open_pki(Path(".hanlab/default/pki"), DEFAULT_LAB).signers
    id_ = RequestId(SUPPLIER, PPMID, 1000)
    xml = write_request(Request(id_, 1, "11.2", "11.2", ReadFirmwareVersion()))
    for signed in (
        signer["other-supplier"].sign_octets(xml),
        signer["supplier"].sign_octets(xml).replace(b":1000<", b":1001<"),
    ):
        Path("wrong.xml").write_bytes(signed)
        with pytest.raises(HanlabError, match=r"wrong\.xml: .*sign") as e:
            shell("request", "wrong.xml")
        assert "take the ds:Signature out" in e.value.next_step
    Path("right.xml").write_bytes(signer["supplier"].sign_octets(xml))
    assert shell.json("request", "right.xml")["codes"] == ["I99", "I0"]


def test_an_11_1_in_xml_is_doubted_as_a_pushed_file_is(shell: Shell) -> None:
    image = build(b"PK\3\4" + bytes(500), device_type="PPMID", version="IHDAE06", for_ch="Secure")
    for number, octets in enumerate((image.to_bytes(), b"%PDF-1.7"), 1000):
        body = UpdateFirmware(octets, "IHDAE06", (PPMID,))
        request = Request(RequestId(SUPPLIER, DSP, number), 8, "11.1", "11.1", body)
        Path("r.xml").write_bytes(write_request(request))
        said = shell("request", "r.xml", code=1)
        assert ("ZIP archive", "PDF document")[number - 1000] in said


@pytest.mark.parametrize("line", ["PPMID,Secure,PIPIT 500,V9", "PPMID,Chameleon,Sed V3,V9"])
def test_a_list_is_compared_with_the_device_models(line: str, shell: Shell) -> None:
    Path("near.csv").write_text(f"device_type,manufacturer,model,version\n{line}\n")
    with pytest.raises(HanlabError, match=r"line 2: manufacturer and model .* written otherwise"):
        shell("cpl", "add", "near.csv")


@pytest.mark.parametrize("command", [["cpl"], ["inventory"], ["alerts"], ["audit"]])
def test_lists_are_shown_for_people_and_machines(command: list[str], shell: Shell) -> None:
    assert shell(*command)
    assert isinstance(shell.json(*command), dict)


def test_an_inventory_file_is_added(shell: Shell) -> None:
    Path("more.csv").write_text(
        "eui,upgradable,manufacturer,model\n00-DB-12-34-56-78-90-B1,false,Secure,In-Home 1\n"
    )
    assert "IHD" in shell("inventory", "--add", "more.csv")
    with pytest.raises(HanlabError, match="already"):
        shell("inventory", "--add", "more.csv")


def test_only_the_lab_has_what_it_lists(shell: Shell) -> None:
    esme = build(made_body(512, seed=1), device_type="ESME", version="P4X9G02", for_ch="Secure")
    Path("esme.ota").write_bytes(esme.to_bytes())
    with pytest.raises(HanlabError, match="this lab has none"):
        shell("cpl", "add", "esme.ota")
    with pytest.raises(HanlabError, match="no active entry"):
        shell("cpl", "withdraw", "IHDAE99")


def test_another_user_does_not_answer_for_the_device(shell: Shell) -> None:
    with pytest.raises(HanlabError, match="E4"):
        shell("version", "PPMID", "--as", "other-supplier")
    with pytest.raises(HanlabError, match="no Service User 'nobody'"):
        shell("version", "PPMID", "--as", "nobody")


def test_test_keys(shell: Shell) -> None:
    made = shell.json("provision", "keys")
    assert set(made["signers"]) == {"supplier", "other-supplier", "network", "dsp", "s1sp"}
    with pytest.raises(HanlabError, match="already"):
        shell("provision", "keys")
    assert "for labs only" in shell("provision", "keys", "--force")


def test_a_full_disk_loses_nothing_and_the_first_push_goes_on_later(shell: Shell) -> None:
    """What a full disk left behind once refused every later command, and the advice was to throw it away."""
    shell("cpl", "add", "v6.ota")
    with no_room(256 * 1024), pytest.raises((HanlabError, OSError)) as full:
        shell("push", "v6.ota", "--to", "PPMID")
    assert "no database" not in str(full.value)
    with no_room(1024), pytest.raises(HanlabError, match=r"SQLITE_(FULL|IOERR)") as full:
        shell("inventory")
    assert "away" not in str(full.value)
    assert "✓ distributed" in shell("push", "v6.ota", "--to", "PPMID")
    assert shell.status() == ("Commissioned", "IHDAE05")


def test_keys_are_made_all_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    with no_room(100), pytest.raises(OSError, match="too large"):
        open_pki(folder, DEFAULT_LAB)
    assert list(tmp_path.iterdir()) == []
    assert len(open_pki(folder, DEFAULT_LAB).signers) == 5
    secret = tmp_path / "boards.key"
    with no_room(10), pytest.raises(OSError, match="too large"):
        make_secret(secret)
    make_secret(secret)
    with pytest.raises(FileExistsError):
        make_secret(secret)
    assert secret.stat().st_mode & 0o777 == 0o600


COMMAND = [sys.executable, "-c", "from hanlab.cli import main; main()"]

_KILLED = """
import os, sys
from hanlab.dsp.execution import Execution
async def killed(*_): os.kill(os.getpid(), 9)
Execution._carry_out = killed
from hanlab.cli import main
main()
"""


def kill(*arguments: str) -> None:
    """That command, killed right after its I99."""
    done = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def shell_of_two(shell: Shell) -> Shell:
    """The PPMID runs 5; 6 and 7 are listed, and 7 is in the device."""
    v7 = build(made_body(8192, seed=2), device_type="PPMID", version="IHDAE07", for_ch="Secure")
    Path("v7.ota").write_bytes(v7.to_bytes())
    for file in ("v6.ota", "v7.ota"):
        shell("cpl", "add", file)
        shell("push", file, "--to", "PPMID")
    return shell


def test_an_11_3_that_a_killed_command_left_never_undoes_the_newer_one(
    shell_of_two: Shell,
) -> None:
    shell = shell_of_two
    kill("activate", "PPMID", "--image", "v6.ota")
    (pending,) = shell.json("requests")["requests"]
    assert (pending["service"], pending["overdue"]) == ("11.3", True)
    activated = shell.json("activate", "PPMID", "--image", "v7.ota")
    assert activated["version"] == "IHDAE07"
    assert activated["pending"] == [
        {
            "request_id": pending["request_id"],
            "service": "11.3",
            "device": str(PPMID),
            "end": "superseded",
        }
    ]
    assert "nothing is pending" in shell("requests")
    assert shell.json("version", "PPMID")["version"] == "IHDAE07"


@pytest.mark.parametrize("direct", [False, True])
def test_every_command_meets_first_what_a_killed_one_left(
    direct: bool, shell_of_two: Shell
) -> None:
    shell = shell_of_two
    kill("activate", "PPMID", "--image", "v7.ota")
    said = shell("version", "PPMID", *(["--direct"] if direct else []))
    assert "has fallen due" in said
    assert "has ended with I0" in said
    assert "runs IHDAE07" in said
    assert "pending" not in shell("version", "PPMID")


def test_what_falls_due_during_a_command_is_said_below_its_progress(shell: Shell) -> None:
    shell("cpl", "add", "v6.ota")

    def due_in(seconds: float) -> None:
        office = open_office(read_lab(None), Path(".hanlab/default"))
        due = office.dsp.parts.clock() + timedelta(seconds=seconds)
        dated = service_request(office.dsp, ReadFirmwareVersion(due), PPMID)
        assert office.dsp.receive(dated).code == "I99"
        office.close()

    due_in(1)
    said = shell("push", "v6.ota", "--to", "PPMID")
    order = ("CH → PPMID  ", "has fallen due", "has ended with I0", "DSP: I99", "✓ distributed")
    places = [" ".join(said.split()).find(" ".join(words.split())) for words in order]
    assert places == sorted(places)
    assert places[0] > 0
    for command in (("version", "PPMID", "--direct"), ("join", "PPMID")):
        due_in(0)
        assert [ended["end"] for ended in shell.json(*command)["pending"]] == ["I0"]
    due_in(0.001)
    with pytest.raises(HanlabError, match=r"noImageHeld|hashMismatch") as failed:
        shell("activate", "PPMID", "--hash", "00" * 32)
    assert "pending" in failed.value.besides


def test_requests_are_listed_resumed_and_cancelled(shell_of_two: Shell) -> None:
    shell = shell_of_two
    kill("activate", "PPMID", "--image", "v7.ota")
    listed = shell("requests")
    assert "overdue" in listed
    (pending,) = shell.json("requests")["requests"]
    assert pending["request_id"] in listed.replace("\n", "")
    (ended,) = shell.json("requests", "resume")["pending"]
    assert (ended["request_id"], ended["end"]) == (pending["request_id"], "I0")
    assert shell.status() == ("Commissioned", "IHDAE07")
    assert "nothing is overdue" in shell("requests", "resume")
    kill("version", "PPMID")
    (pending,) = shell.json("requests")["requests"]
    held = lock(Path(".hanlab/default"))  # as whoever carries it out has it
    with pytest.raises(HanlabError, match="is being carried out now"):
        shell("requests", "cancel", pending["request_id"])
    assert "under way  " in shell("requests")
    assert "next: " not in shell("requests"), "neither resumed nor cancelled"
    os.close(held)
    assert "✓ cancelled" in shell("requests", "cancel", pending["request_id"])
    for again in ("cancel", "resume"):
        with pytest.raises(HanlabError, match="is not pending"):
            shell("requests", again, pending["request_id"])
    with pytest.raises(HanlabError, match="is no RequestID"):
        shell("requests", "cancel", "17")
    kill("version", "PPMID")
    (pending,) = shell.json("requests")["requests"]
    (ended,) = shell.json("requests", "resume", pending["request_id"])["pending"]
    assert ended["end"] == "I0"


@pytest.mark.rule(150)
def test_what_a_killed_command_left_is_refused_after_a_change_of_supplier(
    shell_of_two: Shell,
) -> None:
    shell = shell_of_two
    kill("activate", "PPMID", "--image", "v7.ota")
    assert "has ended with E4" in shell("inventory", "--hand-over", "PPMID", "other-supplier")
    assert "nothing is pending" in shell("requests")
    assert shell.json("version", "PPMID")["version"] != "IHDAE07"


@pytest.mark.rule(150)
def test_another_supplier_is_made_the_responsible_one(shell: Shell) -> None:
    before = shell.json("inventory")["devices"]
    after = shell.json("inventory", "--hand-over", "PPMID", "other-supplier")["devices"]
    other = "90-B3-D5-1F-30-02-00-00"
    assert after == [
        {**d, "supplier": other if d["eui"] == str(PPMID) else d["supplier"]} for d in before
    ]
    with pytest.raises(HanlabError, match="network is no supplier"):
        shell("inventory", "--hand-over", "PPMID", "network")
    with pytest.raises(HanlabError, match="is not in the inventory"):
        shell("inventory", "--hand-over", "00-DB-12-34-56-78-99-99", "supplier")


def test_what_a_listener_refused_is_shown_as_undelivered(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shell("cpl", "withdraw", "IHDAE05")
    office = open_office(DEFAULT_LAB, Path(".hanlab/default"))
    first = office.dsp.deliveries.last()[0]
    office.dsp.deliveries.set_aside(first.number, "http://user answers 400")
    office.close()
    shown = " ".join(shell("alerts").split())
    assert "undelivered: http://user answers 400" in shown
    assert "hanlab alerts --again" in shown
    (refused,) = [d for d in shell.json("alerts")["deliveries"] if d["undelivered"]]
    assert refused["undelivered"] == "http://user answers 400"
    assert "undelivered" not in shell("alerts", "--again")
