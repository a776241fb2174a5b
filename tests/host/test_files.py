"""What must outlast the computer's own power cut waits for the disk: the file, and its name in the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hanlab.boards.files import write_files
from hanlab.files import write_whole
from hanlab.s1sp.authority import OriginatorCounter


def _board_json(folder: Path) -> Path:
    write_files(folder / "board", {"keys": "here"}, "RP2040")
    return folder / "board" / "hanlab" / "board.json"


def _counter(folder: Path) -> Path:
    assert OriginatorCounter(folder / "counter").after(41) == 42
    return folder / "counter"


def _whole(folder: Path) -> Path:
    write_whole(folder / "whole", b"it")
    return folder / "whole"


def _new(folder: Path) -> Path:
    write_whole(folder / "new", b"it", new=True)
    return folder / "new"


@pytest.mark.parametrize("write", [_whole, _new, _counter, _board_json])
def test_a_file_and_its_name_are_on_the_disk(
    write: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, list[str]]] = []
    true_fsync = os.fsync

    def fsync(fd: int) -> None:
        true_fsync(fd)
        path = Path(f"/proc/self/fd/{fd}").readlink()
        synced.append(
            (path.stat().st_ino, [p.name for p in path.iterdir()] if path.is_dir() else [])
        )

    monkeypatch.setattr(os, "fsync", fsync)
    path = write(tmp_path)
    (file, _), (folder, names) = synced
    assert file == path.stat().st_ino, "what was synced is what has the name"
    assert folder == path.parent.stat().st_ino
    assert path.name in names, "the folder is synced when the name is there"


def test_what_need_not_last_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fsync")
    write_whole(tmp_path / "whole", b"it", lasting=False)
    assert (tmp_path / "whole").read_bytes() == b"it"


def test_a_boards_own_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = _board_json(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {"keys": "here"}
