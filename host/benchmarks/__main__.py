"""Speed and memory of hanlab, as a table: `make bench`. Exit code 1 if a figure misses its limit.

Wall times are this machine's and vary; virtual ones and heap figures are the same everywhere.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from benchmarks import dsp, homes
from hanlab.bench.uart import BITS_PER_OCTET
from hanlab.boards.vm import find_vm
from hanlab.cli.show import console
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Lab, Progress
from hanlab.lab.config import DEFAULT, make_lab

KIB: Final = 1024
LEAST_FREE: Final = 60 * KIB
"""Octets of a Pico's heap that have to be free after boot."""
LEAST_WITH_BLE: Final = 16 * KIB
"""Of an ESP32's, with its radio on, whatever it does: four requests' worth."""
STARTS: Final = 7
"""Starts of `hanlab --help`; the quickest counts, the others waited for somebody else."""


@dataclass(frozen=True)
class Figure:
    what: str
    value: str
    limit: str = ""
    ok: bool = True


@contextmanager
def _lab(hub: Mapping[str, Any], device: Mapping[str, Any]) -> Iterator[Lab]:
    config = make_lab(
        "bench",
        {
            **DEFAULT,
            "comms_hub": {**DEFAULT["comms_hub"], **hub},
            "device": [{**DEFAULT["device"][0], **device}],
        },
    )
    with tempfile.TemporaryDirectory() as folder, Lab(config, Path(folder)) as lab:
        yield lab


def _image(lab: Lab, octets: int) -> OtaImage:
    maker = lab.hub.model.manufacturer
    return build(made_body(octets), device_type="PPMID", version="BENCH", for_ch=maker)


def _activate(lab: Lab, image: OtaImage) -> None:
    ppmid = lab.devices[0]
    lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    version = lab.run(lab.wait_until_back(ppmid)).firmware
    if version != image.version:
        raise SystemExit(f"the PPMID runs {version}, not {image.version}")


def whole_update() -> Iterator[Figure]:
    began = time.perf_counter()
    with _lab({}, {}) as lab:
        image = _image(lab, 256 * KIB)
        lab.run(lab.update_firmware(image, lab.devices[0]))
        _activate(lab, image)
        virtual = lab.clock_us / 1e6
    wall = time.perf_counter() - began
    yield Figure(
        "256 KiB S1SP → CH → PPMID → activated", f"{wall:.2f} s wall", "under 5 s", wall < 5
    )
    yield Figure("the same on the lab's clock", f"{virtual:.1f} s virtual")


def heaps() -> Iterator[Figure]:
    room = 600 * KIB
    pico = {"board": "pico", "store": room}
    with _lab(pico, pico) as lab:
        boards = (lab.hub, lab.devices[0])
        lab.run(lab.wait_until_back(lab.devices[0]))
        fresh = [lab.run(lab.heap(board)) for board in boards]
        image = _image(lab, 512 * KIB)
        lab.run(lab.update_firmware(image, lab.devices[0]))
        after = [lab.run(lab.heap(board)) for board in boards]  # before the PPMID restarts
        _activate(lab, image)
    bits = find_vm().bits
    scale = bits // 32  # a 64-bit VM's objects take twice a chip's heap
    for name, boot, end in zip(("CH", "PPMID"), fresh, after, strict=True):
        free = boot.free // scale
        yield Figure(
            f"{name} on a Pico, free heap after boot ({bits}-bit VM)",
            f"{free:,} of {boot.total // scale:,} B",
            f"at least {LEAST_FREE:,} B",
            free >= LEAST_FREE,
        )
        peak = (end.total - end.lowest) // scale
        yield Figure(f"{name} on a Pico, peak heap, 512 KiB image ({bits}-bit VM)", f"{peak:,} B")


