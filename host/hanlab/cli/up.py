"""`hanlab up`: the boards stay up, and any SMP tool can attach to them."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from hanlab.cli.capture import how_to_open
from hanlab.cli.show import WAN_OPEN, console
from hanlab.lab import Lab


def run(*, lab: Path | None, pcap: Path | None, impair: str, open_wan: bool, as_json: bool) -> None:
    """Serve the lab's boards until Ctrl-C."""
    with Lab.open(lab, pcap=pcap, open_wan=open_wan, impair=impair) as bench:

        def ready(ptys: dict[str, str]) -> None:
            devices = (bench.hub, *bench.devices)
            if as_json:
                boards = [
                    {
                        "name": d.name,
                        "role": d.model.device_type,
                        "eui": str(d.eui),
                        "board": d.board.name,
                        "pty": ptys[d.name],
                    }
                    for d in devices
                ]
                print(json.dumps({"boards": boards, "wan_open": bench.config.wan_open}), flush=True)
                return
            table = Table("board", "role", "PTY path", box=None)
            for d in devices:
                role = f"{d.model.device_type}, {d.model.manufacturer} {d.model.model}"
                table.add_row(f"{d.name}: {d.board.name}", role, ptys[d.name])
            out = console()
            out.print(table)
            if pcap:
                out.print(how_to_open(pcap), markup=False, soft_wrap=True)
            hub = ptys[bench.hub.name]
            out.print(f"any SMP tool can attach, e.g. smpmgr --port {hub} image state-read")
            if bench.config.wan_open:
                out.print(WAN_OPEN, style="yellow")
            else:
                out.print("it may read and echo; --open-wan lets it do the rest")
            out.print("Ctrl-C switches the boards off; their flash stays")

        bench.serve(ready)
