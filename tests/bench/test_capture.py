"""A capture of the HAN, read by tshark with no plugin: every frame is what it should be, decrypted."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from labs import OpenLab, make_image
from typer.testing import CliRunner

from hanlab.bench.pcap import wireshark_folder
from hanlab.cli import app
from hanlab.lab import Lab, Outcome

needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None and os.environ.get("CI") != "true",
    reason="tshark is not installed",
)

PROVED = ["Unknown Command: 0x00"] * 2
"""Neighbours prove to each other where their frame counters are: a cluster of hanlab's own (firmware/README.md)."""
ANNOUNCED = ["Device Announcement"]
QUERY = ["ZCL OTA: Query Next Image Request", "ZCL OTA: Query Next Image Response"]
VERSION = [
    "ZCL: Read Attributes",
    "ZCL: Read Attributes Response",
    "ZCL: Read Attributes",
    "ZCL: Read Attributes Response",
]
UPDATE = [
    "ZCL OTA: Image Notify",
    *QUERY,
    *(["ZCL OTA: Image Block Request", "ZCL OTA: Image Block Response"] * 64),
    "ZCL OTA: Upgrade End Request",
    "ZCL OTA: Upgrade End Response",
]
ACTIVATION = [
    "ZCL Tunneling: Request Tunnel",
    "ZCL Tunneling: Request Tunnel Response",
    "ZCL Tunneling: Transfer Data",
    "ZCL Tunneling: Transfer Data",
    "ZCL Tunneling: Close Tunnel",
]

TRUE = {"1", "True"}  # older tsharks, newer ones


@dataclass(frozen=True)
class Frame:
    time: float
    kind: int
    """Of IEEE 802.15.4: 1 data, 2 acknowledgement."""
    sequence: int
    wants_ack: bool
    fcs_ok: bool
    source: str
    key: str
    """The label of the key that decrypted it."""
    info: str


def tshark(pcap: Path, key: bytes, *options: str) -> list[str]:
    command = ["tshark", "-r", str(pcap), "-o", f'uat:zigbee_pc_keys:"{key.hex(":")}","Normal","k"']
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def read_frames(pcap: Path, key: bytes) -> list[Frame]:
    fields = ["frame.time_relative", "wpan.frame_type", "wpan.seq_no", "wpan.ack_request"]
    fields += ["wpan.fcs_ok", "wpan.src16", "zbee.sec.decryption_key"]
    rows = tshark(pcap, key, "-T", "fields", *itertools.chain(*(("-e", f) for f in fields)))
    infos = tshark(pcap, key, "-o", 'gui.column.format:"Info","%i"')
    return [
        Frame(
            time=float(time),
            kind=int(kind, 0),
            sequence=int(sequence),
            wants_ack=wants_ack in TRUE,
            fcs_ok=fcs_ok in TRUE,
            source=source,
            key=label,
            info=re.split(r", (?:Seq|Nwk Addr):", info)[0].strip(),
        )
        for (time, kind, sequence, wants_ack, fcs_ok, source, label), info in zip(
            (row.split("\t") for row in rows), infos, strict=True
        )
    ]


def end_of(part: list[str], infos: list[str], begin: int) -> int:
    """Where `part`, uninterrupted, ends in `infos`."""
    for i in range(begin, len(infos)):
        if infos[i : i + len(part)] == part:
            return i + len(part)
    raise AssertionError(f"from frame {begin} on there is no {part[:3]} ...")


def full_update(lab: Lab) -> None:
    """11.1, 11.2 and 11.3 with an image of 64 blocks, on a two-step model."""
    ppmid = lab.device("PPMID")
    image = make_image(64 * 65 - 92)
    assert len(image.to_bytes()) == 64 * 65
    lab.run(lab.wait_until_back(ppmid))
    assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
    lab.run(lab.read_firmware_version(ppmid))
    hash_ = image.manufacturer_image_hash
    assert lab.run(lab.activate_firmware(hash_, ppmid)) is Outcome.ACTIVATED
    lab.run(lab.wait_until_back(ppmid))


