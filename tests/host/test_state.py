"""A lab's folder has one owner at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from hanlab.cli.served import served
from hanlab.errors import UsageError
from hanlab.lab.state import LOCK, announced, lock, serving


def test_a_lab_has_one_owner_at_a_time(tmp_path: Path) -> None:
    """Two that read it at once would write it at once: the lock is shared with nobody."""
    first = lock(tmp_path)
    with pytest.raises(UsageError, match=f"process {os.getpid()}"):
        lock(tmp_path)
    os.close(first)
    second = lock(tmp_path)
    with (tmp_path / LOCK).open() as reader, pytest.raises(BlockingIOError):
        fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(second)


def test_a_lock_is_not_had_beside_one_who_reads(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("")
    with (tmp_path / LOCK).open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        with pytest.raises(UsageError, match="another hanlab command"):
            lock(tmp_path)
    os.close(lock(tmp_path))


def test_a_servers_impair_is_known_to_its_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a board which is silent for that is not said to lack power."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".hanlab" / "default"
    folder.mkdir(parents=True)
    held = lock(folder)
    with announced(folder, "http://127.0.0.1:1", tmp_path, "han.loss=0.5"), served(None) as there:
        assert there
        assert there.config.han.any
        assert not there.config.wan.any
    os.close(held)
    assert serving(folder) is None
