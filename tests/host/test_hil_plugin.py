"""The pytest plugin, as a project that uses it sees it: each test here is a small project of its own.

They run in this process; what is inside of them is what users write.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import _pytest.pytester
import pytest
from _pytest.pytester import SysModulesSnapshot
from lab_file import lab_toml

from hanlab.cli import main

pytest_plugins = ["pytester"]

COMMAND = [sys.executable, "-c", "from hanlab.cli import main; main()"]
HEAD = """
import pytest
from hanlab.hil import hub_models, ppmid_models, shared_lab
"""


@pytest.fixture
def project(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.Pytester]:
    """A folder of its own. What is imported there stays imported, but for its tests: some modules come once alone."""
    monkeypatch.setattr(_pytest.pytester, "SysModulesSnapshot", _snapshot)
    monkeypatch.delenv("HANLAB_UF2", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others are slow to begin
    yield request.getfixturevalue("pytester")
    gc.collect()  # Python 3.11 fails in ast.parse where the remains of a pytest in pytest are collected just then


def _snapshot(preserve: object = None) -> SysModulesSnapshot:
    return SysModulesSnapshot(lambda module: not module.startswith(("test_", "conftest")))


def run(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run a test file with this plugin alone."""
    project.makepyfile(HEAD + test)
    return again(project, *options)


def again(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_inprocess(
        "-p", "no:cacheprovider", "-p", "hanlab.hil.plugin", *options
    )


def properties(file: Path) -> dict[str, str]:
    return {
        p.attrib["name"].removeprefix("hanlab."): p.attrib["value"]
        for p in ET.parse(file).iter("property")
    }


# -- fixtures


def test_a_device_is_updated_in_plain_code(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
def test_update(ppmid, comms_hub, home, lab, dsp, wire):
    image = ppmid.new_image(4096)
    assert ppmid.update(image).outcome == "distributed"
    assert ppmid.version != image.version
    comms_hub.assert_store(used=4188, versions=[image.version])
    ppmid.activate(image)
    assert ppmid.version == image.version
    comms_hub.assert_store(used=0, versions=[])
    assert [d.eui for d in comms_hub.han_devices] == [ppmid.eui.octets]
    assert home.devices == (ppmid,) and lab.home() is home and lab.device("PPMID") is ppmid
    assert wire.capture.stat().st_size > 10_000
""",
        "--junit-xml=report.xml",
    )
    done.assert_outcomes(passed=1)
    figures = properties(project.path / "report.xml")
    assert figures["lab"] == "default"
    assert figures["seed"] == "1"
    assert figures["PPMID.update_octets"] == "4188"
    rate, seconds = float(figures["PPMID.update_octets_s"]), float(figures["PPMID.update_s"])
    assert rate == pytest.approx(4188 / seconds, rel=1e-3)
    assert float(figures["bench_s"]) > seconds > 1


def test_each_test_has_a_fresh_lab(project: pytest.Pytester) -> None:
    test = """
@pytest.mark.parametrize("turn", range(2))
def test_update(ppmid, dsp, turn):
    assert not dsp.smi(ppmid).version == "NEXT"
    ppmid.update(ppmid.new_image(1024, "NEXT"))
    ppmid.assert_store(used=1116)
"""
    run(project, test).assert_outcomes(passed=2)


def test_a_file_may_share_one(project: pytest.Pytester) -> None:
    """Figures and alerts are each test's own all the same, and a test that needs another lab is skipped."""
    done = run(
        project,
        """
lab = shared_lab("module", comms_hub={"store": 65536})

def test_first(ppmid, dsp, comms_hub):
    image = ppmid.new_image(1024, "NEXT")
    dsp.put_on_cpl(image, ppmid)
    dsp.assert_code(dsp.update(image, ppmid), "I99")
    dsp.assert_alert("N60", ppmid, to="supplier", times=1)

def test_second(lab, ppmid, dsp, comms_hub):
    assert comms_hub.store.capacity == 65536
    ppmid.assert_store(used=1116)
    dsp.assert_no_alert()
    assert list(lab.figures) == []

@pytest.mark.hanlab(comms_hub="am110r")
def test_third(lab):
    raise AssertionError("not with this one")
""",
        "-rs",
    )
    done.assert_outcomes(passed=2, skipped=1)
    done.stdout.fnmatch_lines(["*needs model = AM110R of the CH, and here it is Skyline i-510*"])


def test_wires_are_good_again_for_the_next_test(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
lab = shared_lab("module", han={"loss": 0.5})

def test_bad(lab, wire):
    wire.impair("han.loss=0.9,wan.flips=0.1")
    wire.pull("wan", 1000.0)
    wire.cut_power(*lab.boards, at=0.5)

def test_as_before(lab):
    desk = lab.facade.desk
    assert [str(w.to_board.impairments) for w in desk.wires] == ["", ""]
    assert {str(lane.impairments) for lane in desk.air.lanes.values()} <= {"loss=0.5"}
""",
    )
    done.assert_outcomes(passed=2)


def test_the_seed_is_the_options_the_marks_or_the_labs(project: pytest.Pytester) -> None:
    test = """
@pytest.mark.hanlab(seed=5)
def test_marked(lab): assert lab.seed == {0}
def test_plain(lab): assert lab.seed == {1}
"""
    run(project, test.format(5, 1)).assert_outcomes(passed=2)
    run(project, test.format(9, 9), "--lab-seed=9").assert_outcomes(passed=2)


def test_device_models_in_a_line(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
@hub_models()
@ppmid_models("pipit-500", "sed-v3")
def test_it(ppmid, comms_hub):
    print("with", ppmid.model.model, "on", comms_hub.model.model)
""",
        "-rP",
    )
    done.assert_outcomes(passed=4)
    done.stdout.fnmatch_lines_random(
        ["with Pipit 500 on Skyline i-510", "with SED V3 on AM110R", "*test_it?*am110r*"]
    )


# -- what a test needs


def test_an_emulated_lab_is_made_as_the_test_needs_it(project: pytest.Pytester) -> None:
    run(
        project,
        """
pytestmark = pytest.mark.hanlab(comms_hub={"board": "pico", "store": 9999}, seed=5)

@pytest.mark.hanlab(comms_hub={"store": 65536}, devices=2, wan={"loss": 0.1}, dsp={"mp105": False})
def test_own(home, lab, comms_hub):
    assert [d.name for d in home.devices] == ["PPMID", "PPMID-2"]
    assert comms_hub.store.capacity == 65536 and comms_hub.board.name == "Raspberry Pi Pico"
    assert lab.seed == 5 and lab.facade.config.wan.loss == 0.1

@pytest.mark.hanlab(homes=2)
def test_homes(lab):
    assert [home.name for home in lab.homes] == ["home-1", "home-2"]
    assert lab.home("home-2").ppmids[0].name == "home-2/PPMID"
""",
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ("emulated=False", "needs real boards"),
        ("rp2040=True", "needs an emulated RP2040 (--lab rp2040)"),
        ("ble=True", "needs a CH that is reached by BLE"),
    ],
)
def test_what_no_emulated_lab_has_is_skipped(
    project: pytest.Pytester, mark: str, reason: str
) -> None:
    test = f"""
@pytest.mark.hanlab({mark})
def test_it(lab): ...
@pytest.mark.hanlab({mark})
def test_without_fixtures(): ...
"""
    done = run(project, test, "-rs")
    done.assert_outcomes(skipped=2)
    assert reason in done.stdout.str()


def test_a_mark_that_means_nothing(project: pytest.Pytester) -> None:
    done = run(project, "@pytest.mark.hanlab(device=2)\ndef test_it(lab): ...\n")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        ["*hanlab(device=…) means nothing (there are emulated, rp2040,*devices*"]
    )


