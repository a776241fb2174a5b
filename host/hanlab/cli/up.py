"""`hanlab up`: the boards stay up, and any SMP tool can attach to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from rich.table import Table

from hanlab.bench.pcap import how_to_open
from hanlab.boards.data import Board
from hanlab.cli.show import WAN_OPEN, console, say
from hanlab.cli.waiting import open_lab
from hanlab.errors import UsageError
from hanlab.tcp import is_loopback

_LOOPBACK: Final = "127.0.0.1"
_BRIDGE: Final = "hub.tty"
_LINE_OCTETS: Final = 128
"""Of the console framing's lines, as SMP tools count them."""


def run(
    *,
    lab: Path | None,
    pcap: Path | None,
    impair: str,
    open_wan: bool,
    tcp: str | None,
    as_json: bool,
) -> None:
    """Serve the lab's boards until Ctrl-C."""
    address = None if tcp is None else read_address(tcp)
    with open_lab(lab, pcap=pcap, open_wan=open_wan, impair=impair) as (bench, _):
        hub = bench.homes[0].hub
        bench.desk.revive(
            lambda text: say(console(stderr=True), "Warning", text, "yellow", indent=0)
        )

        def ready(ports: dict[str, str]) -> None:
            url = ports[hub.name]
            upload = upload_command(_BRIDGE if address else url, hub.board)
            if as_json:
                key = "tcp" if address else "pty"
                boards = [
                    {
                        "name": d.name,
                        "role": d.model.device_type,
                        "eui": str(d.eui),
                        "board": d.board.name,
                        key: ports[d.name],
                    }
                    for d in bench.boards
                ]
                more = {"bridge": bridge_command(url)} if address else {}
                report = {"boards": boards, "wan_open": bench.config.wan_open, "upload": upload}
                print(json.dumps({**report, **more}), flush=True)
                return
            out = console()
            table = Table("board", "role", "TCP port" if address else "PTY path", box=None)
            for d in bench.boards:
                role = f"{d.model.device_type}, {d.model.manufacturer} {d.model.model}"
                table.add_row(f"{d.name}: {d.board.name}", role, ports[d.name])
            out.print(table)
            if pcap:
                out.print(how_to_open(pcap), markup=False, soft_wrap=True)
            smp = hub.board.smp
            out.print(
                "any SMP tool can attach, in the console, COBS or raw framing, with messages of at most "
                f"{smp.buf_size} octets",
                soft_wrap=True,
            )
            if address:
                out.print(
                    "one at a time, e.g. another hanlab, with in its lab.toml "
                    f'port = "{url}" and keys = "seed"',
                    soft_wrap=True,
                )
                out.print(
                    f"for a tool that opens devices only: {bridge_command(url)}",
                    soft_wrap=True,
                )
                if not is_loopback(address[0]):
                    out.print(
                        f"whoever reaches {address[0]} may attach, not this computer alone",
                        style="yellow",
                        soft_wrap=True,
                    )
            if bench.config.wan_open:
                out.print(f"e.g. {upload}", soft_wrap=True)
                out.print(WAN_OPEN, style="yellow")
            else:
                out.print(
                    f"e.g. smpmgr --port {_BRIDGE if address else url} image state-read",
                    soft_wrap=True,
                )
                out.print("it may read and echo; --open-wan lets it do the rest")
            out.print("Ctrl-C switches the boards off; their flash stays")

        bench.serve(ready, address)


def bridge_command(url: str) -> str:
    """What makes a PTY of a `socket://` URL: smpmgr and others open devices only."""
    return f"socat pty,link={_BRIDGE},raw,echo=0 tcp:{url.removeprefix('socket://')}"


def upload_command(pty: str, board: Board) -> str:
    """smpmgr's whole command: it expects an MCUboot image unless told otherwise, and lines that are few and short."""
    lines = board.smp.buf_size // _LINE_OCTETS
    return f"smpmgr --port {pty} --line-buffers {lines} --timeout 30 image upload --format any FILE.ota"


def read_address(text: str) -> tuple[str, int]:
    """The host and port of `[HOST:]PORT`; this computer alone if no host is named.

    Raises:
        UsageError: it is none.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else _LOOPBACK
    if not (host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise UsageError(
            f"{text} is no [HOST:]PORT",
            next_step="e.g. --tcp 5331, or --tcp 0.0.0.0:5331 for the network",
        )
    return host, int(port)
