"""Ctrl-C while a command runs: an exception, so that boards are switched off, and one that is never lost."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_S: Final = 0.02


@contextmanager
def raises() -> Iterator[None]:
    """In the block Ctrl-C is a KeyboardInterrupt, unless it is ignored, as `nohup` wants it.

    Python runs finalizers and callbacks of weak references between any two steps, and throws away what is
    raised in them: after a lab has been used its garbage is hundreds of those. A Ctrl-C that comes just
    then comes again, by an alarm: that also interrupts whatever is waited for by then.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield
        return
    thrown_away, alarm = sys.unraisablehook, signal.getsignal(signal.SIGALRM)

    def hook(what: UnraisableHookArgs) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            signal.signal(signal.SIGALRM, again)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
        else:
            thrown_away(what)

    def again(_number: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_code is not hook.__code__:  # else the next alarm
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    try:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = thrown_away
        if signal.getsignal(signal.SIGALRM) is again:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