REAL = lab_toml(of_hub='port = "socket://127.0.0.1:9"', top='keys = "seed"')
"""A lab of real boards, of which none is here."""


def test_a_lab_of_real_boards_is_as_it_is(project: pytest.Pytester) -> None:
    """Nothing is opened for a test that it is not made for; and without --lab no board of it is touched."""
    (project.path / "desk.toml").write_text(REAL)
    (project.path / "tox.ini").write_text("[pytest]\nhanlab_lab = desk.toml\n")
    test = """
@pytest.mark.hanlab(emulated=True)
def test_cut(ppmid): ...
@ppmid_models("sed-v3")
def test_model(ppmid): ...
@pytest.mark.hanlab(devices=2)
def test_two(lab): ...
@pytest.mark.hanlab(comms_hub={"store": 4096})
def test_store(lab): ...
@pytest.mark.hanlab(wan={"loss": 0.2})
def test_lossy(lab): ...
"""
    run(project, test).assert_outcomes(passed=5)
    done = run(project, test, "-rs", "--lab=desk.toml", "--lab-seed=4")
    done.assert_outcomes(skipped=5)
    for reason in (
        "hanlab: lab desk.toml, seed 4\n",
        "needs emulated boards (lab desk.toml)",
        "needs model = SED V3 of the PPMID, and here it is Pipit 500",
        "needs 2 devices on the HAN, and the lab has 1",
        "needs store = 4096 of the CH, and here it is 393216",
        "wan: hanlab cannot spoil a real wire, and hub has one",
    ):
        assert reason in done.stdout.str()
    assert not (project.path / ".hanlab").exists()


