"""Homes side by side on one clock: how fast they are updated, and what they need."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanlab.duis.messages import ActivateFirmware, UpdateFirmware
from hanlab.eui import Eui
from hanlab.images import build, made_body
from hanlab.lab import Lab
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.enrolment import product

KIB: Final = 1024


@dataclass(frozen=True)
class Run:
    """What it took to update `homes`, each one's PPMID by 11.1 and 11.3 through the DSP."""

    homes: int
    virtual_s: float
    wall_s: float
    cpu_s: float
    """Of all processes, which on a machine that is not idle is less than processors times `wall_s`."""
    octets: int
    """Resident memory of all processes, at the end."""

    @property
    def speed(self) -> float:
        """Against the homes' own time: what each of them lives through, added up."""
        return self.homes * self.virtual_s / self.wall_s


def update(homes: int, image_octets: int = 128 * KIB) -> Run:
    """Open such a lab, from the box, and update it."""
    home = {"name": "home", "comms_hub": DEFAULT["comms_hub"], "device": DEFAULT["device"]}
    config = make_lab("bench", {"seed": 1, "home": [{**home, "count": homes}]})
    with tempfile.TemporaryDirectory() as folder:
        began, used = time.perf_counter(), _processors_s()
        with Lab(config, Path(folder)) as lab:
            model = lab.devices[0].model
            image = build(
                made_body(image_octets), device_type="PPMID", version="BENCH", for_ch="Secure"
            )
            hash_ = image.manufacturer_image_hash
            lab.dsp.load([product(model, image.version, hash_)])
            devices = tuple(device.eui for device in lab.devices)
            answer = lab.run(lab.send(UpdateFirmware(image.to_bytes(), image.version, devices)))
            codes = [answer.code, *lab.run(_activate(lab, hash_, devices))]
            memory = _resident([os.getpid(), *(b.pid for b in lab.desk.boards.values() if b.pid)])
            virtual = lab.clock_us / 1e6
        wall, cpu = time.perf_counter() - began, _processors_s() - used
    if set(codes) != {"I99", "I0"}:
        raise SystemExit(f"11.1 and 11.3 ended with {sorted(set(codes))}")
    return Run(homes, virtual, wall, cpu, memory)


def _processors_s() -> float:
    """What this process and the VMs that have ended have computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _resident(processes: list[int]) -> int:
    """Their resident memory (octets); where the kernel tells it, what several share is counted once."""
    try:
        texts = [Path(f"/proc/{process}/smaps_rollup").read_text() for process in processes]
        return sum(int(re.findall(r"^Pss: +(\d+) kB", text, re.M)[0]) for text in texts) * 1024
    except (OSError, IndexError):
        command = ["ps", "-o", "rss=", "-p", ",".join(map(str, processes))]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return sum(map(int, lines.split())) * 1024


async def _activate(lab: Lab, hash_: bytes, devices: tuple[Eui, ...]) -> list[str]:
    answers = (lab.send(ActivateFirmware(hash_), device) for device in devices)
    return [answer.code for answer in await asyncio.gather(*answers)]
