"""Same seed, same run: the same octets at the same microseconds, whatever VM the boards run in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from labs import OpenDesk, in_vm, make_image

from hanlab.boards.vm import Vm
from hanlab.lab.boards import DualControl, s1sp_on, wan_client
from hanlab.lab.desk import Desk
from hanlab.resources import checkout
from hanlab.s1sp.outcome import Outcome
from hanlab.s1sp.progress import Progress
from hanlab.s1sp.target import Target
from hanlab.wan.messages import Challenge


@dataclass(frozen=True)
class Run:
    """All that can be seen of an update, activation and restart."""

    capture: bytes
    """Every frame on the HAN, with its time."""
    seen: list[tuple[str, int, int]]
    """The S1SP's progress: stage, octets, time (µs)."""
    ended: int
    """When (µs)."""
    wan_octets: int
    steps: dict[str, int]
    flash_operations: dict[str, int]
    flash: dict[str, bytes]


def run(desk: Desk, pcap: Path) -> Run:
    """11.1, 11.3 and 11.2 on a desk of boards that are new."""
    node = desk.config.devices[0]
    target = Target(node.name, node.eui.octets, node.model)
    image = make_image(12_000)
    wan = wan_client(desk, desk.config.hub.name)
    s1sp = s1sp_on(
        wan,
        desk.config.hub,
        DualControl(desk.keys, desk.boards[node.name].flash.path.parent),
    )
    seen: list[tuple[str, int, int]] = []

    def report(progress: Progress) -> None:
        seen.append((progress.stage, progress.done, desk.kernel.now))

    async def update() -> None:
        await s1sp.wait_until_back(target)
        await s1sp.update_firmware(image, target, report)
        done = await s1sp.activate_firmware(image.manufacturer_image_hash, target, report)
        assert done is Outcome.ACTIVATED
        assert (await s1sp.wait_until_back(target)).firmware == image.version

    desk.run(update())
    boards = desk.boards
    return Run(
        capture=pcap.read_bytes(),
        seen=seen,
        ended=desk.kernel.now,
        wan_octets=wan.octets_sent,
        steps={name: in_vm(board).steps for name, board in boards.items()},
        flash_operations={name: board.flash.operations for name, board in boards.items()},
        flash={name: board.flash.path.read_bytes() for name, board in boards.items()},
    )


def test_same_seed_same_run(open_desk: OpenDesk, tmp_path: Path) -> None:
    runs = []
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        pcap = tmp_path / f"{name}.pcap"
        runs.append(run(open_desk(folder=name, seed=seed, pcap=pcap), pcap))
    first, second, other = runs
    assert len(first.capture) > 20_000
    assert second == first
    assert other.capture != first.capture
    assert other.ended != first.ended, "the air's back-off is another one"


def test_32_and_64_bit_vm_run_alike(open_desk: OpenDesk, tmp_path: Path) -> None:
    """What they differ in, the heap, is no part of what a board does."""
    root = checkout()
    assert root is not None
    places = {32: root / ".vm" / "micropython", 64: Path(sys.executable).parent / "micropython"}
    if missing := [f"{place}" for place in places.values() if not place.exists()]:
        pytest.skip(f"there is no {missing[0]}")
    runs = []
    for bits, place in places.items():
        pcap = tmp_path / f"{bits}.pcap"
        vm = Vm((str(place),), bits, "of this test")
        runs.append(run(open_desk(folder=str(bits), vm=vm, pcap=pcap), pcap))
    assert runs[0] == runs[1]


def test_each_start_has_its_own_entropy(open_desk: OpenDesk) -> None:
    """Fresh each time a board starts, also in the next command and with its flash gone; and still by the seed."""

    async def nonce(desk: Desk) -> bytes:
        client = wan_client(desk, "hub")
        try:
            await client.connect()
            return (await client.read(Challenge)).nonce
        finally:
            await client.close()

    def starts(folder: str, seed: int) -> list[bytes]:
        nonces = []
        for command in range(3):
            desk = open_desk(folder=folder, seed=seed)
            nonces.append(desk.run(nonce(desk)))
            desk.boards["hub"].cut_power()
            nonces.append(desk.run(nonce(desk)))
            for board in desk.boards.values():
                board.power_off()
            if command == 1:
                desk.boards["hub"].flash.path.unlink()
        return nonces

    first, again, other = (starts(folder, seed) for folder, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert len(set(first)) == 6
    assert again == first
    assert not set(other) & set(first)
