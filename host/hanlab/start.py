"""Where `hanlab` begins: what is imported takes a while, and Ctrl-C must not end in a traceback meanwhile."""

from __future__ import annotations

import os  # as little as can be before main(): during an import here Ctrl-C is still Python's
import signal
import sys


def leave(_number: int, _frame: object) -> None:
    """End at once: nothing has begun yet, or all is over. It may come in the middle of any import."""
    if "--json" in sys.argv:
        os.write(1, b'{"error": "stopped by Ctrl-C", "next_step": "run it again"}\n')
    else:
        os.write(2, b"hanlab: stopped by Ctrl-C\n")
    os._exit(128 + signal.SIGINT)


def main() -> None:
    """The `hanlab` command."""
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # and not ignored, as nohup does
        signal.signal(signal.SIGINT, leave)
    from hanlab.cli import main as command

    command()
