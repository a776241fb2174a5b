"""Bad wires: what is lost on them is counted, and an update completes all the same, or goes on later."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from labs import OpenDesk, config, make_image

from hanlab.bench.impair import Lane
from hanlab.bench.kernel import Kernel
from hanlab.bench.radio import ACK_OCTETS, MAX_RETRIES
from hanlab.cli import main
from hanlab.errors import UsageError
from hanlab.impairments import PERFECT, Impairments, read_impairments
from hanlab.lab import Lab, Outcome, Progress
from hanlab.lab.board_json import limits
from hanlab.lab.config import make_lab
from hanlab.lab.counters import Counters
from hanlab.wan.limits import Limits

BOARDS = ["esp32-devkitc", "pico"]


def both(setting: str) -> str:
    return f"wan.{setting},han.{setting}"


OpenImpaired = Callable[..., Lab]


@pytest.fixture
def open_impaired(tmp_path: Path) -> Iterator[OpenImpaired]:
    """Open the default lab with its wires impaired: `open_impaired("wan.loss=0.2", seed=2)`."""
    labs: list[Lab] = []

    def open_(
        impair: str = "",
        *,
        hub: dict[str, Any] | None = None,
        seed: int = 1,
        folder: str = "lab",
        pcap: Path | None = None,
    ) -> Lab:
        made = config(hub, seed=seed).impaired(impair)
        labs.append(Lab(made, tmp_path / folder, pcap=pcap))
        return labs[-1]

    yield open_
    for lab in labs:
        lab.close()


@dataclass
class Update:
    """11.1, 11.3 and 11.2 on a lab, and when (s) each stage reported what."""

    lab: Lab
    body: int = 8192
    version: str = "IHDAE06"
    seen: list[tuple[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self, progress: Progress) -> None:
        self.seen.append((progress.stage, self.lab.clock_us / 1e6))
        if progress.note:
            self.notes.append(progress.note)

    def run(self) -> None:
        image = make_image(self.body, self.version)
        ppmid = self.lab.device("PPMID")
        pushed = self.lab.run(self.lab.update_firmware(image, ppmid, self.report))
        assert pushed is Outcome.DISTRIBUTED
        assert self.lab.run(self.lab.store()).images[0].sha == image.file_hash
        hash_ = image.manufacturer_image_hash
        done = self.lab.run(self.lab.activate_firmware(hash_, ppmid, self.report))
        assert done is Outcome.ACTIVATED
        assert self.lab.run(self.lab.wait_until_back(ppmid)).firmware == self.version
        assert self.lab.run(self.lab.store()).used == 0


def lanes(lab: Lab, wire: str) -> dict[tuple[str, str], Any]:
    report: Counters = lab.run(lab.counters())
    assert report.adds_up
    return {(r.source, r.sink): r.counters for r in report.lanes if r.wire == wire}


# -- an update completes


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("seed", range(1, 6))
def test_update_completes_at_20_percent_loss(
    open_impaired: OpenImpaired, board: str, seed: int
) -> None:
    lab = open_impaired(both("loss=0.2"), hub={"board": board}, seed=seed)
    Update(lab).run()
    for wire in ("wan", "han"):
        units = [c for c in lanes(lab, wire).values() if c.sent > 20]
        assert units
        lost = sum(c.lost for c in units) / sum(c.sent for c in units)
        assert 0.1 < lost < 0.35, "it is as bad as it was meant to be"


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize(
    ("impair", "counter"),
    [
        (both("flips=0.001"), "flipped"),
        (both("duplicate=0.3"), "duplicated"),
        (both("duplicate=1"), "duplicated"),
        (both("reorder=0.3"), "reordered"),
        (both("truncate=0.2"), "truncated"),
        (both("stall=0.05"), "stalled"),
        (f"{both('loss=0.2')},{both('burst=4')}", "lost"),
        (
            ",".join(
                both(s)
                for s in (
                    "loss=0.1",
                    "burst=2",
                    "flips=0.0003",
                    "duplicate=0.1",
                    "reorder=0.1",
                    "truncate=0.05",
                    "stall=0.02",
                )
            ),
            "lost",
        ),
    ],
    ids=[
        "flips",
        "duplicates",
        "all twice",
        "reordering",
        "truncation",
        "stalls",
        "bursts",
        "mixed",
    ],
)
def test_update_completes_whatever_goes_wrong(
    open_impaired: OpenImpaired, board: str, impair: str, counter: str
) -> None:
    lab = open_impaired(impair, hub={"board": board})
    Update(lab).run()
    for wire in ("wan", "han"):
        assert sum(getattr(c, counter) for c in lanes(lab, wire).values()) > 0


@pytest.mark.parametrize("wire", ["wan", "han"])
def test_update_completes_when_a_wire_is_pulled_for_30_s(
    open_impaired: OpenImpaired, wire: str
) -> None:
    """In each phase: before the first answer, and in the midst of upload, distribution and activation."""
    clean = Update(open_impaired(folder="clean"))
    clean.run()
    middles = [0.3]
    for stage in ("upload", "distribute", "activate"):
        times = [when for name, when in clean.seen if name == stage]
        middles.append((times[0] + times[-1]) / 2 + 0.05)
    for number, when in enumerate(middles):
        lab = open_impaired(f"{wire}.pulled={when}+30", folder=f"pulled {number}")
        Update(lab).run()
        assert lab.clock_us / 1e6 > when + 30
        assert sum(c.pulled for c in lanes(lab, wire).values()) > 0
        lab.close()


def test_no_impairment_changes_nothing(open_impaired: OpenImpaired) -> None:
    lab = open_impaired()
    Update(lab).run()
    report = lab.run(lab.counters())
    client = report.client
    assert (client.retries, client.timeouts, client.strays, client.reopened) == (0, 0, 0, 0)
    assert client.answers == client.requests + 1, "and the first knock that was heard"
    for lane in report.lanes:
        assert lane.counters.damaged == lane.counters.duplicated == lane.counters.retries == 0
    lost = {board.name: board.uart_lost for board in report.boards}
    assert lost["hub"] == 0
    assert lost["PPMID"] in range(54), "the end of a tunnel at most, while it begins to activate"


def test_same_seed_same_losses(open_impaired: OpenImpaired) -> None:
    reports = []
    for folder in ("first", "second"):
        lab = open_impaired(both("loss=0.2"), folder=folder)
        Update(lab).run()
        reports.append((lab.clock_us, lab.run(lab.counters()).as_dict()))
    assert reports[0] == reports[1]


# -- every lost frame shows in the counters


def test_wan_counters_tell_the_same_on_both_sides(open_impaired: OpenImpaired) -> None:
    """What the client sent is what went on the wire; what was not lost there, the board took."""
    lab = open_impaired("wan.loss=0.2,wan.duplicate=0.1,wan.truncate=0.1")
    Update(lab).run()
    report = lab.run(lab.counters())
    wire = {(r.source, r.sink): r.counters for r in report.lanes if r.wire == "wan"}
    to_hub, from_hub = wire["host", "hub"], wire["hub", "host"]
    client = report.client
    assert client.knocks + client.requests + client.retries == to_hub.sent
    assert client.answers + client.strays == from_hub.delivered
    assert to_hub.lost > 0
    assert client.retries > 0
    assert client.timeouts >= client.retries / lab.config.hub.board.smp.buf_count
    hub = next(b for b in report.boards if b.name == "hub")
    assert hub.wan["repeats"] > 0, "writes that came again were not carried out again"
    # a request that arrives in good order is answered, once; only while the CH starts it is not
    assert from_hub.sent <= to_hub.delivered
    assert from_hub.sent >= to_hub.delivered - client.knocks


def test_han_counters_tell_the_same_on_both_sides(open_impaired: OpenImpaired) -> None:
    """What the firmware sent, the radio sent, with its retries; what was not lost there, the other took."""
    # a seed by which no frame that comes twice falls into the PPMID's flash work
    lab = open_impaired("han.loss=0.2,han.flips=0.0005", seed=7)
    image = make_image(20_000)
    lab.run(lab.update_firmware(image, lab.device("PPMID")))
    report = lab.run(lab.counters())
    air = {(r.source, r.sink): r.counters for r in report.lanes if r.wire == "han"}
    stats = {board.name: board.han for board in report.boards}
    lost_in_flash_work = {board.name: board.uart_lost for board in report.boards}
    dropped = ("replay", "unproved", "unhandled", "mic", "fcs", "framing")
    for source, sink in (("hub", "PPMID"), ("PPMID", "hub")):
        way, back = air[source, sink], air[sink, source]
        assert way.sent == stats[source]["tx"] + way.retries
        heard = sum(stats[sink][name] for name in ("rx", *dropped))
        assert heard == way.delivered + way.duplicated, "damaged ones its radio dropped"
        assert lost_in_flash_work[sink] == 0
        assert way.lost > 10
        assert way.damaged > 3
        # each try that did not get through, or whose acknowledgement did not, was followed by another one
        vain = way.lost + way.damaged + way.acks_lost - way.pulled
        assert vain - way.given_up <= way.retries + 1 + back.pulled
        assert 10 < stats[sink]["replay"] <= way.acks_lost, "a frame that came twice counts once"


def test_uart_octets_lost_in_flash_work_are_counted(open_impaired: OpenImpaired) -> None:
    """A Pico's interrupts are off while its flash works: of what comes meanwhile 32 octets stay."""
    lab = open_impaired("wan.duplicate=1", hub={"board": "pico"})
    Update(lab).run()
    hub = next(b for b in lab.run(lab.counters()).boards if b.name == "hub")
    assert hub.uart_lost
    assert hub.uart_lost > 1000


