"""The one exception family of hanlab: what happened, the numbers, the next step."""

import signal
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

STOPPED: Final = "stopped by Ctrl-C"
SIGNALLED: Final = 128
"""A command that a signal ended exits with this and the signal's number, as in a shell."""
CTRL_C: Final = SIGNALLED + signal.SIGINT


class HanlabError(Exception):
    """Something the user can act on; the CLI prints it without a traceback.

    `exit_code` is 1 where a device or a service refused, 2 for wrong usage or environment.
    """

    exit_code = 1
    besides: Mapping[str, object] = MappingProxyType({})
    """What --json says besides: what became of pending requests, say."""

    def __init__(self, what: str, *, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} ({self.next_step})" if self.next_step else self.what


class CarriedOn(KeyboardInterrupt):
    """Ctrl-C in a command whose work somebody else goes on with; `next_step` says how that is followed."""

    def __init__(self, *, next_step: str) -> None:
        super().__init__()
        self.next_step = next_step


class UsageError(HanlabError):
    """Wrong usage or environment: a name that does not exist, a file that cannot be read."""

    exit_code = 2
