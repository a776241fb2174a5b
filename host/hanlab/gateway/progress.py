"""How far requests have come, in a file beside the lab's flash: for commands that go through a server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, Final

from hanlab.duis.messages import RequestId
from hanlab.files import write_whole
from hanlab.s1sp.progress import Progress, Report, Room

_FILE: Final = "progress.json"
_EVERY_S: Final = 0.1
_KEPT: Final = 16
"""Requests that the file tells of: whoever waits for one looks ten times a second."""


class ProgressFile:
    """Where a server writes it: for each request, in order, the last step of each stage and all that have a note.

    A stage is a device's, where the request is for several.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._file = folder / _FILE
        self._file.unlink(missing_ok=True)  # an earlier server's
        self._now = now
        self._written = -_EVERY_S
        self._requests: dict[str, list[Progress]] = {}

    def report(self, request: RequestId) -> Report:
        """Called with each step of that request."""
        steps = self._requests[str(request)] = []
        while len(self._requests) > _KEPT:
            del self._requests[next(iter(self._requests))]

        def step(progress: Progress) -> None:
            places = [i for i, step in enumerate(steps) if _way(step) == _way(progress)]
            if places and not steps[places[-1]].note and not progress.note:
                steps[places[-1]] = progress
            else:
                steps.append(progress)
            ended = progress.done == progress.total or progress.room
            if ended or progress.note or self._now() >= self._written + _EVERY_S:
                self._write()

        return step

    def _write(self) -> None:
        self._written = self._now()
        said = {
            request: [astuple(step) for step in steps] for request, steps in self._requests.items()
        }
        with suppress(OSError):  # the update itself has more need of the disk than its picture
            write_whole(self._file, json.dumps(said).encode(), lasting=False)


def _way(step: Progress) -> tuple[str, str]:
    return step.stage, step.device


def read_progress(folder: Path, request: RequestId) -> list[Progress]:
    """The steps of a request that `ProgressFile` keeps; later each is there again, or further. Empty: none is known."""
    try:
        said = json.loads((folder / _FILE).read_text("utf-8"))
        return [_read(step) for step in said.get(str(request), [])]
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def _read(step: list[Any]) -> Progress:
    *known, room = step
    return replace(Progress(*known), room=Room(*room) if room else None)