# -- the radio


def test_radio_sends_again_what_is_not_acknowledged(open_desk: OpenDesk) -> None:
    desk = open_desk()
    frames: list[bytes] = []
    desk.kernel.run_until_host_ready(5_000_000)
    desk.air.capture(lambda _, psdu: frames.append(psdu))
    desk.boards["hub"].power_off()
    desk.boards["PPMID"].power_off()
    desk.boards["PPMID"].power_on()
    desk.kernel.run_until_host_ready(desk.kernel.now + 1_400_000)
    times = Counter(bytes(frame) for frame in frames)
    assert not [frame for frame in times if len(frame) == ACK_OCTETS]
    unicast = [frame for frame in times if frame[0] & 0x20]
    assert unicast, "it asks the CH where their counters are, each time with the same octets"
    asked = times[unicast[0]]
    assert asked >= 1 + MAX_RETRIES
    assert asked % (1 + MAX_RETRIES) == 0
    assert desk.air.lanes["PPMID", "hub"].counters.given_up >= 1
    frames.clear()
    desk.boards["hub"].power_on()
    desk.kernel.run_until_host_ready(desk.kernel.now + 5_000_000)
    broadcast = [bytes(frame) for frame in frames if not frame[0] & 0x20 and len(frame) > 40]
    assert len(broadcast) == 1, "it announces itself, and nobody acknowledges that"


