"""The firmware on emulated RP2040s with MicroPython's own rp2 port."""

from __future__ import annotations

from pathlib import Path

import pytest
from labs import OpenLab
from test_rp2040_chip import uf2_block

from hanlab.bench import chips
from hanlab.bench.board import BoardError
from hanlab.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A UF2 file whose chip sleeps."""
    path = tmp_path / "sleeps.uf2"
    path.write_bytes(uf2_block(0x10000000, b"\x30\xbf\xfd\xe7"))
    return path


# -- what is refused


def test_a_chip_needs_its_micropython(
    open_lab: OpenLab, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HANLAB_UF2", raising=False)
    with pytest.raises(UsageError, match="does not say which MicroPython") as wrong:
        open_lab({"board": "rp2040"})
    assert wrong.value.next_step.startswith('board = "rp2040:FILE.uf2"')
    open_lab({"board": f"rp2040:{file}"})
    monkeypatch.setenv("HANLAB_UF2", str(file))
    open_lab({"board": "rp2040"}, folder="other")


def test_a_uf2_file_that_is_none_is_refused(open_lab: OpenLab, tmp_path: Path, file: Path) -> None:
    with pytest.raises(UsageError, match="No such file") as wrong:
        open_lab({"board": f"rp2040:{tmp_path / 'slepes.uf2'}"})
    assert wrong.value.next_step == "check the name of the UF2 file"
    with pytest.raises(UsageError, match="no UF2 block at octet 0") as wrong:
        open_lab({"board": f"rp2040:{__file__}"})
    assert "micropython.org/download" in wrong.value.next_step
    open_lab({"board": f"rp2040:{file}"})


def test_what_is_not_installed_is_named(
    open_lab: OpenLab, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chips, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="hub is an emulated RP2040") as wrong:
        open_lab({"board": f"rp2040:{file}"})
    assert wrong.value.next_step == "pip install 'hanlab[rp2040]'"


def test_a_flash_file_that_holds_garbage(open_lab: OpenLab, file: Path, tmp_path: Path) -> None:
    lab = open_lab({"board": f"rp2040:{file}"})
    flash = lab.board(lab.hub).flash.path
    lab.close()
    flash.write_bytes(bytes(flash.stat().st_size))
    with pytest.raises(BoardError, match="no filesystem that can be read") as wrong:
        open_lab({"board": f"rp2040:{file}"})
    assert wrong.value.next_step == f"move {flash} aside to begin with an empty chip"
    flash.rename(tmp_path / "aside")
    open_lab({"board": f"rp2040:{file}"})


# -- what goes on it


def test_a_chip_has_the_firmware_that_provision_puts_on_a_board_and_keeps_what_is_its_own(
    open_lab: OpenLab, file: Path
) -> None:
    from littlefs import LittleFS
    from littlefs.context import UserContext

    def mounted(path: Path) -> LittleFS:
        context = UserContext(buffer=bytearray(path.read_bytes()))
        return LittleFS(context=context, block_size=4096, block_count=352, prog_size=256)

    lab = open_lab({"board": f"rp2040:{file}"})
    path = lab.board(lab.hub).flash.path
    lab.close()
    littlefs = mounted(path)
    assert {"main.py", "chip.py", "cable.py", "smets1", "hanlab"} == set(littlefs.listdir("/"))
    assert littlefs.listdir("/hanlab") == ["board.json"]
    with littlefs.open("hanlab/store.1", "wb") as kept, littlefs.open("smets1/octets.py", "w") as s:
        kept.write(b"image")
        s.write("stale")
    with littlefs.open("main.py", "w") as main:
        main.write("changed")
    littlefs.unmount()
    path.write_bytes(littlefs.context.buffer)
    open_lab({"board": f"rp2040:{file}"}).close()
    littlefs = mounted(path)
    assert littlefs.listdir("/hanlab") == ["board.json", "store.1"]
    assert "octets.py" not in littlefs.listdir("/smets1")
    with littlefs.open("main.py") as main:
        assert "run" in main.read()
