"""Where `hanlab` begins: what is imported takes a while, and Ctrl-C must not end in a traceback meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sys
from types import FrameType

from hanlab.errors import CTRL_C, STOPPED


def leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: nothing has begun yet, or all is over."""
    if "--json" in sys.argv:
        os.write(1, json.dumps({"error": STOPPED, "next_step": "run it again"}).encode() + b"\n")
    else:
        os.write(2, f"hanlab: {STOPPED}\n".encode())
    os._exit(CTRL_C)


def main() -> None:
    """The `hanlab` command."""
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # and not ignored, as nohup does
        signal.signal(signal.SIGINT, leave)
    from hanlab.cli import main as command

    command()