# -- lanes


def carried(
    impairments: Impairments, units: int = 5000, *, seed: int = 1, gap_us: int = 1000
) -> tuple[Lane, list[tuple[int, bytes]]]:
    """A lane after `units` numbered units of 20 octets, one each `gap_us`; what came, and when."""
    kernel = Kernel(seed)
    came: list[tuple[int, bytes]] = []
    lane = Lane(kernel, "wire", "a", "b", impairments, lambda when, unit: came.append((when, unit)))
    for number in range(units):
        kernel.run_until_host_ready(number * gap_us)
        lane.take(kernel.now, number.to_bytes(4, "big") * 5)
    kernel.run_until_host_ready(kernel.now + 10_000_000)
    assert lane.counters.adds_up
    assert lane.counters.sent == units
    assert len(came) == lane.counters.delivered + lane.counters.damaged
    return lane, came


def numbers(came: list[tuple[int, bytes]]) -> list[int]:
    return [int.from_bytes(unit[:4], "big") for _, unit in came]


def test_perfect_lane() -> None:
    lane, came = carried(PERFECT)
    assert numbers(came) == list(range(5000))
    assert lane.counters.delivered == 5000


@pytest.mark.parametrize("burst", [1.0, 4.0, 10.0])
def test_loss_is_the_share_of_all_and_burst_its_length(burst: float) -> None:
    lane, came = carried(Impairments(loss=0.2, burst=burst), 20_000)
    assert 0.17 < lane.counters.lost / 20_000 < 0.23
    there = set(numbers(came))
    runs = sum(1 for n in range(20_000) if n not in there and n - 1 in there)
    expected = burst if burst > 1 else 1.25  # independent losses touch one another as well
    assert expected * 0.85 < lane.counters.lost / runs < expected * 1.15


def test_all_is_lost_at_rate_1() -> None:
    assert carried(Impairments(loss=1.0, burst=3.0))[1] == []