def test_the_same_file_runs_on_real_boards(project: pytest.Pytester) -> None:
    """Those of another hanlab, in a process of its own and in real time, at their serial ports.

    What such a lab knows is kept beside its lab.toml, and what a failed test leaves is the test's.
    """
    settings = "baud = 921600\ncable = true"
    (project.path / "theirs.toml").write_text(lab_toml(of_hub=settings, of_device=settings))
    theirs = subprocess.Popen(
        [*COMMAND, "up", "--lab", "theirs.toml", "--json"],
        cwd=project.path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert theirs.stdout
        ports = [board["pty"] for board in json.loads(theirs.stdout.readline())["boards"]]
        hub, device = (f'baud = 921600\nport = "{port}"' for port in ports)
        text = lab_toml(of_hub=hub, of_device=device, top='keys = "seed"')
        (project.path / "desk.toml").write_text(text)
        done = run(
            project,
            """
def test_update(ppmid, lab, wire):
    assert not lab.emulated
    image = ppmid.new_image(1024)
    ppmid.update(image)
    ppmid.activate(image)
    ppmid.assert_version(image.version)
    assert wire.capture.stat().st_size > 1000

def test_fails(ppmid):
    ppmid.assert_version("IHDAE05")
""",
            "--lab=desk.toml",
        )
    finally:
        theirs.kill()
        theirs.communicate()
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "E *PPMID runs is IHDAE06, not IHDAE05",
            "*/failed-test_fails: PPMID.txt,*han.pcap,*",
            "pytest *::test_fails --lab=desk.toml",
        ]
    )
    assert (project.path / ".hanlab" / "desk" / "originator_counter").exists()


def test_a_lab_that_is_none_is_said_before_anything_runs(project: pytest.Pytester) -> None:
    done = run(project, "def test_it(): ...\n", "--lab=nosuch.toml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*--lab nosuch.toml: nosuch.toml cannot be read: No such file*"])


def test_real_boards_are_for_one_process(project: pytest.Pytester) -> None:
    (project.path / "desk.toml").write_text(REAL)
    done = run(project, "def test_it(): ...\n", "--lab=desk.toml", "-p", "xdist.plugin", "-n", "2")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*one process's at a time, not 2's: -n 0"])


def test_rp2040_without_its_uf2_says_where_to_get_it(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(project, "def test_it(ppmid): ...\n", "-rs", "--lab=rp2040")
    done.assert_outcomes(skipped=1)
    assert "https://micropython.org/download/RPI_PICO/, then --uf2 FILE" in done.stdout.str()
    monkeypatch.setenv("HANLAB_UF2", "nosuch.uf2")
    done = run(project, "def test_it(ppmid): ...\n", "-rs", "--lab=rp2040")
    done.assert_outcomes(skipped=1)
    assert "there is no file nosuch.uf2" in done.stdout.str()


# -- when a test fails


def test_what_a_failed_test_leaves_behind(project: pytest.Pytester) -> None:
    test = """
def test_it(ppmid, dsp):
    ppmid.update(ppmid.new_image(1024, "NEXT"))
    dsp.assert_status(ppmid, "Suspended")
"""
    done = run(project, test, "--lab-seed=7", "--lab-failures=left")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "E *the SMI's status of PPMID is Commissioned, not Suspended; it runs IHDAE05",
            "*hanlab: boards*",
            "hub (Skyline i-510 on ESP32-DevKitC)",
            "  store: 393,216 B, used 1,116 B, *",
            "    NEXT PPMID 1,116 B stored",
            "* stored  NEXT",
            "*hanlab: files*",
            "open the HAN capture with: WIRESHARK_CONFIG_DIR=*wireshark *han.pcap",
            "*hanlab: again*",
            "pytest *::test_it --lab-seed=7",
        ]
    )
    (left,) = (project.path / "left").iterdir()
    names = {path.name for path in left.iterdir()}
    assert names == {"again.txt", "hub.txt", "PPMID.txt", "han.pcap", "han.pcap.wireshark"}
    assert "in _callTestMethod" not in done.stdout.str()
    command, *options = (left / "again.txt").read_text().splitlines()[0].split()
    assert command == "pytest"
    again(project, *options).assert_outcomes(failed=1)


def test_a_report_that_has_no_room_stops_nothing(project: pytest.Pytester) -> None:
    (project.path / "left").write_text("a file is where the folder has to be")
    test = "def test_it(lab): assert 0\ndef test_next(lab): ...\n"
    done = run(project, test, "--lab-failures=left")
    done.assert_outcomes(failed=1, passed=1)
    done.stdout.fnmatch_lines(["*hanlab: what the boards say is missing*", "*Error(*"])


