"""How far a request has come, as another command on a served lab sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanlab.duis.messages import RequestId
from hanlab.eui import Eui
from hanlab.gateway.progress import ProgressFile, read_progress
from hanlab.s1sp.progress import Progress

USER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")


def request(counter: int) -> RequestId:
    return RequestId(USER, PPMID, counter)


def test_the_last_step_of_each_stage(tmp_path: Path) -> None:
    now = [0.0]
    file = ProgressFile(tmp_path, lambda: now[0])
    report = file.report(request(1))
    assert read_progress(tmp_path, request(1)) == []
    report(Progress("upload", 1, 10))
    report(Progress("upload", 2, 10))
    assert read_progress(tmp_path, request(1)) == [Progress("upload", 1, 10)], "not at each step"
    now[0] = 0.2
    report(Progress("upload", 3, 10))
    assert read_progress(tmp_path, request(1)) == [Progress("upload", 3, 10)]
    report(Progress("upload", 10, 10))
    report(Progress("distribute", 10, 10))
    ended = [Progress("upload", 10, 10), Progress("distribute", 10, 10)]
    assert read_progress(tmp_path, request(1)) == ended, "the end of a stage at once"
    assert read_progress(tmp_path, request(2)) == []
    ProgressFile(tmp_path)
    assert read_progress(tmp_path, request(1)) == [], "another server's"


def test_old_requests_are_forgotten(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path)
    for counter in range(100):
        file.report(request(counter))(Progress("upload", 1, 1))
    assert read_progress(tmp_path, request(50)) == []
    assert read_progress(tmp_path, request(99)) == [Progress("upload", 1, 1)]


@pytest.mark.parametrize("octets", ["", "[]", "{", '{"x": 1}', "\xff"])
def test_a_file_that_is_no_progress_tells_nothing(octets: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(octets, "latin-1")
    assert read_progress(tmp_path, request(1)) == []


def test_a_full_disk_stops_no_update(tmp_path: Path) -> None:
    report = ProgressFile(tmp_path / "none").report(request(1))
    report(Progress("upload", 1, 1))
