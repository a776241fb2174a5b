"""`hanlab sweep`: a sample of its cuts, and that it finds a store that would lose something."""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
import signal
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from labs import config

from hanlab.bench.flash import Effect, Kind, Operation
from hanlab.boards.compiled import runnable
from hanlab.boards.vm import find_vm
from hanlab.cli import main
from hanlab.errors import UsageError
from hanlab.resources import firmware_dir
from hanlab.sweep.cut import run_cut, run_group
from hanlab.sweep.join import make_plan as join_plan
from hanlab.sweep.outcome import State, rows
from hanlab.sweep.picture import svg
from hanlab.sweep.plan import Cut, How, Phase, Plan
from hanlab.sweep.pool import run_cuts
from hanlab.sweep.sample import kind_of, sample
from hanlab.sweep.strip import strip
from hanlab.sweep.update import make_plan

SIZE = 8 * 1024
EVERY = 29
KINDS = 12
"""Two boards; before, in and after an operation; that board alone or everything."""

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("sweep")
    firmware = runnable(firmware_dir(), find_vm())
    return make_plan(config(), "PPMID", SIZE, folder, firmware)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `hanlab sweep` with these arguments: exit code and output."""

    def run_(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["hanlab", "sweep", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert isinstance(end.value.code, int)
        said = capsys.readouterr()
        return end.value.code, said.out + said.err

    return run_


def test_sample_of_the_sweep_loses_nothing(plan: Plan) -> None:
    cuts = sample(plan.cuts(alone=plan.boards, everything=True), EVERY, seed=1)
    results = list(run_cuts(plan, cuts, processes=2))
    assert {r.cut for r in results} == set(cuts)
    assert [(str(r.cut), r.breaches) for r in results if r.breaches] == []
    assert len({kind_of(r.cut) for r in results}) == KINDS
    assert {r.phase for r in results} == {stage.phase for stage in plan.stages}
    assert any(not r.repeated for r in results), "some updates go on by themselves"

    table = rows(plan, results)
    assert sum(row.cuts for row in table) == len(cuts)
    picture = ET.fromstring(svg(plan, table, "a sample"))
    cells = [e for e in picture.iter("{http://www.w3.org/2000/svg}rect") if len(e)]
    assert len(cells) == 6 * sum(plan.operations(board) for board in plan.boards)
    for width in (80, 120):
        assert all(len(line.plain.rstrip()) <= width for line in strip(plan, table, width)), width


def test_a_sweep_that_is_ended_waits_for_none_of_its_processes(plan: Plan) -> None:
    """After Ctrl-C they had each gone on with some twenty cuts, for half a minute."""
    cuts = [Cut(board, How.AFTER, 1, everything=True) for board in plan.boards]
    others = multiprocessing.active_children()
    results = run_cuts(plan, cuts, processes=2)
    assert not next(results).breaches
    processes = [p for p in multiprocessing.active_children() if p not in others]
    results.close()
    assert [process.exitcode for process in processes] == 2 * [-signal.SIGTERM]


def test_one_step_ch_loses_nothing(tmp_path: Path) -> None:
    """There 11.3 brings the image to the device; sent again, it finds a device that runs it already."""
    firmware = runnable(firmware_dir(), find_vm())
    plan = make_plan(
        config({"model": "am110r"}, {"activation_steps": 1}), "PPMID", 2048, tmp_path, firmware
    )
    assert [stage.phase for stage in plan.stages] == [Phase.PUSH, Phase.ACTIVATE]
    cuts = [Cut(b, How.AFTER, plan.operations(b) - 5, everything=True) for b in plan.boards]
    cuts += sample(plan.cuts(alone=plan.boards, everything=True), 53, seed=1)
    results = run_cuts(plan, cuts, processes=1)
    assert [(str(r.cut), r.breaches) for r in results if r.breaches] == []


def test_the_chs_own_update_loses_nothing(tmp_path: Path) -> None:
    """It runs the old version or the new one, and has its image until the new one has confirmed."""
    firmware = runnable(firmware_dir(), find_vm())
    plan = make_plan(config(), "hub", 2048, tmp_path, firmware)
    assert plan.boards == ("hub",)
    assert [stage.phase for stage in plan.stages] == [Phase.PUSH, Phase.ACTIVATE]
    cuts = sample(plan.cuts(alone=plan.boards, everything=True), 53, seed=1)
    results = run_cuts(plan, cuts, processes=1)
    assert [(str(r.cut), r.breaches) for r in results if r.breaches] == []


def test_a_join_leaves_nothing_half_joined(tmp_path: Path) -> None:
    """Wherever it is cut: on the HAN for CH, device and inventory, or on none and joined again; all else stays."""
    firmware = runnable(firmware_dir(), find_vm())
    plan = join_plan(config(), "PPMID", tmp_path, firmware)
    assert [stage.phase for stage in plan.stages] == [Phase.JOIN]
    assert all(plan.operations(board) > 10 for board in ("hub", "PPMID"))
    cuts = sample(plan.cuts(alone=plan.boards, everything=True), 40, seed=1)
    results = list(run_cuts(plan, cuts, processes=2))
    assert len({kind_of(r.cut) for r in results}) == KINDS
    assert [(str(r.cut), r.breaches) for r in results if r.breaches] == []
    assert {bool(r.repeated) for r in results} == {False, True}


def test_plan_counts_every_operation_once(plan: Plan) -> None:
    assert [stage.phase for stage in plan.stages] == [Phase.PUSH, Phase.DISTRIBUTE, Phase.ACTIVATE]
    for board in plan.boards:
        numbers = [n for stage in plan.stages for n in stage.numbers(board)]
        assert numbers == list(range(1, plan.operations(board) + 1))
    hub, device = plan.boards
    pages = SIZE // 256
    assert plan.operations(hub) > pages, "the image goes through the flash of the CH"
    assert plan.operations(device) > pages
    cuts = list(plan.cuts(alone=plan.boards, everything=True))
    assert len(set(cuts)) == len(cuts) == 6 * (plan.operations(hub) + plan.operations(device))
    assert all(Cut.parse(str(cut)) == cut for cut in cuts)


@pytest.mark.parametrize("every", [1, 2, 3, 6, 12, 29, 100_000])
def test_a_sample_has_as_much_of_each_kind(plan: Plan, every: int) -> None:
    """No N shares a rhythm with the kinds, which take turns in the list."""
    cuts = list(plan.cuts(alone=plan.boards, everything=True))
    taken = sample(cuts, every, seed=1)
    assert taken == sample(cuts, every, seed=1), "the same by the same seed"
    assert taken == [cut for cut in cuts if cut in set(taken)], "each once, in order"
    tried = Counter(map(kind_of, taken))
    assert len(tried) == KINDS
    for (board, _, _), number in tried.items():
        share = plan.operations(board) / every
        assert max(1, int(share)) <= number <= share + 1
    if every == 1:
        assert taken == cuts
    elif every < 100:
        assert taken != sample(cuts, every, seed=2)
        assert {plan.find(cut)[0].phase for cut in taken} == {s.phase for s in plan.stages}


def test_a_sample_takes_other_operations_for_each_kind(plan: Plan) -> None:
    """Else a twelfth of the operations would be all that is ever met."""
    taken = sample(plan.cuts(alone=plan.boards, everything=True), 12, seed=1)
    met = {(cut.board, cut.operation) for cut in taken}
    assert len(met) > 0.7 * len(taken)


def test_samples_of_many_seeds_come_to_every_cut(plan: Plan) -> None:
    """Also to the last operation of a board, which no full stretch may have."""
    cuts = [cut for cut in plan.cuts(alone=("PPMID",), everything=False) if cut.how is How.TORN]
    for every in (5, 6, 7, 8):
        seen = {cut for seed in range(150) for cut in sample(cuts, every, seed)}
        assert seen == set(cuts), every


@pytest.mark.parametrize("everything", [False, True])
def test_same_cut_same_result(plan: Plan, tmp_path: Path, everything: bool) -> None:
    cut = Cut("PPMID", How.TORN, plan.operations("PPMID") - 10, everything)
    first, second = (run_cut(plan, cut, tmp_path / name) for name in ("a", "b"))
    assert first == second
    assert first.clock_us > 0


def test_cuts_in_a_group_end_as_alone(plan: Plan, tmp_path: Path) -> None:
    """After one operation and before the next one: what flash holds is the same, and is run once."""
    number = plan.operations("PPMID") - 10
    cuts = (
        Cut("PPMID", How.AFTER, number, everything=True),
        Cut("PPMID", How.BEFORE, number + 1, everything=True),
    )
    together = run_group(plan, cuts, tmp_path / "group")
    assert together == [run_cut(plan, cut, tmp_path / "alone") for cut in cuts]


def test_cuts_that_are_none(plan: Plan) -> None:
    for text in ("", "hub", "hub:torn", "hub:torn:x", "hub:bent:3", "hub:torn:3:all", "hub:torn:²"):
        with pytest.raises(UsageError):
            Cut.parse(text)
    for text in ("nobody:torn:3", "hub:torn:0", "hub:torn:99999"):
        with pytest.raises(UsageError):
            plan.find(Cut.parse(text))


# -- it can fail


_CARELESS = {
    "store": ("store/journal.py", '        with open(new, "wb") as f:\n', "        remove(path)\n"),
    "table": (
        "roles/device_table.py",
        "        saved.save_both(self._path, record)\n",
        "        return\n",
    ),
}


@pytest.fixture
def careless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Firmware whose store removes its journal before it writes the next one; whose CH keeps its devices in RAM."""
    folder = tmp_path / "careless"
    shutil.copytree(firmware_dir(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    file, careful, before = _CARELESS[request.param]
    path = folder / "smets1" / file
    source = path.read_text()
    assert source.count(careful) == 1
    path.write_text(source.replace(careful, before + careful))
    command = import_module("hanlab.cli.sweep")
    monkeypatch.setattr(command, "firmware_dir", lambda: folder)


@pytest.mark.parametrize("careless", ["table"], indirect=True)
@pytest.mark.usefixtures("careless")
def test_a_sweep_finds_a_join_that_is_half(run: Run) -> None:
    code, said = run("--join", "PPMID", "--only", "PPMID:before:1", "--json")
    _, last = json.loads(said)["phases"]["join"]["PPMID"]
    cut = f"PPMID:after:{last}:both"
    code, said = run("--join", "PPMID", "--only", cut, "--json")
    assert code == 1
    report: dict[str, Any] = json.loads(said)
    assert (report["of"], report["octets"]) == ("join", None)
    (broken,) = report["results"]
    assert broken["breaches"][0] == "half joined: the CH says none, the device joined"
    assert broken["command"] == f"hanlab sweep --join PPMID --only {cut}"


@pytest.mark.parametrize("careless", ["store"], indirect=True)
@pytest.mark.usefixtures("careless")
def test_sweep_finds_a_store_that_loses(run: Run) -> None:
    code, said = run("--board", "both", "--size", "1K", "--every", "42", "--json")
    assert code == 1
    report: dict[str, Any] = json.loads(said)
    broken = [r for r in report["results"] if r["breaches"]]
    assert len(broken) == report["breaches"] >= 1
    assert broken[0]["command"] == f"hanlab sweep --size 1K --only {broken[0]['cut']}"
    code, said = run("--size", "1K", "--only", broken[0]["cut"], "--json")
    assert code == 1, "the same cut alone"
    assert json.loads(said)["results"] == [broken[0]]


# -- the command


def test_one_cut_of_a_join(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "one.svg"
    code, said = run("--join", "PPMID", "--only", "hub:torn:12", "--svg", str(picture))
    assert code == 0, said
    assert "A join of a Pipit 500 on Raspberry Pi Pico to the HAN of a Skyline i-510" in said
    assert "a page program in join" in " ".join(said.split())
    assert "✓ done" in said
    assert "A join, with the power cut" in picture.read_text()


def test_only_one_cut(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "one.svg"
    code, said = run("--only", "hub:torn:12", "--svg", str(picture))
    assert code == 0, said
    assert "hub:torn:12: hub alone loses power in the middle of flash operation 12 of" in said
    assert "✓ done" in said
    assert picture.read_text().startswith("<svg")


def test_a_share_of_the_cuts_says_which(run: Run) -> None:
    """Each Nth of the list would have tried one kind of cut in six, and said that nothing is lost."""
    code, said = run("--size", "256", "--every", "72")
    assert code == 0, said
    rows = re.findall(r"^ *(hub|PPMID) +(\w+), (.+?) {2,}(\d+) +(\d+) +\d+ ", said, re.MULTILINE)
    assert len({row[:3] for row in rows}) == KINDS, "what was tried, for each kind on each board"
    operations, tried = (sum(int(row[n]) for row in rows) for n in (3, 4))
    assert all(int(row[4]) >= 1 for row in rows)
    flat = " ".join(said.split())
    assert f"{tried:,} of {operations:,} cuts" in flat, "announced"
    assert f"{tried:,} of the {operations:,} cuts of an update of" in flat
    assert "12 of the 12 kinds of cut" in flat
    assert "nothing lost in these" in flat


def test_one_board_alone_is_not_said_to_be_all(run: Run) -> None:
    code, said = run("--board", "device", "--size", "256", "--every", "50", "--seed", "7", "--json")
    assert code == 0, said
    report: dict[str, Any] = json.loads(said)
    assert {(r["board"], r["how"]) for r in report["rows"]} == {("PPMID", str(how)) for how in How}
    assert sum(r["cuts"] for r in report["rows"]) == report["cuts"] < report["possible_cuts"] / 50


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "hub:torn"), "is no cut"),
        (("--only", "hub:torn:9999"), "flash operations in this update"),
        (("--board", "gateway"), "one of hub, device, both"),
        (("--size", "much"), "is no size"),
        (("--join", "PPMID", "--size", "1K"), "--join is of a join"),
        (("--join", "hub"), "hub is a CH, and devices join it"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, said = run(*arguments)
    assert code == 2
    assert words in said


# -- the model of a torn operation


def test_torn_operation_is_between_before_and_after() -> None:
    for number in range(1, 40):
        erase = Operation(number, Kind.ERASE, 0, b"\xff" * 4096)
        old = bytes(range(256)) * 16
        torn = erase.leaves(Effect.CUT_TORN, old)
        assert len(torn) == len(old)
        assert all(not was & ~now & 0xFF for was, now in zip(old, torn, strict=True)), "1 stays 1"
        page = Operation(number, Kind.PROGRAM, 0, bytes(range(256)))
        blank = b"\xff" * 256
        torn = page.leaves(Effect.CUT_TORN, blank)
        assert all(now & new == new for now, new in zip(torn, page.octets, strict=True))
        assert torn == page.leaves(Effect.CUT_TORN, blank), "the same each time"
        assert page.leaves(Effect.CUT_BEFORE, blank) == page.leaves(Effect.REFUSED, blank) == blank
        assert page.leaves(Effect.CUT_AFTER, blank) == page.octets


def test_worst_state_is_shown() -> None:
    assert max(State.WENT_ON, State.BREACH, State.REPEATED) is State.BREACH
