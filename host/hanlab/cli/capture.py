"""What a command with --pcap says: how Wireshark opens the capture with the HAN's key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hanlab.bench.pcap import how_to_open
from hanlab.errors import HanlabError, UsageError


@contextmanager
def capturing(pcap: Path | None, *, quiet: bool) -> Iterator[None]:
    """Say how to open the capture of the command in this block, also of one that failed."""
    try:
        yield
    except UsageError:  # nothing was captured
        raise
    except HanlabError:
        _say(pcap, quiet)
        raise
    _say(pcap, quiet)


def _say(pcap: Path | None, quiet: bool) -> None:
    if pcap and not quiet:
        print(how_to_open(pcap), flush=True)
