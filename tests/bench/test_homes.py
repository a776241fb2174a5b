"""Several homes on one clock: each has its HAN, all have one DSP and one S1SP."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from labs import image_for

from hanlab.bench.pcap import wireshark_folder
from hanlab.duis.messages import ActivateFirmware, UpdateFirmware
from hanlab.duis.responses import UpdateFirmwareWarning
from hanlab.images import OtaImage
from hanlab.lab import Lab, Outcome, Progress
from hanlab.lab.board_json import pan as pan_of
from hanlab.lab.config import DEFAULT, LabConfig, make_lab
from hanlab.lab.enrolment import product


def street(count: int) -> LabConfig:
    home = {"name": "home", "comms_hub": DEFAULT["comms_hub"], "device": DEFAULT["device"]}
    return make_lab("street", {"seed": 1, "home": [{**home, "count": count}]})


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Lab]:
    with Lab(street(2), tmp_path) as lab:
        image = image_for(lab.devices[0])
        lab.dsp.load([product(lab.devices[0].model, image.version, image.manufacturer_image_hash)])
        yield lab


def test_two_homes_are_updated_at_the_same_time_by_one_request(two: Lab) -> None:
    image = image_for(two.devices[0])
    both = tuple(device.eui for device in two.devices)
    when: dict[str, list[int]] = {device.name: [] for device in two.devices}

    def report(step: Progress) -> None:
        when[step.device].append(two.clock_us)

    update = UpdateFirmware(image.to_bytes(), image.version, both)
    answer = two.run(two.send(update, report=report))
    assert answer.code == "I99"
    assert answer.alerts == ["N60", "N60"]
    one, other = when.values()
    assert max(one[0], other[0]) < min(one[-1], other[-1]), "neither waits for the other"
    for home in two.homes:
        (held,) = two.run(two.store(home.name)).images
        assert held.version == image.version


@pytest.mark.rule(35, 36, 37)
def test_a_mixed_11_1_goes_to_the_home_that_is_free(two: Lab) -> None:
    """Two real HANs: what keeps one busy does not keep the other one."""
    first, second = two.devices
    image = image_for(first)
    update = UpdateFirmware(image.to_bytes(), image.version, (first.eui,))
    mixed = UpdateFirmware(image.to_bytes(), image.version, (first.eui, second.eui))

    async def meanwhile() -> UpdateFirmwareWarning:
        under_way = asyncio.Event()
        one = asyncio.ensure_future(two.send(update, report=lambda step: under_way.set()))
        await under_way.wait()
        answer = await two.send(mixed)
        assert answer.code == "W110101"
        assert answer.result
        assert isinstance(answer.result.body, UpdateFirmwareWarning)
        assert (await one).code == "I99"
        return answer.result.body

    warning = two.run(meanwhile())
    assert warning.other_in_progress == (first.eui,)
    ends = two.installations.ends
    assert [ends[d.eui] for d in (first, second)] == [Outcome.DISTRIBUTED] * 2
    assert two.run(two.send(mixed)).code == "I99", "both are free again (rule 37)"


def test_a_home_is_the_same_alone_and_beside_another(tmp_path: Path) -> None:
    """The same octets at the same microseconds, though its neighbours' boards compute meanwhile."""
    both = street(2)
    frames: list[list[tuple[int, bytes]]] = []
    for config in (both.only(both.homes[0]), both):
        folder = tmp_path / str(len(config.homes))
        with Lab(config, folder) as lab:
            image = image_for(lab.devices[0])
            heard: list[tuple[int, bytes]] = []
            lab.desk.air.capture(partial(_note, heard))

            async def everybody(lab: Lab = lab, image: OtaImage = image) -> None:
                updates = (
                    home.s1sp.update_firmware(image, home.devices[0].target, lambda step: None)
                    for home in lab.homes
                )
                await asyncio.gather(*updates)

            lab.run(everybody())
            pan = pan_of(config.homes[0]).to_bytes(2, "little")
            frames.append([(when, psdu) for when, psdu in heard if psdu[3:5] == pan])
            assert heard == sorted(heard, key=lambda frame: frame[0]), "in order over all homes"
    alone, beside = frames
    assert len(alone) > 100
    assert alone == beside[: len(alone)]


def _note(heard: list[tuple[int, bytes]], when: int, psdu: bytes) -> None:
    heard.append((when, psdu))


def test_one_counter_authorises_in_every_home(two: Lab) -> None:
    """The S1SP is one: an authorisation for one home has a number that no other has."""
    image = image_for(two.devices[0])
    both = tuple(device.eui for device in two.devices)
    two.run(two.send(UpdateFirmware(image.to_bytes(), image.version, both)))
    activate = ActivateFirmware(image.manufacturer_image_hash)
    assert [two.run(two.send(activate, eui)).code for eui in both] == ["I0", "I0"]
    log = (two.folder / "dco.log").read_text().splitlines()
    assert len({line.split("counter ")[1].split()[0] for line in log}) == len(log) == 2


@pytest.mark.skipif(
    shutil.which("tshark") is None and os.environ.get("CI") != "true",
    reason="tshark is not installed",
)
def test_a_capture_has_all_homes_and_all_keys(tmp_path: Path) -> None:
    pcap = tmp_path / "street.pcap"
    config = street(2)
    with Lab(config, tmp_path / "lab", pcap=pcap) as lab:
        for device in lab.devices:
            lab.run(lab.wait_until_back(device))
    fields = ("wpan.dst_pan", "zbee.sec.decryption_key")
    command = ["tshark", "-r", str(pcap), "-Y", "zbee_nwk", "-T", "fields"]
    rows = subprocess.run(
        [*command, *(option for name in fields for option in ("-e", name))],
        env={**os.environ, "WIRESHARK_CONFIG_DIR": str(wireshark_folder(pcap))},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    read = {(int(pan, 0), key) for pan, key in (row.split("\t") for row in rows)}
    homes = config.homes
    assert read == {(pan_of(home), f"hanlab HAN of {home.name}") for home in homes}
