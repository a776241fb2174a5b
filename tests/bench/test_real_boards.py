"""A lab of real boards, as the laptop sees them: serial ports that somebody else's boards are behind.

The boards are those of another hanlab (`hanlab up`), in a process of its own and in real time.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from labs import make_image
from smpclient.requests.image_management import ImageErase

from hanlab.cli.homes import _devices_seen
from hanlab.duis.messages import ReadFirmwareVersion
from hanlab.errors import UsageError
from hanlab.images import OtaImage
from hanlab.keys import LabKeys
from hanlab.lab import Lab, Outcome
from hanlab.lab.desk import Desk
from hanlab.lab.state import BOARD_KEYS
from hanlab.s1sp.outcome import ServiceRequestFailed
from hanlab.wan.client import WanClient
from hanlab.wan.errors import AccessDenied, FalseBoard
from hanlab.wan.messages import CountersRead

COMMAND = [sys.executable, "-c", "from hanlab.cli import main; main()"]
LAB = """
[comms_hub]
board = "esp32-devkitc"
model = "skyline-i510"
eui = "00-DB-12-34-56-78-90-A2"
baud = 921600
{hub}
[[device]]
name = "PPMID"
board = "pico"
model = "pipit-500"
eui = "00-DB-12-34-56-78-90-A4"
baud = 921600
{ppmid}
"""

OpenReal = Callable[..., Lab]
CABLE = "cable = true\n"


def provision(lab: Path) -> None:
    subprocess.run([*COMMAND, "provision", "--lab", lab], check=True, capture_output=True)


@pytest.fixture
def open_real(tmp_path: Path) -> Iterator[OpenReal]:
    """Open the lab of real boards whose keys are "seed" or "provisioned"; they have been up for ages.

    On one cable each, those named; without a name, all, and their HAN is a wire between them.
    """
    opened: list[Lab] = []
    processes: list[subprocess.Popen[str]] = []

    def open_(keys: str, *on_cable: str, pcap: Path | None = None, impair: str = "") -> Lab:
        theirs, ours = tmp_path / "theirs.toml", tmp_path / "ours.toml"
        cable = CABLE if on_cable else ""
        theirs.write_text(f'keys = "{keys}"\n' + LAB.format(hub=cable, ppmid=cable))
        if keys == "provisioned":
            provision(theirs)
        processes.append(
            subprocess.Popen(
                [*COMMAND, "up", "--lab", theirs, "--json"],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        out = processes[-1].stdout
        assert out
        ports = {"hub": "", "ppmid": ""}
        for board in json.loads(out.readline())["boards"]:
            if not on_cable or board["name"] in on_cable:
                ports[board["name"].lower()] = f'port = "{board["pty"]}"\n'
        if not on_cable:
            ports["hub"] += "wired = true\n"
        ours.write_text(f'keys = "{keys}"\n' + LAB.format(**ports))
        if keys == "provisioned":
            (tmp_path / ".hanlab" / "ours").mkdir()
            shutil.copy(tmp_path / ".hanlab/theirs" / BOARD_KEYS, tmp_path / ".hanlab/ours")
        opened.append(Lab.open(ours, pcap=pcap, impair=impair))
        return opened[-1]

    yield open_
    for lab in opened:
        lab.close()
    for process in processes:
        process.kill()
        process.communicate()


def update(lab: Lab, image: OtaImage) -> str:
    """11.1 and 11.3; the version that 11.2 reads after."""
    ppmid = lab.device("PPMID")
    assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
    hash_ = image.manufacturer_image_hash
    assert lab.run(lab.activate_firmware(hash_, ppmid)) is Outcome.ACTIVATED
    return lab.run(lab.wait_until_back(ppmid)).firmware


def test_one_cable_a_board(open_real: OpenReal, tmp_path: Path) -> None:
    """The laptop carries the HAN between them: it is captured, and spoilt, as that of emulated boards is."""
    lab = open_real("seed", "hub", "PPMID", pcap=tmp_path / "han.pcap", impair="han.loss=0.05")
    assert update(lab, make_image(2048)) == "IHDAE06"
    lanes = {(lane.source, lane.sink): lane for lane in lab.run(lab.counters()).lanes}
    assert lanes["hub", "PPMID"].counters.lost > 0
    frames = lab.frames_on_air
    lab.close()
    assert frames > 80
    assert (tmp_path / "han.pcap").stat().st_size > 80 * 60


def test_what_is_wrong_at_a_cable_is_said(open_real: OpenReal, tmp_path: Path) -> None:
    """A command for the CH alone needs no other port; one for a device says what is at its port."""
    lab = open_real("seed", "hub", "PPMID")
    lab.close()
    text = (tmp_path / "ours.toml").read_text()
    hub, ppmid = re.findall(r'^port = "(.*)"$', text, re.MULTILINE)
    ours = tmp_path / "ours.toml"
    ours.write_text(text.replace(ppmid, "/dev/ttyACM77"))
    with Lab.open(ours) as lab:
        assert lab.run(lab.store()).images == []
        with pytest.raises(ServiceRequestFailed) as failed:
            lab.run(lab.read_firmware_version(lab.device("PPMID")))
        assert "the cable is out" in failed.value.next_step
        with pytest.raises(UsageError, match="/dev/ttyACM77 cannot be opened"):
            lab.run(lab.store_of(lab.device("PPMID")))
    ours.write_text(text.replace("-A4", "-A5"))
    with Lab.open(ours) as lab:
        answer = lab.run(lab.send(ReadFirmwareVersion(), lab.device("PPMID").eui))
        assert answer.code == "E20"
        assert answer.cause
        assert f"at {ppmid} is not PPMID but 00-DB-12-34-56-78-90-A4" in answer.cause.next_step
    ours.write_text(text.replace(ppmid, "?").replace(hub, ppmid).replace("?", hub))
    with Lab.open(ours) as lab:
        with pytest.raises((AccessDenied, FalseBoard)) as swapped:
            lab.run(lab.store())
        assert (
            f"at {ppmid} is not hub but 00-DB-12-34-56-78-90-A4 (PPMID)" in swapped.value.next_step
        )
    ours.write_text(text)  # its own
    with Lab.open(ours) as lab:
        assert lab.run(lab.read_firmware_version(lab.device("PPMID"))).firmware == "IHDAE05"
    ours.write_text(text.replace(f'port = "{ppmid}"', "").replace(hub, "/dev/ttyACM77"))
    with pytest.raises(UsageError, match="/dev/ttyACM77 cannot be opened"):
        Lab.open(ours)


@pytest.mark.parametrize("real", ["hub", "PPMID"])
def test_one_real_board_among_emulated_ones(open_real: OpenReal, real: str) -> None:
    lab = open_real("seed", real)
    assert set(lab.desk.boards) == {"hub", "PPMID"} - {real}
    assert all(board.running for board in lab.desk.boards.values()), "the real one does not wait"
    assert update(lab, make_image(2048)) == "IHDAE06"
    emulated = lab.device("PPMID" if real == "hub" else "hub")
    lab.power_cycle(emulated)
    with pytest.raises(UsageError, match=f"{real} is a real board"):
        lab.power_cycle(lab.device(real))
    lab.run(asyncio.sleep(1.5))
    assert set(lab.run(_devices_seen(lab, []))) == {lab.device("PPMID").eui}, (
        "a CH that restarts has heard nothing of a device that stays up"
    )
    assert lab.run(lab.read_firmware_version(lab.device("PPMID"))).firmware == "IHDAE06"


def test_an_update_on_real_boards(open_real: OpenReal) -> None:
    lab = open_real("seed")
    assert update(lab, make_image(4096)) == "IHDAE06"
    ppmid = lab.device("PPMID")
    assert [i.version for i in lab.run(lab.store_of(ppmid)).images] == ["IHDAE06"]
    counters = lab.run(lab.counters())
    assert [(b.name, b.uart_lost) for b in counters.boards] == [("hub", None), ("PPMID", None)]
    assert counters.lanes == ()
    assert lab.clock_us > 0
    answer = lab.run(lab.send(ReadFirmwareVersion(), ppmid.eui))
    assert answer.code == "I0"
    assert abs(answer.deliveries[-1].at - datetime.now(UTC)) < timedelta(minutes=1)
    with pytest.raises(ServiceRequestFailed) as failed:
        lab.run(lab.update_firmware(make_image(500_000, "IHDAE07"), ppmid))
    assert failed.value.outcome is Outcome.TOO_LARGE


def test_lab_that_is_closed_is_logged_out(open_real: OpenReal, tmp_path: Path) -> None:
    """Real boards stay on: a login that nobody ends would be there for half a minute."""
    lab = open_real("seed")
    lab.run(lab.store())
    lab.close()
    boards = Desk(lab.config, tmp_path / "intruder", keys=LabKeys(lab.config.seed))

    async def intrude() -> dict[str, int]:
        client = WanClient(boards.ports["hub"], octets_s=92_160)
        try:
            with pytest.raises(AccessDenied):
                await client.write(ImageErase, slot=1)
            return (await client.read(CountersRead)).wan
        finally:
            await client.close()

    wan = boards.run(intrude())
    boards.close()
    assert (wan["logins"], wan["denied"], wan["forged"]) == (1, 1, 0), "nobody is logged in"


def test_boards_with_keys_of_their_own(open_real: OpenReal, tmp_path: Path) -> None:
    """They let in who has been provisioned with them, and nobody who knows the seed only."""
    lab = open_real("provisioned")
    assert update(lab, make_image(2048)) == "IHDAE06"
    lab.close()
    stranger = tmp_path / "stranger.toml"
    text = (tmp_path / "ours.toml").read_text()
    stranger.write_text(text.replace('keys = "provisioned"', 'keys = "seed"'))
    with Lab.open(stranger) as other, pytest.raises(AccessDenied):
        other.run(other.read_firmware_version(other.device("PPMID")))


def test_what_is_out_of_reach(open_real: OpenReal, tmp_path: Path) -> None:
    lab = open_real("seed")
    with pytest.raises(UsageError, match="hub is a real board"):
        lab.power_cycle(lab.hub)
    with pytest.raises(UsageError, match="the lab has real boards"):
        lab.serve(lambda ptys: None)
    text = (tmp_path / "ours.toml").read_text()
    lab.close()
    head, tail = text.split("[[device]]")
    device = "\n".join(line for line in tail.splitlines() if not line.startswith("port"))
    (tmp_path / "ours.toml").write_text(f"{head}[[device]]{device}\n")
    with pytest.raises(UsageError, match="hears the air alone that it carries"):
        Lab.open(tmp_path / "ours.toml", pcap=tmp_path / "x.pcap")
    with Lab.open(tmp_path / "ours.toml") as lab:
        assert [b.name for b in lab.run(lab.counters()).boards] == ["hub"]
        with pytest.raises(UsageError, match="PPMID has no port of its own") as wrong:
            lab.run(lab.store_of(lab.device("PPMID")))
        assert "port = " in wrong.value.next_step


def test_a_lab_that_nobody_has_provisioned(tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(LAB.format(hub='port = "/dev/null"\nwired = true\nble = true', ppmid=""))
    with pytest.raises(UsageError, match="have no keys yet") as wrong:
        Lab.open(lab)
    assert "hanlab provision" in wrong.value.next_step
    provision(lab)
    folder = tmp_path / ".hanlab/lab"
    hub = folder / "boards/hub"
    board_json = hub / "hanlab/board.json"
    written = json.loads(board_json.read_text())
    assert (written["role"], written["eui"]) == ("comms_hub", "00db1234567890a2")
    assert written["port"]["wan"] == {
        "baud": 921600,
        "rxbuf": 12288,
        "uart": 2,
        "tx": 17,
        "rx": 16,
    }
    assert written["port"]["ble"] == {"name": "hanlab-90A2", "smp": [976, 5]}
    assert {"main.py", "chip.mpy", "ble.mpy", "smets1"} <= {file.name for file in hub.iterdir()}
    assert all(f.stat().st_mode & 0o077 == 0 for f in [folder / BOARD_KEYS, hub])
    before = (folder / BOARD_KEYS).read_text()
    provision(lab)  # the boards that have it keep working
    assert (folder / BOARD_KEYS).read_text() == before
    subprocess.run([*COMMAND, "provision", "--force", "--lab", lab], check=True)
    assert json.loads(board_json.read_text())["wan"] != written["wan"]
    (folder / BOARD_KEYS).write_text("hello")
    with pytest.raises(UsageError, match="no 32 octets in hex") as wrong:
        Lab.open(lab)
    assert "--force" not in wrong.value.next_step  # it would also replace the users' keys
    (folder / BOARD_KEYS).rename(folder / "damaged")
    provision(lab)
    assert (folder / BOARD_KEYS).read_text() != before
