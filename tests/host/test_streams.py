"""`hanlab` with standard streams that take nothing, and with Ctrl-C at any moment."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hanlab.cli import ctrl_c
from hanlab.cli.show import Watch, console
from hanlab.s1sp.progress import Progress
from hanlab.sweep.pool import ctrl_c_waits

COMMAND = [sys.executable, "-c", "from hanlab.start import main; main()"]
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")

ONE_SENTENCE = "hanlab: No space left on device\n  next: "


def ended(line: str, cwd: Path) -> tuple[int, str, str]:
    """`hanlab LINE` in a shell, so that it may redirect: exit code, standard output and error."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {line}', COMMAND[0], COMMAND[2]],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@FULL
@pytest.mark.parametrize("command", ["inventory", "--help", "boards", "demo --list"])
def test_a_full_output_is_one_sentence(command: str, tmp_path: Path) -> None:
    code, out, err = ended(f"{command} > /dev/full", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith(ONE_SENTENCE)
    assert len(err.splitlines()) == 2


@FULL
def test_a_json_error_that_standard_output_does_not_take(tmp_path: Path) -> None:
    code, _, err = ended("inventory --json > /dev/full", tmp_path)
    assert code == 2
    assert json.loads(err)["error"] == "No space left on device"


@FULL
@pytest.mark.parametrize(
    "line",
    [
        "push none.ota --to PPMID 2> /dev/full",
        "nosuch 2> /dev/full",
        "nosuch > /dev/full 2> /dev/full",
        "push none.ota --to PPMID --json > /dev/full 2> /dev/full",
    ],
)
def test_an_error_that_nothing_takes_has_its_exit_code(line: str, tmp_path: Path) -> None:
    assert ended(line, tmp_path) == (2, "", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_nobody_listening(closed: str, tmp_path: Path) -> None:
    """And no file of the lab's takes its number, to be written over."""
    code, out, err = ended(f"inventory {closed}", tmp_path)
    assert (code, err) == (0, "")
    assert ("PPMID" in out) is (">&- 2" not in closed and closed != ">&-")
    code, out, _ = ended("inventory --json", tmp_path)
    assert len(json.loads(out)["devices"]) == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    """What is written to a stream by its number (Ctrl-C, a child) would end up in that file."""
    code = (
        "import os; from hanlab.cli import streams; streams.prepare();"
        f"fd = os.open({os.devnull!r}, 0); open({str(tmp_path / 'fd')!r}, 'w').write(str(fd))"
    )
    subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code], check=True)
    assert int((tmp_path / "fd").read_text()) > 2


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_one_that_libraries_can_log_to(closed: str) -> None:
    """`hanlab serve >&-` ended in a traceback of a logging library, to which it was None."""
    code = "import sys; from hanlab.cli import streams; streams.prepare(); sys.exit(None in (sys.stdout, sys.stderr))"
    subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code], check=True)


def test_a_reader_that_goes_during_progress_is_a_broken_pipe() -> None:
    """`hanlab push … | head -1`: it was a KeyError, and exit code 1, which says that a device refused."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    out = console()
    out.file = Gone()
    with Watch(out, lambda: 0, device="PPMID") as watch:
        watch(Progress("upload", 10, 10))
        with pytest.raises(BrokenPipeError):
            watch(Progress("distribute", 1, 10))


def test_what_a_sweep_starts_never_hears_ctrl_c() -> None:
    def blocked() -> str:
        code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout

    with ctrl_c_waits():
        assert blocked() == "True\n"
    assert blocked() == "False\n"


STOP_AT_IMPORT = """
import builtins, os, signal, sys
sys.argv = ["hanlab", *sys.argv[1:]]
real = builtins.__import__
def stop(name, *args, **kwargs):
    if name == "hanlab.cli":
        signal.raise_signal(signal.SIGINT)
    return real(name, *args, **kwargs)
builtins.__import__ = stop
from hanlab.start import main
main()
"""


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_ctrl_c_before_the_command_has_begun(json_: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOP_AT_IMPORT, "inventory", *json_], capture_output=True, text=True
    )
    assert done.returncode == 130
    if json_:
        assert json.loads(done.stdout)["error"] == "stopped by Ctrl-C"
    else:
        assert (done.stdout, done.stderr) == ("", "hanlab: stopped by Ctrl-C\n")


def test_ctrl_c_in_a_sweep_is_one_sentence(tmp_path: Path) -> None:
    """It is for the whole process group, also for processes of the sweep that still import."""
    sweep = subprocess.Popen(
        [*COMMAND, "sweep", "--size", "2K", "--jobs", "3"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert sweep.stdout
    assert "An update of" in sweep.stdout.readline()  # and its processes are started now
    assert "flash operations" in sweep.stdout.readline()
    os.killpg(sweep.pid, signal.SIGINT)
    _, err = sweep.communicate()
    assert sweep.returncode == 130
    assert len(err.splitlines()) == 2, err
    assert err.startswith("hanlab: stopped by Ctrl-C\n  next: run it again: its boards are its own")


def in_a_finalizer() -> None:
    class Dies:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    Dies()


def in_a_weak_reference() -> None:
    """As WeakSet has them, asyncio's of its tasks for one; here the garbage collection calls it."""

    class Dies:
        pass

    dies = Dies()
    dies.itself = dies  # type: ignore[attr-defined]
    reference = weakref.ref(dies, lambda _: signal.raise_signal(signal.SIGINT))
    del dies
    gc.collect()
    assert reference() is None


def in_a_generator() -> None:
    def left() -> Iterator[int]:
        try:
            yield 1
        finally:
            signal.raise_signal(signal.SIGINT)

    next(left())


@pytest.mark.timeout(method="thread")  # the alarm is needed
@pytest.mark.parametrize("come", [in_a_finalizer, in_a_weak_reference, in_a_generator])
def test_ctrl_c_where_python_throws_exceptions_away(
    come: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """It was lost in one of eight sweeps on a busy machine: the first garbage collection had it."""

    def command() -> None:
        come()
        threading.Event().wait(20)  # not so long: until it comes again

    with pytest.raises(KeyboardInterrupt), ctrl_c.raises():
        command()
    assert capfd.readouterr().err == ""


def test_what_else_python_throws_away_is_told() -> None:
    class Dies:
        def __del__(self) -> None:
            raise ValueError("seen")

    told: list[sys.UnraisableHookArgs] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", told.append)
        with ctrl_c.raises():
            Dies()
        assert sys.unraisablehook == told.append
    assert [str(what.exc_value) for what in told] == ["seen"]


def test_a_background_command_does_not_hear_ctrl_c() -> None:
    """As `nohup` wants it: who ignores Ctrl-C goes on ignoring it."""
    done = subprocess.run(
        [sys.executable, "-c", STOP_AT_IMPORT, "boards"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (done.returncode, done.stderr) == (0, "")
