"""A pytest-embedded service: its fixture `dut` is the lab's PPMID, and `dut.expect` reads the board's event log.

    pytest_plugins = ["hanlab.hil.embedded"]    # in conftest.py

What the board's firmware has printed comes as well. The lab lives on its own clock, so let its time pass by what a
test does with `dut.board` (a `hanlab.hil.Device`), and then `dut.expect("stored")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_embedded import Dut

from hanlab.hil.boards import Board


class HanlabDut(Dut):
    """A board of hanlab's as pytest-embedded's device under test."""

    def __init__(self, board: Board, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.board = board
        self._events = 0
        self._printed = 0

    def catch_up(self) -> None:
        """Hand pytest-embedded what the board has said since the last time."""
        new = [event for event in self.board.events if event.number > self._events]
        printed = self.board.log
        for event in new:
            self.write(f"{event.seconds:.3f} {event.name} {event.text}".rstrip() + "\n")
            self._events = event.number
        if len(printed) > self._printed:
            self.write(printed[self._printed :])
            self._printed = len(printed)

    def expect(self, pattern: Any, **kwargs: Any) -> Any:
        self.catch_up()
        return super().expect(pattern, **kwargs)

    def expect_exact(self, pattern: Any, **kwargs: Any) -> Any:
        self.catch_up()
        return super().expect_exact(pattern, **kwargs)


@pytest.fixture
def dut(
    ppmid: Board,
    pexpect_proc: Any,
    msg_queue: Any,
    app: Any,
    _pexpect_logfile: str,
    test_case_name: str,
    _meta: Any,
) -> Iterator[HanlabDut]:
    """The lab's PPMID."""
    under_test = HanlabDut(
        ppmid,
        pexpect_proc=pexpect_proc,
        msg_queue=msg_queue,
        app=app,
        pexpect_logfile=_pexpect_logfile,
        test_case_name=test_case_name,
        meta=_meta,
    )
    yield under_test
    under_test.close()