@pytest.fixture
def capture(open_lab: OpenLab, tmp_path: Path) -> tuple[Path, bytes]:
    """A capture of a full update, and its key."""
    pcap = tmp_path / "han.pcap"
    with open_lab(pcap=pcap) as lab:
        full_update(lab)
        return pcap, lab.network_keys["HAN"]


@needs_tshark
def test_every_frame_is_what_it_is(capture: tuple[Path, bytes]) -> None:
    frames = read_frames(*capture)
    assert all(frame.fcs_ok for frame in frames)
    data = [frame for frame in frames if frame.kind == 1]
    assert all(frame.key == "k" for frame in data), "decrypted, and its MIC is right"
    infos = [frame.info for frame in data]
    at = 0
    for part in (
        [*PROVED, *ANNOUNCED],
        VERSION,
        UPDATE,
        VERSION,
        ACTIVATION,
        [*PROVED, *ANNOUNCED],
        QUERY,
        VERSION[:2],
    ):
        at = end_of(part, infos, at)
    assert set(infos) == {*PROVED, *ANNOUNCED, *VERSION, *UPDATE, *ACTIVATION, *QUERY}
    assert {frame.info for frame in frames if frame.kind != 1} == {"Ack"}


@needs_tshark
def test_wireshark_has_nothing_to_complain_of(capture: tuple[Path, bytes]) -> None:
    assert tshark(*capture, "-Y", "_ws.malformed || _ws.expert || _ws.short") == []


@needs_tshark
def test_unicasts_are_acknowledged_in_time(capture: tuple[Path, bytes]) -> None:
    """An acknowledgement begins 192 µs (aTurnaroundTime) after the frame has ended."""
    frames = read_frames(*capture)
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    on_air: set[str] = set()
    acks = 0
    for frame, after in itertools.pairwise([*frames, None]):
        assert frame
        if frame.kind == 2:
            acks += 1
            continue
        on_air.add(frame.source)
        if frame.wants_ack and len(on_air) == 2:  # the hub may still be starting before
            assert after
            assert (after.kind, after.sequence) == (2, frame.sequence)
            assert after.time - frame.time < 0.005
    assert acks > 2 * 64


@needs_tshark
def test_key_is_beside_the_capture(capture: tuple[Path, bytes]) -> None:
    pcap, key = capture
    folder = wireshark_folder(pcap)
    assert folder == pcap.with_name("han.pcap.wireshark")
    file = folder / "zigbee_pc_keys"
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    read = subprocess.run(
        ["tshark", "-r", str(pcap), "-Y", "zbee.sec.decryption_key"],
        env={**os.environ, "WIRESHARK_CONFIG_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert len(read.splitlines()) == sum(f.kind == 1 for f in read_frames(pcap, key))


def test_commands_say_how_to_open_their_capture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opens = "WIRESHARK_CONFIG_DIR=a.pcap.wireshark wireshark a.pcap"
    for command in (["version", "PPMID"], ["store"], ["devices"], ["demo", "hash-mismatch"]):
        result = CliRunner().invoke(app, [*command, "--pcap", "a.pcap"])
        assert result.exit_code == 0, result.output
        assert opens in result.output
        key = Path("a.pcap.wireshark/zigbee_pc_keys").read_text().split('"')[1]
        assert key not in result.output
        assert key.replace(":", "") not in result.output
    result = CliRunner().invoke(app, ["store", "--pcap", "a.pcap", "--json"])
    assert result.output.startswith("{")
    assert opens not in result.output


def test_a_command_that_fails_leaves_its_capture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused 11.3 is worth a look; a name that does not exist captured nothing."""
    monkeypatch.chdir(tmp_path)
    refused = ["activate", "PPMID", "--hash", "00" * 32, "--pcap", "a.pcap"]
    assert "WIRESHARK_CONFIG_DIR=a.pcap" in CliRunner().invoke(app, refused).output
    unknown = ["version", "nobody", "--pcap", "b.pcap"]
    assert "WIRESHARK_CONFIG_DIR" not in CliRunner().invoke(app, unknown).output
