"""What a command with --pcap says: how Wireshark opens the capture with the HAN's key."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hanlab.bench.pcap import wireshark_folder
from hanlab.errors import HanlabError, UsageError


def how_to_open(pcap: Path) -> str:
    """The command that opens a capture, decrypted."""
    folder, file = shlex.quote(str(wireshark_folder(pcap))), shlex.quote(str(pcap))
    return f"open the HAN capture with: WIRESHARK_CONFIG_DIR={folder} wireshark {file}"


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