def test_flips_are_of_octets() -> None:
    lane, came = carried(Impairments(flips=0.01))
    flipped = sum(
        (a ^ b).bit_count()
        for n, (_, unit) in enumerate(came)
        for a, b in zip(unit, n.to_bytes(4, "big") * 5, strict=True)
    )
    assert 800 < flipped < 1200, "of 100,000 octets"
    assert lane.counters.damaged == lane.counters.flipped > 700
    _, all_of_them = carried(Impairments(flips=1.0), 10)
    assert all(
        (a ^ b).bit_count() == 1
        for n, (_, unit) in enumerate(all_of_them)
        for a, b in zip(unit, n.to_bytes(4, "big") * 5, strict=True)
    )


def test_truncated_duplicated_reordered() -> None:
    lane, came = carried(Impairments(truncate=0.3))
    assert 1300 < lane.counters.truncated < 1700
    assert {len(unit) for _, unit in came} == set(range(1, 21))
    lane, came = carried(Impairments(duplicate=0.3))
    assert 1300 < lane.counters.duplicated < 1700
    assert numbers(came) == sorted(numbers(came)), "copies come one behind the other"
    lane, came = carried(Impairments(reorder=0.3))
    order = numbers(came)
    assert sorted(order) == list(range(5000))
    assert max(abs(n - at) for at, n in enumerate(order)) == 1, "neighbours change places"
    assert 800 < lane.counters.reordered < 1700
    lane, came = carried(Impairments(reorder=1.0), 1)
    assert [when for when, _ in came] == [100_000], "nothing overtakes the last one"


def test_stall_keeps_the_order() -> None:
    lane, came = carried(Impairments(stall=0.01, stall_s=0.5), 1000)
    assert lane.counters.stalled > 3
    assert numbers(came) == list(range(1000))
    whens = [when for when, _ in came]
    assert whens == sorted(whens)
    assert max(when - n * 1000 for n, when in enumerate(whens)) >= 500_000


def test_pulled_wire_carries_nothing() -> None:
    lane, came = carried(Impairments(pulled=((1.0, 2.0), (4.0, 0.5))))
    assert numbers(came) == [*range(1000), *range(3000, 4000), *range(4500, 5000)]
    assert lane.counters.lost == lane.counters.pulled == 2500


def test_lanes_have_generators_of_their_own() -> None:
    bad = Impairments(loss=0.3, flips=0.01, reorder=0.1)
    assert carried(bad)[1] == carried(bad)[1] != carried(bad, seed=2)[1]


def test_all_together_add_up() -> None:
    rng = random.Random(1)
    for seed in range(20):
        rates = ("loss", "flips", "truncate", "duplicate", "reorder", "stall")
        settings: dict[str, Any] = {name: rng.random() / 3 for name in rates}
        bad = Impairments(**settings, burst=1 + 5 * rng.random(), stall_s=0.01)
        carried(bad, 300, seed=seed)


# -- wires that change


def test_wires_that_become_bad_and_good_again(open_impaired: OpenImpaired) -> None:
    """Damaged frames are dropped by their FCS on the air of before, too."""
    lab = open_impaired()
    Update(lab).run()
    lab.desk.impair(Impairments(loss=0.2), Impairments(flips=0.005))
    Update(lab, version="IHDAE07").run()
    lab.desk.impair(PERFECT, PERFECT)
    lost = sum(c.lost for c in lanes(lab, "wan").values())
    damaged = sum(c.damaged for c in lanes(lab, "han").values())
    assert lost > 3
    assert damaged > 20
    assert [b.han["fcs"] for b in lab.run(lab.counters()).boards] == [0, 0], "radios dropped them"
    Update(lab, version="IHDAE08").run()
    assert sum(c.lost for c in lanes(lab, "wan").values()) == lost
    assert sum(c.damaged for c in lanes(lab, "han").values()) == damaged


# -- settings