def test_a_test_that_shares_its_lab_is_repeated_with_its_file(project: pytest.Pytester) -> None:
    test = 'lab = shared_lab("module")\n@pytest.mark.parametrize("a", ["x/y z"])\ndef test_it(lab, a): assert 0\n'
    done = run(project, test)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*/failed-test_it-x-y-z: *", "pytest *file.py --lab-seed=1"])


def test_a_refusal_is_said_at_the_tests_own_line(project: pytest.Pytester) -> None:
    """And not somewhere in the bench."""
    done = run(project, "def test_it(ppmid):\n    ppmid.activate(bytes(32))\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [">*ppmid.activate(bytes(32))", "E*noImageHeld (1)*11.1 comes first*"]
    )
    assert "kernel.py" not in done.stdout.str()
    assert "facade.py" not in done.stdout.str()


def test_a_board_that_died_is_shown_with_what_it_printed(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
import os, signal
def test_it(lab, ppmid):
    lab.wait(3)
    os.kill(lab.facade.board(ppmid.facade).pid, signal.SIGKILL)
    ppmid.version
""",
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["E*BoardError: board PPMID * died at 3.*", "*hanlab: boards*", "*hanlab: again*"]
    )


def test_a_coroutine_that_nobody_runs_fails_the_test(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
def test_forgotten(lab, ppmid):
    lab.facade.read_firmware_version(ppmid.facade)

def test_of_the_facade(lab, ppmid):
    lab.update_firmware(None, ppmid)

def test_awaited(lab):
    import asyncio
    asyncio.run(lab.facade.store())

def test_in_a_loop(ppmid):
    import asyncio
    async def main():
        return ppmid.version
    asyncio.run(main())
""",
        "-Wignore::RuntimeWarning",
    )
    done.assert_outcomes(failed=4)
    done.stdout.fnmatch_lines_random(
        [
            "lab.read_firmware_version(…) was called and never run: *",
            "E*a test's lab has no update_firmware: a test writes ppmid.update(image)",
            "E*lab.store(…) is awaited outside of the lab*",
            "E*the lab's run() was called by a coroutine*",
        ]
    )


# -- the first test file


def test_a_first_test_file_passes_at_once(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hanlab", "new-test", "tests/test_ppmid.py"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "next: pytest tests/test_ppmid.py\n" in capsys.readouterr().out
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert "\nhanlab new-test tests/test_ppmid.py  " in readme
    assert "\npytest tests/test_ppmid.py  " in readme
    again(project, "tests/test_ppmid.py").assert_outcomes(passed=6)
    file = project.path / "tests" / "test_ppmid.py"
    file.write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "next: hanlab new-test tests/test_another.py" in capsys.readouterr().err
    assert file.read_text() == "mine"


# -- other projects


def test_a_project_that_does_not_use_it_pays_nothing(project: pytest.Pytester) -> None:
    """pytest finds the plugin by itself, and imports no more of hanlab."""
    project.makepyfile(test_none="def test_none(): ...\n")
    script = "import pytest, sys; pytest.main(['-q', '-p', 'no:cacheprovider', 'test_none.py']); "
    script += "print(sorted(m for m in sys.modules if 'hanlab' in m))"
    said = outside(project, "-c", script).stdout
    assert said.splitlines()[-1] == "['hanlab', 'hanlab.hil', 'hanlab.hil.plugin']"


def outside(project: pytest.Pytester, *command: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, in the project's folder, with every plugin that there is."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=project.path,
        env={
            **environment,
            "PYTHONPATH": str(project.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_fixtures_of_the_same_names_are_the_projects(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import pytest\n@pytest.fixture\ndef lab(): return 'ours'\n"
        "@pytest.fixture\ndef dsp(): return 3\n"
    )
    run(project, "def test_it(lab, dsp): assert (lab, dsp) == ('ours', 3)\n").assert_outcomes(
        passed=1
    )


def test_an_option_of_the_same_name_is_another_plugins(project: pytest.Pytester) -> None:
    """Then ours is --hanlab-lab."""
    project.makepyfile(
        other="def pytest_addoption(parser): parser.addoption('--lab', dest='their_lab')\n"
    )
    project.makepyfile(
        "def test_it(request): assert request.config.getoption('their_lab') == 'x'\n"
    )
    done = outside(
        project, "-m", "pytest", "-q", "-p", "other", "-p", "no:cacheprovider", "--lab=x"
    )
    assert "1 passed" in done.stdout, done