def heap_with_ble() -> Iterator[Figure]:
    """The chip that has the least: the radio takes a third of what an ESP32's firmware leaves."""
    with _lab({"board": "esp32-devkitc", "ble": True}, {}) as lab:
        lab.run(lab.update_firmware(_image(lab, 256 * KIB), lab.devices[0]))
        heap = lab.run(lab.heap(lab.hub))
    bits = find_vm().bits
    least = heap.lowest // (bits // 32)
    yield Figure(
        f"CH on an ESP32 with BLE on, least heap free, 256 KiB image ({bits}-bit VM)",
        f"{least:,} B",
        f"at least {LEAST_WITH_BLE:,} B",
        least >= LEAST_WITH_BLE,
    )


def uploads() -> Iterator[Figure]:
    for board, limit in (("esp32-devkitc", 90), ("pico", None)):
        with _lab({"board": board}, {}) as lab:
            marks: list[tuple[int, int]] = []

            def mark(step: Progress, lab: Lab = lab, marks: list[tuple[int, int]] = marks) -> None:
                if step.stage == "upload":
                    marks.append((lab.clock_us, step.done))

            lab.run(lab.update_firmware(_image(lab, 256 * KIB), lab.devices[0], mark))
            line = lab.config.hub.baud / BITS_PER_OCTET
            window = lab.hub.board.smp
        (t0, first), (t1, last) = marks[0], marks[-1]
        rate = (last - first) / (t1 - t0) * 1e6
        yield Figure(
            f"upload at 115,200 baud to {board}, {window.buf_count} x {window.buf_size} B in flight",
            f"{rate:,.0f} B/s, {100 * rate / line:.1f} % of the line",
            f"at least {limit} %" if limit else "",
            limit is None or 100 * rate / line >= limit,
        )


def commands() -> Iterator[Figure]:
    hanlab = [sys.executable, "-c", "from hanlab.cli import main; main()"]
    best = min(_timed([*hanlab, "--help"]) for _ in range(STARTS))
    yield Figure("hanlab --help", f"{best:.2f} s wall", "under 0.3 s", best < 0.3)
    tour = _timed([*hanlab, "demo"])
    yield Figure("make demo after set-up (the tour)", f"{tour:.1f} s wall", "under 15 s", tour < 15)


def the_homes() -> Iterator[Figure]:
    for number, limit in ((20, "over 20 times"), (100, "faster than real time")):
        run = homes.update(number)
        yield Figure(
            f"{number} homes at once, 128 KiB each by 11.1 and 11.3",
            f"{run.wall_s:.0f} s wall ({run.cpu_s:.0f} s of processors), "
            f"{run.speed:.0f} times their {run.virtual_s:.0f} s",
            limit,
            run.speed > 20 if number == 20 else run.wall_s < run.virtual_s,
        )
    yield Figure(
        f"memory of {2 * number} VMs and the host",
        f"{run.octets / 2**20:,.0f} MiB",
        "under 2,048 MiB",
        run.octets < 2 << 30,
    )


def the_dsp() -> Iterator[Figure]:
    rate = dsp.decisions()
    yield Figure(
        "11.2 and E5 decisions, 16 clients, one core",
        f"{rate:,.0f} a second",
        "at least 500",
        rate >= 500,
    )
    octets = dsp.memory_of_largest_update()
    yield Figure(
        "an 11.1 of 10,240,000 image octets, memory beside the file's",
        f"{octets / 1e6:.0f} MB",
        "under 100 MB",
        octets < 100_000_000,
    )
    number, seconds = dsp.suspend_half()
    yield Figure(
        f"a CPL removal suspends {number:,} of {dsp.DEVICES:,} devices",
        f"{seconds:.2f} s wall",
        "under 5 s",
        seconds < 5 and number == dsp.DEVICES // 2,
    )


def _timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    out = console()
    table = Table(box=None)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("limit", no_wrap=True)
    missed = False
    for measure in (whole_update, heaps, heap_with_ble, uploads, the_homes, the_dsp, commands):
        for figure in measure():
            missed |= not figure.ok
            sign = ("✓ " if figure.ok else "✗ ") + figure.limit if figure.limit else ""
            table.add_row(figure.what, figure.value, sign)
    out.width = max(out.width, out.measure(table, options=out.options.update(width=400)).maximum)
    out.print(f"{find_vm()}, Python {sys.version.split()[0]}")
    out.print(table)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
