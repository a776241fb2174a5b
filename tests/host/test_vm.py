"""Which MicroPython VM the emulated boards get, and what heap it is given."""

import subprocess
import sys
from pathlib import Path

import pytest

from hanlab.boards import vm
from hanlab.boards.vm import OVERRIDE, Vm, find_vm
from hanlab.errors import UsageError

MAXSIZE = {32: 2**31 - 1, 64: 2**63 - 1}


def fake_vm(path: Path, answer: str = f"micropython 1 28 0 {MAXSIZE[64]}", code: int = 0) -> Path:
    """A program that answers the question `what are you` as told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """An empty world: where VMs would be found, best first, and none there."""
    monkeypatch.delenv(OVERRIDE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(vm, "checkout", lambda: tmp_path / "checkout")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    return {
        "checkout": tmp_path / "checkout" / ".vm" / "micropython",
        "user": tmp_path / "cache" / "hanlab" / "vm" / "micropython",
        "pip": tmp_path / "venv" / "bin" / "micropython",
    }


def test_the_checkout_comes_before_the_user_before_pip(places: dict[str, Path]) -> None:
    for place in reversed(places.values()):
        fake_vm(place)
        assert find_vm().command == (str(place),)


def test_without_a_checkout_the_users_vm_is_found(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_vm(places["checkout"])
    fake_vm(places["user"])
    monkeypatch.setattr(vm, "checkout", lambda: None)
    assert find_vm().command == (str(places["user"]),)


def test_the_environment_overrides_all(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_vm(places["checkout"])
    mine = fake_vm(tmp_path / "mine", f"micropython 1 25 0 {MAXSIZE[32]}")
    monkeypatch.setenv(OVERRIDE, str(mine))
    assert find_vm() == Vm((str(mine),), 32, "1.25.0")
    assert str(find_vm()) == "MicroPython 1.25.0, 32-bit"


def test_no_vm_anywhere_says_what_to_do(places: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="no MicroPython") as e:
        find_vm()
    assert OVERRIDE in e.value.next_step


def test_an_override_that_does_not_exist_is_no_silent_fallback(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_vm(places["pip"])
    monkeypatch.setenv(OVERRIDE, str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"nowhere does not run.*No such file") as e:
        find_vm()
    assert OVERRIDE in e.value.next_step


@pytest.mark.parametrize(
    ("answer", "code", "why"),
    [
        ("cpython 3 11 2 9223372036854775807", 0, "cpython"),
        ("", 0, "nothing"),
        ("Segmentation fault", 139, "exit code 139"),
        ("micropython 1 28 0 plenty", 0, "plenty"),
    ],
)
def test_a_program_that_is_no_micropython_is_named(
    places: dict[str, Path], answer: str, code: int, why: str
) -> None:
    program = fake_vm(places["checkout"], answer, code)
    with pytest.raises(UsageError, match=why) as e:
        find_vm()
    assert str(program) in e.value.what
    assert "make vm" in e.value.next_step


def test_a_64_bit_vm_gets_twice_the_heap() -> None:
    assert Vm(("m",), 32, "1.28.0").heap_argument(196_608) == "196608"
    assert Vm(("m",), 64, "1.28.0").heap_argument(196_608) == "393216"


def test_the_vm_of_this_machine_takes_the_heap_it_is_given() -> None:
    found = find_vm()
    run = subprocess.run(
        [
            *found.command,
            "-X",
            f"heapsize={found.heap_argument(196_608)}",
            "-c",
            "import gc, sys; print(sys.maxsize, gc.mem_free() + gc.mem_alloc())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    maxsize, heap = map(int, run.stdout.split())
    assert maxsize == MAXSIZE[found.bits]
    # the allocation table takes its part of the heap: two bits for a block of 16 or 32 octets, and more
    assert 0.95 < heap / int(found.heap_argument(196_608)) <= 1