def test_settings_of_a_lab(open_impaired: OpenImpaired) -> None:
    base = {
        "comms_hub": {"board": "pico", "model": "skyline-i510", "eui": "00-DB-12-34-56-78-90-A2"}
    }
    lab = make_lab(
        "test", {**base, "wan": {"loss": 0.2, "pulled": [[1, 2.5]]}, "han": {"burst": 3}}
    )
    assert lab.wan == Impairments(loss=0.2, pulled=((1.0, 2.5),))
    assert lab.han == Impairments(burst=3.0)
    assert not lab.han.any
    more = lab.impaired("wan.loss=0.3, han.flips=0.001,wan.pulled=7+1")
    assert more.wan == Impairments(loss=0.3, pulled=((1.0, 2.5), (7.0, 1.0)))
    assert more.han == Impairments(burst=3.0, flips=0.001)
    assert make_lab("test", {**base, "wan": {}}).wan is not None
    assert str(more.wan) == "loss=0.3,pulled=1+2.5,pulled=7+1"


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ({"los": 0.1}, "no setting 'los'"),
        ({"loss": "much"}, "loss has to be a number"),
        ({"loss": True}, "loss has to be a number"),
        ({"loss": 1.5}, "loss has to be 0 to 1"),
        ({"flips": -0.1}, "flips has to be 0 to 1"),
        ({"loss": float("nan")}, "loss has to be 0 to 1"),
        ({"burst": 0.5}, "burst has to be 1"),
        ({"stall_s": -1}, "stall_s has to be 0"),
        ({"pulled": 3}, "pulled has to be a list"),
        ({"pulled": [[1]]}, "pulled has to be a list"),
        ({"pulled": [[1, 0]]}, "pulled has to be a list"),
        ({"pulled": [[-1, 1]]}, "pulled has to be a list"),
        ([], "has to be a table"),
    ],
)
def test_wrong_settings(table: Any, wrong: str) -> None:
    with pytest.raises(UsageError) as failed:
        read_impairments(table, "wan")
    assert failed.value.what.startswith("wan")
    assert wrong in failed.value.what


