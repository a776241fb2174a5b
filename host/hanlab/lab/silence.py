"""Why a board of this lab is silent: the lab itself may have seen to that, and knows better than "check the wire"."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hanlab.errors import HanlabError
from hanlab.files import board_log
from hanlab.lab.config import LabConfig
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.wan.errors import NoAnswer

_SILENT: Final = (Outcome.NO_CONTACT, Outcome.NO_ANSWER, Outcome.SILENT)


def is_silence(error: HanlabError) -> bool:
    """A Service Request failed because a board did not answer."""
    return isinstance(error, ServiceRequestFailed) and error.outcome in _SILENT


def explain_silence(error: HanlabError, config: LabConfig, folder: Path, device: str = "") -> None:
    """Give `error` the next step of this lab, if a board is silent: emulated ones are always on.

    `config` has what `--impair` says, too; `folder` is the lab's state, `device` the name of whom a request was for.
    """
    request = is_silence(error)
    if config.is_real or not (request or isinstance(error, NoAnswer)):
        return
    if request and device and config.node(device).stranger:
        error.next_step = (
            f"take stranger = true of {device} out of lab.toml: it has another HAN's key"
        )
    elif config.wan.any or config.han.any:
        wires = (("wan", config.wan), ("han", config.han))
        spoilt = "; ".join(f"{name} {wire}" for name, wire in wires if wire.any)
        error.next_step = (
            "without --impair (in Python impair=; or [wan], [han] in lab.toml) it answers; now "
            f"{spoilt}"
        )
    else:
        for node in config.nodes:
            log = board_log(folder, node.name)
            printed = log.read_text(errors="replace").splitlines() if log.exists() else []
            if printed:
                error.next_step = (
                    f"board {node.name} printed {printed[-1]!r}, which may be why; see {log}"
                )
                return
