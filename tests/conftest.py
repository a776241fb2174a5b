"""What holds for all tests."""

from __future__ import annotations

import signal

# Where pytest runs behind `nohup` or as a job of a script, Ctrl-C is ignored, and so it would be in each
# `hanlab` that a test starts to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
