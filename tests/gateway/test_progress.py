"""How far a request has come, as another command on a served lab sees it."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hanlab.cli import served
from hanlab.cli.served import ServedLab
from hanlab.duis.messages import ReadFirmwareVersion, Request, RequestId
from hanlab.eui import Eui
from hanlab.gateway.progress import ProgressFile, read_progress
from hanlab.lab.state import Server
from hanlab.s1sp.progress import Progress, Room

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


def test_what_the_store_had_room_for_is_told_at_once(tmp_path: Path) -> None:
    steps = [
        Progress("upload", 0, 10),
        Progress("store", 4, 10, room=Room(8, 3, 1, 4)),
    ]
    report = ProgressFile(tmp_path).report(request(1))
    for step in steps:
        report(step)
    assert read_progress(tmp_path, request(1)) == steps


def test_notes_are_kept_with_where_they_were(tmp_path: Path) -> None:
    report = ProgressFile(tmp_path).report(request(1))
    steps = [
        Progress("upload", 5, 10, "goes on at 5"),
        Progress("upload", 10, 10),
        Progress("distribute", 0, 10, "starts again"),
        Progress("distribute", 4, 10),
        Progress("distribute", 2, 10, "goes on at 2"),
    ]
    for step in steps:
        report(step)
    report(Progress("distribute", 3, 10))
    assert read_progress(tmp_path, request(1)) == steps, "a note at once"
    report(Progress("distribute", 10, 10))
    assert read_progress(tmp_path, request(1)) == [*steps, Progress("distribute", 10, 10)]


def test_old_requests_are_forgotten(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path)
    for counter in range(100):
        file.report(request(counter))(Progress("upload", 1, 1))
    assert read_progress(tmp_path, request(50)) == []
    assert read_progress(tmp_path, request(99)) == [Progress("upload", 1, 1)]


def test_notes_come_through_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that looks now and then is told each note once, and how far it has come."""
    steps = [
        [Progress("upload", 5, 10, "goes on at 5"), Progress("upload", 6, 10)],
        [Progress("upload", 10, 10), Progress("distribute", 2, 10, "starts again")],
        [],
        [Progress("distribute", 10, 10)],
    ]
    file = ProgressFile(tmp_path, itertools.count().__next__).report(request(1))

    def unfinished() -> list[RequestId]:
        if not steps:
            return []
        for step in steps.pop(0):
            file(step)
        return [request(1)]

    monkeypatch.setattr(served, "serving", lambda folder: True)
    monkeypatch.setattr(served, "time", SimpleNamespace(sleep=lambda s: None))
    server = Server(tmp_path, "", tmp_path, 0, "")
    dsp = SimpleNamespace(unfinished=unfinished)
    seen: list[Progress] = []
    sent = Request(request(1), 1, "11.2", "11.2", ReadFirmwareVersion())
    ServedLab(server, cast("Any", None), cast("Any", dsp))._follow(sent, seen.append)
    assert seen == [
        Progress("upload", 5, 10, "goes on at 5"),
        Progress("upload", 6, 10),
        Progress("upload", 10, 10),
        Progress("distribute", 2, 10, "starts again"),
        Progress("distribute", 10, 10),
    ]


@pytest.mark.parametrize("octets", ["", "[]", "{", '{"x": 1}', "\xff"])
def test_a_file_that_is_no_progress_tells_nothing(octets: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(octets, "latin-1")
    assert read_progress(tmp_path, request(1)) == []


def test_a_full_disk_stops_no_update(tmp_path: Path) -> None:
    report = ProgressFile(tmp_path / "none").report(request(1))
    report(Progress("upload", 1, 1))
