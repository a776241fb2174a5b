"""A lab of real boards, as the laptop sees them: serial ports that somebody else's boards are behind.

The boards are those of another hanlab (`hanlab up`), in a process of its own and in real time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from labs import make_image
from smpclient.requests.image_management import ImageErase

from hanlab.duis.messages import ReadFirmwareVersion
from hanlab.errors import UsageError
from hanlab.images import OtaImage
from hanlab.keys import LabKeys
from hanlab.lab import Lab, Outcome
from hanlab.lab.real_boards import RealBoards
from hanlab.lab.state import BOARD_KEYS
from hanlab.s1sp.outcome import ServiceRequestFailed
from hanlab.wan.client import WanClient
from hanlab.wan.errors import AccessDenied
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

OpenReal = Callable[[str], Lab]


def provision(lab: Path) -> None:
    subprocess.run([*COMMAND, "provision", "--lab", lab], check=True, capture_output=True)


@pytest.fixture
def open_real(tmp_path: Path) -> Iterator[OpenReal]:
    """Open the lab of real boards whose keys are "seed" or "provisioned"; they have been up for ages."""
    opened: list[Lab] = []
    processes: list[subprocess.Popen[str]] = []

    def open_(keys: str) -> Lab:
        theirs, ours = tmp_path / "theirs.toml", tmp_path / "ours.toml"
        theirs.write_text(f'keys = "{keys}"\n' + LAB.format(hub="", ppmid=""))
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
        ports = {
            b["name"].lower(): f'port = "{b["pty"]}"' for b in json.loads(out.readline())["boards"]
        }
        ours.write_text(f'keys = "{keys}"\n' + LAB.format(**ports))
        if keys == "provisioned":
            (tmp_path / ".hanlab" / "ours").mkdir()
            shutil.copy(tmp_path / ".hanlab/theirs" / BOARD_KEYS, tmp_path / ".hanlab/ours")
        opened.append(Lab.open(ours))
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
    boards = RealBoards(lab.config, LabKeys(lab.config.seed))

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
    with pytest.raises(UsageError, match="the lab's boards are real"):
        lab.power_cycle(lab.hub)
    with pytest.raises(UsageError, match="the lab's boards are real"):
        lab.serve(lambda ptys: None)
    text = (tmp_path / "ours.toml").read_text()
    lab.close()
    head, tail = text.split("[[device]]")
    device = "\n".join(line for line in tail.splitlines() if not line.startswith("port"))
    (tmp_path / "ours.toml").write_text(f"{head}[[device]]{device}\n")
    with pytest.raises(UsageError, match="hears emulated air only"):
        Lab.open(tmp_path / "ours.toml", pcap=tmp_path / "x.pcap")
    with Lab.open(tmp_path / "ours.toml") as lab:
        assert [b.name for b in lab.run(lab.counters()).boards] == ["hub"]
        with pytest.raises(UsageError, match="PPMID has no port of its own") as wrong:
            lab.run(lab.store_of(lab.device("PPMID")))
        assert "port = " in wrong.value.next_step


def test_a_lab_that_nobody_has_provisioned(tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(LAB.format(hub='port = "/dev/null"', ppmid=""))
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
    assert {"main.py", "chip.py", "smets1"} <= {file.name for file in hub.iterdir()}
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
