"""Flash that rots, wears out or fills up: detected, reported, mended where that is possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from full_disk import no_room
from labs import OpenLab, config, make_image
from test_counters import events

from hanlab.bench.flash import Effect, Kind, NorFlash, Operation
from hanlab.boards.data import load_board
from hanlab.errors import UsageError
from hanlab.images import OtaImage
from hanlab.lab import Device, Lab, Progress
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

FIRST = make_image(8192, "IHDAE06")
SECOND = make_image(12288, "IHDAE071")

RunOnce = Callable[[str, str], None]


def update(lab: Lab, image: OtaImage) -> Outcome:
    return lab.run(lab.update_firmware(image, lab.devices[0]))


def activate(lab: Lab, image: OtaImage) -> Outcome:
    return lab.run(lab.activate_firmware(image.manufacturer_image_hash, lab.devices[0]))


def version(lab: Lab) -> str:
    return lab.run(lab.wait_until_back(lab.devices[0])).firmware


def whole_update_works(lab: Lab, image: OtaImage) -> None:
    assert update(lab, image) is Outcome.DISTRIBUTED
    assert activate(lab, image) is Outcome.ACTIVATED
    assert version(lab) == image.version
    for board in (lab.hub, lab.devices[0]):
        report = lab.run(lab.store_of(board, verify=True))
        assert all(i.ok for i in report.images if i.version == image.version)


def rot(lab: Lab, board: Device, image: OtaImage) -> None:
    """Flip a bit in the middle of the image, in that board's flash."""
    octets = image.to_bytes()
    lab.board(board).flash.rot(octets[len(octets) // 2 :][:64])


# -- bit rot


def test_rot_in_the_store_of_the_ch(open_lab: OpenLab) -> None:
    lab = open_lab()
    assert update(lab, FIRST) is Outcome.DISTRIBUTED
    rot(lab, lab.hub, FIRST)
    (image,) = lab.run(lab.store_of(lab.hub, verify=True)).images
    assert image.ok is False
    with pytest.raises(ServiceRequestFailed) as failed:
        update(lab, FIRST)
    assert failed.value.outcome is Outcome.CORRUPT
    assert "damaged in the CH's flash" in failed.value.what
    assert failed.value.next_step == "push again"
    assert lab.run(lab.store()).images == [], "it makes room for a good one"
    whole_update_works(lab, FIRST)


def test_rot_in_the_store_of_the_device(open_lab: OpenLab) -> None:
    lab = open_lab()
    before = version(lab)
    assert update(lab, FIRST) is Outcome.DISTRIBUTED
    rot(lab, lab.devices[0], FIRST)
    (image,) = lab.run(lab.store_of(lab.devices[0], verify=True)).images
    assert image.ok is False
    with pytest.raises(ServiceRequestFailed) as failed:
        activate(lab, FIRST)
    assert failed.value.outcome is Outcome.ACTIVATION_FAILURE
    assert version(lab) == before, "what is damaged never runs"
    whole_update_works(lab, FIRST)


def test_rot_in_the_running_image(open_lab: OpenLab) -> None:
    with open_lab() as lab:
        whole_update_works(lab, FIRST)
        rot(lab, lab.devices[0], FIRST)
    with open_lab() as lab:  # the boards start again
        assert version(lab) == FIRST.version
        (image,) = lab.run(lab.store_of(lab.devices[0], verify=True)).images
        assert (image.state, image.ok) == ("running", False)
        whole_update_works(lab, SECOND)


def test_rot_in_an_unfinished_upload(open_lab: OpenLab) -> None:
    large = make_image(65536, "IHDAE072")

    class Stop(Exception):
        pass

    with open_lab() as lab:

        def stop(step: object) -> None:
            if getattr(step, "done", 0) > 40_000:
                raise Stop

        with pytest.raises(Stop):
            lab.run(lab.update_firmware(large, lab.devices[0], stop))
    with open_lab() as lab:
        partial = lab.run(lab.store_of(lab.hub, verify=True)).partial
        assert partial is not None
        lab.board(lab.hub).flash.rot(large.to_bytes()[:64])
        notes: list[str] = []
        outcome = lab.run(
            lab.update_firmware(large, lab.devices[0], lambda step: notes.append(step.note))
        )
        assert outcome is Outcome.DISTRIBUTED
        assert any("damaged" in note for note in notes), notes
        assert activate(lab, large) is Outcome.ACTIVATED


# -- a sector that will not erase


@pytest.mark.parametrize("board", ["hub", "PPMID"])
@pytest.mark.parametrize("effect", [Effect.STUCK, Effect.REFUSED])
def test_sectors_that_will_not_erase(open_lab: OpenLab, board: str, effect: Effect) -> None:
    """The first and the third sector that are erased are worn out, for good."""
    lab = open_lab()
    before = version(lab)
    flash = lab.board(lab.device(board)).flash
    erased: list[int] = []

    def worn(operation: Operation) -> Effect:
        if operation.kind is not Kind.ERASE:
            return Effect.DONE
        if operation.address not in erased:
            erased.append(operation.address)
        return effect if erased.index(operation.address) in (0, 2) else Effect.DONE

    flash.fault = worn
    said: list[ServiceRequestFailed] = []
    while len(said) < 12:
        try:
            update(lab, FIRST)
            break
        except ServiceRequestFailed as failure:
            said.append(failure)
        assert said[-1].outcome in (Outcome.DEVICE_REFUSED, Outcome.NO_ANSWER), said[-1].what
        assert version(lab) == before
    else:
        pytest.fail(f"never done: {said[-1].what}")
    assert len(erased) > 2, "the worn-out sectors were in the way"
    if effect is Effect.STUCK:
        assert said == [], "littlefs reads back what it wrote, and takes another sector"
    else:
        words = "the CH's flash did not take" if board == "hub" else "it cannot store it (ABORT)"
        assert said
        assert all(words in failure.what for failure in said)
    assert all(i.ok for i in lab.run(lab.store_of(lab.device(board), verify=True)).images)
    flash.fault = None
    whole_update_works(lab, SECOND)


@pytest.mark.parametrize("board", ["hub", "PPMID"])
@pytest.mark.parametrize("effect", [Effect.STUCK, Effect.REFUSED])
def test_operation_that_fails_once(open_lab: OpenLab, board: str, effect: Effect) -> None:
    """Whichever it is, at the start or in the update: no board dies, and the update gets done."""
    image = make_image(2048, "IHDAE06")
    for number in range(20, 80, 4):
        with open_lab(folder=f"{number}") as lab:
            came = False

            def once(operation: Operation, number: int = number) -> Effect:
                nonlocal came
                if operation.number != number:
                    return Effect.DONE
                came = True
                return effect

            lab.board(lab.device(board)).flash.fault = once
            for _ in range(4):
                with suppress(ServiceRequestFailed):
                    update(lab, image)
                    activate(lab, image)
                lab.run(asyncio.sleep(40))
                if version(lab) == image.version:
                    break
            else:
                pytest.fail(f"operation {number} of {board}: the update never got done")
            held = lab.run(lab.store_of(lab.devices[0], verify=True)).images
            assert [(i.state, i.ok) for i in held] == [("running", True)]
            assert came or number > 35, "the update has that operation"


def test_a_ch_whose_flash_fails_after_an_activation_has_activated(open_lab: OpenLab) -> None:
    """It cannot note that the image has done its work: that is no failure of the 11.3."""
    lab = open_lab()
    assert update(lab, FIRST) is Outcome.DISTRIBUTED

    def broken(progress: Progress) -> None:
        lab.board(lab.hub).flash.fault = lambda operation: Effect.REFUSED

    hash_ = FIRST.manufacturer_image_hash
    activated = lab.run(lab.activate_firmware(hash_, lab.devices[0], broken))
    assert activated is Outcome.ACTIVATED
    assert version(lab) == FIRST.version
    assert [i.version for i in lab.run(lab.store()).images] == [FIRST.version]


# -- a full filesystem, a corrupt journal: another firmware does it, once


@pytest.fixture
def run_once(tmp_path: Path) -> RunOnce:
    """Run Python on one board of the lab (its files are in /flash), on the others nothing."""

    def run_(board: str, source: str) -> None:
        firmware = tmp_path / "firmware"
        firmware.mkdir(exist_ok=True)
        lines = "\n".join(f"        {line}" for line in source.strip().splitlines())
        (firmware / "main.py").write_text(
            "import asyncio, json, os\n\n"
            "def run(port):\n"
            "    with open('/flash/board.json') as f:\n"
            "        role = json.load(f)['role']\n"
            f"    if role == {'comms_hub' if board == 'hub' else 'device'!r}:\n"
            f"{lines}\n"
            "    asyncio.run(asyncio.Event().wait())\n"
        )
        with Lab(config(), tmp_path / "lab", firmware=firmware) as lab:
            lab.run(asyncio.sleep(600))

    return run_


FILL = """
with open('/flash/fill', 'wb') as f:
    octets = bytes(4096)
    try:
        while True:
            f.write(octets)
            f.flush()
    except OSError:
        pass
"""


@pytest.mark.parametrize("board", ["hub", "PPMID"])
def test_full_filesystem(open_lab: OpenLab, run_once: RunOnce, board: str) -> None:
    with open_lab() as lab:
        whole_update_works(lab, FIRST)
    run_once(board, FILL)
    with open_lab() as lab:
        assert version(lab) == FIRST.version, "the boards start all the same"
        with pytest.raises(ServiceRequestFailed) as failed:
            update(lab, SECOND)
        if board == "hub":
            assert failed.value.outcome is Outcome.TOO_LARGE
            assert "before the first octet" in failed.value.what
            assert "its flash has no room for it" in failed.value.what
        else:
            assert failed.value.outcome is Outcome.DEVICE_REFUSED
            assert "it cannot store it (ABORT)" in failed.value.what
        assert version(lab) == FIRST.version
        held = lab.run(lab.store_of(lab.device(board), verify=True))
        assert all(image.ok for image in held.images)
        assert held.partial is None
    run_once(board, "os.remove('/flash/fill')")
    with open_lab() as lab:
        whole_update_works(lab, SECOND)


SPOIL = """
for name in {names}:
    try:
        with open('/flash/' + name, 'r+b') as f:
            f.seek(40)
            octet = f.read(1)
            f.seek(40)
            f.write(bytes([octet[0] ^ 4]))
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("store/journal", "journal bad, its copy used"),
        ("store.copy/journal", "journal's copy bad, journal used"),
    ],
)
@pytest.mark.parametrize("board", ["hub", "PPMID"])
def test_one_corrupt_journal(
    open_lab: OpenLab, run_once: RunOnce, board: str, name: str, words: str
) -> None:
    """Nothing is lost, not even the last step; and it shows, in the event log too."""
    with open_lab() as lab:
        whole_update_works(lab, FIRST)
        assert update(lab, SECOND) is Outcome.DISTRIBUTED
        before = lab.run(lab.store_of(lab.device(board), verify=True))
    run_once(board, SPOIL.format(names=[name]))
    with open_lab() as lab:
        assert version(lab) == FIRST.version
        held = lab.run(lab.store_of(lab.device(board), verify=True))
        assert words in held.recovered
        assert held.images == before.images
        assert all(image.ok for image in held.images)
        (said,) = events(lab, lab.device(board), "boot")
        assert words in said
        whole_update_works(lab, SECOND)
    with open_lab() as lab:
        assert lab.run(lab.store_of(lab.device(board))).recovered == "", "it is mended"


@pytest.mark.parametrize("board", ["hub", "PPMID"])
def test_no_good_journal(open_lab: OpenLab, run_once: RunOnce, board: str) -> None:
    with open_lab() as lab:
        factory = version(lab)
        whole_update_works(lab, FIRST)
        assert update(lab, SECOND) is Outcome.DISTRIBUTED
    run_once(board, SPOIL.format(names=["store/journal", "store.copy/journal"]))
    with open_lab() as lab:
        assert version(lab) == (FIRST.version if board == "hub" else factory)
        held = lab.run(lab.store_of(lab.device(board), verify=True))
        assert "no good copy" in held.recovered
        assert held.images == []
        whole_update_works(lab, SECOND)


# -- the power of a board


@pytest.mark.parametrize("board", ["hub", "PPMID"])
def test_power_cycle(open_lab: OpenLab, board: str) -> None:
    lab = open_lab()
    before = version(lab)
    lab.power_cycle(lab.device(board), off_s=2.0)
    lab.run(asyncio.sleep(0.001))
    assert not lab.board(lab.device(board)).running
    assert version(lab) == before
    assert lab.clock_us > 2_000_000
    whole_update_works(lab, FIRST)


# -- the laptop's own disk


def test_a_full_disk_leaves_no_stump_of_a_flash_file(tmp_path: Path) -> None:
    facts = load_board("pico").flash
    path = tmp_path / "PPMID.flash"
    with no_room(4096), pytest.raises(OSError, match="too large"):
        NorFlash(path, facts)
    assert list(tmp_path.iterdir()) == []
    NorFlash(path, facts).close()
    assert path.stat().st_size == facts.filesystem


@pytest.mark.parametrize("held", [0, 4096])
def test_the_stump_of_an_earlier_full_disk_is_named(held: int, tmp_path: Path) -> None:
    path = tmp_path / "PPMID.flash"
    path.write_bytes(b"\xff" * held)
    with pytest.raises(UsageError, match=f"holds {held:,} octets") as stump:
        NorFlash(path, load_board("pico").flash)
    assert "nothing is in it" in stump.value.next_step
    path.unlink()  # as it says
    NorFlash(path, load_board("pico").flash).close()
    assert path.read_bytes() == b"\xff" * load_board("pico").flash.filesystem


def test_a_flash_file_of_another_board_type_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "PPMID.flash"
    theirs = NorFlash(path, load_board("esp32-devkitc").flash)
    theirs.program(0, b"littlefs")
    theirs.close()
    with pytest.raises(UsageError, match="2,097,152") as other:
        NorFlash(path, load_board("pico").flash)
    assert "delete" not in other.value.next_step
    short = tmp_path / "short.flash"
    short.write_bytes(b"\xff" * 4096 + b"littlefs" + b"\xff" * 4096)
    with pytest.raises(UsageError, match="8,200"):
        NorFlash(short, load_board("pico").flash)
    assert short.read_bytes() == b"\xff" * 4096 + b"littlefs" + b"\xff" * 4096