@pytest.mark.parametrize(
    "text",
    ["loss=0.2", "wan=0.2", "lan.loss=0.2", "wan.loss", "wan.loss=x", "wan.pulled=3", "wan.x=1"],
)
def test_wrong_impair_option(text: str) -> None:
    with pytest.raises(UsageError, match="--impair"):
        config().impaired(text)


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.ota").write_bytes(make_image().to_bytes())

    def hanlab(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["hanlab", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out + shown.err

    impair = both("loss=0.2")
    code, shown = hanlab(
        "push", "image.ota", "--to", "PPMID", "--direct", "--impair", impair, "--json"
    )
    assert code == 0, shown
    report = json.loads(shown)
    assert report["counters"]["adds_up"] is True
    assert report["counters"]["client"]["retries"] > 0
    code, shown = hanlab(
        "activate", "PPMID", "--direct", "--image", "image.ota", "--impair", impair
    )
    assert code == 0, shown
    assert "WAN host → hub" in shown
    assert "HAN hub → PPMID" in shown
    assert "COBS: dropped" not in shown
    code, shown = hanlab("devices", "--counters", "--json")
    assert code == 0, shown
    assert {b["name"] for b in json.loads(shown)["counters"]["boards"]} == {"hub", "PPMID"}
    code, shown = hanlab("version", "PPMID", "--impair", "wan.loss=2")
    assert code == 2
    assert "wan: loss has to be 0 to 1" in shown


# -- deadlines


@pytest.mark.parametrize("board", BOARDS)
def test_deadlines_are_the_boards(open_impaired: OpenImpaired, board: str) -> None:
    lab = open_impaired(hub={"board": board})
    assert lab.home().wan.limits == Limits(), "of a board that has not been asked"
    lab.run(lab.store())
    said = limits(lab.config.hub.board)
    assert lab.home().wan.limits == Limits(
        said["reply_ms"] / 1000,
        said["write_octets_s"],
        said["hash_octets_s"],
        said["han_ms"] / 1000,
    )
    assert Limits().hash_s(100_000) == pytest.approx(1.0)


# -- resume


class Killed(Exception):
    """The host's process ends here."""


def kill_at(stage: str, octets: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.stage == stage and progress.done >= octets:
            raise Killed

    return report


CHECKPOINT = 16_384
SIZE = 48 * 1024


@pytest.mark.parametrize("octets", [0, 9_000, 25_000, 40_000, SIZE])
def test_killed_in_the_upload(open_impaired: OpenImpaired, octets: int) -> None:
    """The next push goes on at the last checkpoint, whose octets are proved by their hash."""
    image = make_image(SIZE)
    kill = kill_at("upload", octets)
    with open_impaired() as lab, pytest.raises(Killed):
        lab.run(lab.update_firmware(image, lab.device("PPMID"), kill))
    update = Update(open_impaired(), SIZE)
    update.run()
    uploads = [note for note in update.notes if "the CH has" in note or "right SHA-256" in note]
    if CHECKPOINT < octets < SIZE:
        at = int(uploads[0].split()[3].strip(":").replace(",", ""))
        assert octets - CHECKPOINT - 4096 <= at <= octets + 4096
        sent = update.lab.home().wan.octets_sent
        assert sent < len(image.to_bytes()) - at + 12_000, "and only the rest went over the wire"


@pytest.mark.parametrize("octets", [0, 20_000, 40_000])
def test_killed_in_the_distribution(open_impaired: OpenImpaired, octets: int) -> None:
    """Both boards lose their power with the host: the device goes on where its flash has it."""
    image = make_image(SIZE)
    kill = kill_at("distribute", octets)
    with open_impaired() as lab, pytest.raises(Killed):
        lab.run(lab.update_firmware(image, lab.device("PPMID"), kill))
    update = Update(open_impaired(), SIZE)
    update.run()
    assert update.lab.home().wan.octets_sent < 12_000, "the CH had all of it"
    if octets > CHECKPOINT:
        # the CH goes on by itself; the next 11.1 finds that the device has all
        note, _ = [note for note in update.notes if "goes on at" in note]
        at = int(note.split()[3].strip(":").replace(",", ""))
        assert octets - CHECKPOINT - 200 <= at <= octets + 200
        assert "have the right SHA-256" in note


def test_killed_in_the_activation(open_impaired: OpenImpaired) -> None:
    image = make_image()
    hash_ = image.manufacturer_image_hash
    with open_impaired() as lab:
        ppmid = lab.device("PPMID")
        lab.run(lab.update_firmware(image, ppmid))
        with pytest.raises(Killed):
            lab.run(lab.activate_firmware(hash_, ppmid, kill_at("activate", 0)))
    with open_impaired() as lab:
        ppmid = lab.device("PPMID")
        assert lab.run(lab.activate_firmware(hash_, ppmid)) is Outcome.ACTIVATED
        assert lab.run(lab.wait_until_back(ppmid)).firmware == image.version


@pytest.mark.parametrize(
    ("stage", "why"), [("upload", "of another image"), ("distribute", "not this file's")]
)
def test_file_swapped_meanwhile(open_impaired: OpenImpaired, stage: str, why: str) -> None:
    """The octets of one image are never taken for another's, though it has the same size."""
    with open_impaired() as lab, pytest.raises(Killed):
        lab.run(lab.update_firmware(make_image(SIZE), lab.device("PPMID"), kill_at(stage, 40_000)))
    with open_impaired() as lab:
        other = make_image(SIZE, "IHDAE07")
        ppmid = lab.device("PPMID")
        lab.power_cycle(ppmid, off_s=60)  # the CH would go on, and gives up
        for image in lab.run(lab.store()).images:
            lab.run(lab.evict(image.id))
        notes: list[str] = []
        lab.run(lab.update_firmware(other, ppmid, lambda p: notes.append(p.note)))
        assert [note for note in notes if note.startswith("starts again") and why in note]
        lab.run(lab.activate_firmware(other.manufacturer_image_hash, ppmid))
        assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE07"


@pytest.mark.parametrize("who", ["hub", "PPMID", "both"])
def test_board_restarts_in_the_distribution(open_impaired: OpenImpaired, who: str) -> None:
    """The CH goes on with its job; a device is notified again."""
    lab = open_impaired()
    ppmid = lab.device("PPMID")
    image = make_image(SIZE)
    cut = {"hub": (lab.hub,), "PPMID": (ppmid,), "both": (lab.hub, ppmid)}[who]
    cuts: list[int] = []
    notes: list[str] = []

    def report(progress: Progress) -> None:
        if progress.note:
            notes.append(progress.note)
        if progress.stage == "distribute" and progress.done >= 30_000 and not cuts:
            cuts.append(progress.done)
            lab.power_cycle(*cut)

    assert lab.run(lab.update_firmware(image, ppmid, report)) is Outcome.DISTRIBUTED
    assert cuts
    if who != "PPMID":
        assert "goes on at" in notes[-1]
