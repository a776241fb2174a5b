"""Why a real board does not answer: what the cables of a lab tell."""

from __future__ import annotations

import math

from hanlab.bench.cable import CableEnd
from hanlab.errors import HanlabError
from hanlab.eui import Eui
from hanlab.lab.desk import Desk
from hanlab.lab.silence import is_silence
from hanlab.wan.heard import Heard, NotABoard


def explain_cable(error: HanlabError, desk: Desk, device: Eui) -> None:
    """Give `error` the next step, if the real board that was asked is silent."""
    node = next((node for node in desk.config.nodes if node.eui == device), None)
    cable = desk.cables.get(node.name) if node else None
    if node is None or node.port is None or cable is None:
        return
    if cable.found and cable.found != cable.unique_id:
        found = Eui(cable.found)
        names = [other.name for other in desk.config.nodes if other.eui == found]
        whose = names[0] if names else "no board of this lab"
        error.next_step = (
            f"at {node.port} is not {node.name} but {found} ({whose}): name each board's own port "
            "in lab.toml"
        )
    elif not is_silence(error):
        return
    elif closed := desk.closed.get(node.name):
        error.next_step = closed.next_step
    elif wrong := _who_is_there(cable):
        error.next_step = (
            f"at {node.port}, the port of {node.name}: {wrong.what}; {wrong.next_step}"
        )
    elif not cable.running:
        error.next_step = (
            f"nothing of hanlab's answers at {node.port}, the port of {node.name}: see that it is the right one "
            "(boards/README.md), and reset the board"
        )


def _who_is_there(cable: CableEnd) -> NotABoard | None:
    """What has said something there, and is no board."""
    heard = Heard()
    heard.take(b"" if cable.found else cable.said)
    return heard.verdict(math.inf)
