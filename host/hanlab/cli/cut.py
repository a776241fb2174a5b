"""`--cut BOARD@N%`: the power of a board fails in the middle of an 11.1."""

from __future__ import annotations

import re
from typing import Final

from hanlab.cli.show import Watch
from hanlab.errors import UsageError
from hanlab.lab import Lab
from hanlab.lab.config import LabConfig
from hanlab.s1sp.progress import Progress

_FORM: Final = re.compile(r"(.+)@(\d{1,3})%?")
_EXAMPLE: Final = "--cut PPMID@43% (of the transfer to it), --cut hub@43% (of the upload to the CH)"


class Cut:
    """Passes progress on to `watch`, and has the power fail once, for a second.

    A CH loses it in the upload, a device in the transfer to it: that is when each has something to lose.
    """

    def __init__(self, text: str, bench: Lab, watch: Watch) -> None:
        board, percent = read_cut(text, bench.config)
        self._board = bench.device(board)
        self._percent = percent
        self._stage = "upload" if self._board.is_hub else "distribute"
        self._bench = bench
        self._watch = watch
        self.came = False

    def __call__(self, step: Progress) -> None:
        self._watch(step)
        due = (
            step.stage == self._stage
            and step.total
            and step.done * 100 >= self._percent * step.total
        )
        if due and not self.came:
            self.came = True
            self._bench.power_cycle(self._board)
            note = (
                f"{self._board.name} loses power for a second, at {step.done:,} of {step.total:,} B"
            )
            self._watch(Progress(step.stage, step.done, step.total, note))


def read_cut(text: str, config: LabConfig) -> tuple[str, int]:
    """The board and the percentage.

    Raises:
        UsageError: it cannot be read, there is no such board, or the boards are real.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None or int(found[2]) >= 100:
        raise UsageError(f"--cut {text!r} is no BOARD@N%, N from 0 to 99", next_step=_EXAMPLE)
    node = config.node(found[1], any_board=True)
    if node.is_real:
        raise UsageError(
            f"{node.name} is a real board, and hanlab cannot cut its power",
            next_step="pull the cable, or leave its port out of lab.toml: then it is emulated",
        )
    return node.name, int(found[2])
