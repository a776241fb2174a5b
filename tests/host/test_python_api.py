"""A lab in somebody's own Python: what host/README.md shows runs, and wrong usage is said at once."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hanlab.duis.messages import ReadFirmwareVersion
from hanlab.errors import HanlabError, UsageError
from hanlab.lab import Lab

README = Path(__file__).parents[2] / "host" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no "was never awaited"
        with Lab.open(state=str(tmp_path / "state")) as opened:
            yield opened


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_readme_runs_twice(number: int, tmp_path: Path) -> None:
    Path(tmp_path, "example.py").write_text(EXAMPLES[number])
    said = [
        subprocess.run(
            [sys.executable, "-W", "error", "example.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    promised = re.findall(r"print\(.*\)  # (.+)", EXAMPLES[number])
    assert promised
    assert said == ["".join(f"{line}\n" for line in promised)] * 2


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2


async def use_inside(lab: Lab) -> None:
    lab.run(lab.store())


async def close_inside(lab: Lab) -> None:
    lab.close()


@pytest.mark.parametrize("use", [use_inside, close_inside])
def test_a_lab_inside_asyncio_run(lab: Lab, use: Callable[[Lab], Any]) -> None:
    with pytest.raises(UsageError, match="was called by a coroutine") as wrong:
        asyncio.run(use(lab))
    assert "asyncio.to_thread" in wrong.value.next_step
    assert lab.run(lab.store()).images == []  # and it is as it was


def test_what_a_thread_of_its_own_does(lab: Lab) -> None:
    """As the next step says."""

    async def main() -> int | None:
        store = await asyncio.to_thread(lambda: lab.run(lab.store()))
        return store.capacity

    assert asyncio.run(main()) == 393_216


@pytest.mark.parametrize(
    "call",
    [
        lambda lab: lab.store(),
        lambda lab: lab.evict(1),
        lambda lab: lab.han_devices(),
        lambda lab: lab.read_firmware_version(lab.devices[0]),
        lambda lab: lab.wait_until_back(lab.devices[0]),
        lambda lab: lab.activate_firmware(bytes(32), lab.devices[0]),
        lambda lab: lab.send(ReadFirmwareVersion(), lab.devices[0].eui),
        lambda lab: lab.counters(),
        lambda lab: lab.heap(lab.hub),
        lambda lab: lab.store_of(lab.hub),
    ],
)
def test_a_coroutine_that_is_awaited_outside(lab: Lab, call: Callable[[Lab], Any]) -> None:
    """It says so at once: it had waited for a minute, for a board that cannot answer."""
    before = lab.clock_us
    with pytest.raises(UsageError, match="is awaited outside of the lab") as wrong:
        asyncio.run(call(lab))
    assert "lab.run(lab." in wrong.value.next_step
    assert lab.clock_us == before


@pytest.mark.parametrize(
    "use",
    [
        lambda lab: lab.run(lab.store()),
        lambda lab: lab.dsp,
        lambda lab: lab.office,
        lambda lab: lab.clock_us,
        lambda lab: lab.desk,
        lambda lab: lab.power_cycle(lab.hub),
        lambda lab: lab.board(lab.hub),
        lambda lab: lab.network_keys,
        lambda lab: lab.frames_on_air,
        lambda lab: lab.serve(print),
    ],
)
def test_a_closed_lab(lab: Lab, use: Callable[[Lab], Any]) -> None:
    assert lab.dsp.smi.count() == 2
    lab.close()
    with pytest.raises(UsageError, match="the lab is closed") as wrong:
        use(lab)
    assert wrong.value.next_step == "Lab.open() opens it again"
    lab.close()  # once more is no harm


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_coroutine_that_nobody_runs(tmp_path: Path) -> None:
    """The next thing that is done with the lab says it, its end at the latest."""
    with Lab.open(state=tmp_path) as lab:
        ppmid = lab.devices[0]
        lab.read_firmware_version(ppmid)  # type: ignore[unused-coroutine]
        with pytest.raises(
            UsageError, match=r"read_firmware_version.* was called and never run"
        ) as wrong:
            lab.run(lab.store())
        assert wrong.value.next_step == "lab.run(lab.read_firmware_version(…))"
        assert lab.run(lab.store()).used == 0, "said once"
    with pytest.raises(UsageError, match="never run"), Lab.open(state=tmp_path) as lab:
        lab.store()  # type: ignore[unused-coroutine]
    with pytest.raises(ZeroDivisionError), Lab.open(state=tmp_path) as lab:  # is what is said then
        _ = lab.store(), 1 / 0


def test_everything_is_of_one_family() -> None:
    assert issubclass(UsageError, HanlabError)


def test_a_lab_that_nobody_closed_ends_in_silence(tmp_path: Path) -> None:
    """Its boards go off with Python."""
    script = f"""
from hanlab.lab import Lab
lab = Lab.open(state={str(tmp_path)!r}, pcap={str(tmp_path / "han.pcap")!r})
print(lab.run(lab.store()).used)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


@pytest.mark.parametrize("impair", ["wan.loss=1", "han.loss=1"])
def test_a_lab_that_loses_everything_by_itself_says_so(impair: str, tmp_path: Path) -> None:
    """There is no wire to check: through the DSP, past it, and where a CH is asked for its store."""
    with Lab.open(state=str(tmp_path), impair=impair) as lab:
        ppmid = lab.device("PPMID")
        cause = lab.run(lab.send(ReadFirmwareVersion(), ppmid.eui)).cause
        assert cause
        with pytest.raises(HanlabError) as direct:
            lab.run(lab.read_firmware_version(ppmid))
        steps = [cause.next_step, direct.value.next_step]
        if impair.startswith("wan"):
            with pytest.raises(HanlabError) as store:
                lab.run(lab.store())
            steps.append(store.value.next_step)
        wire = impair.replace(".", " ")
        assert set(steps) == {
            f"without --impair (in Python impair=; or [wan], [han] in lab.toml) it answers; now {wire}"
        }
