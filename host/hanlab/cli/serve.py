"""`hanlab serve`: the DSP's web services with a lab behind them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import uvicorn

from hanlab.cli.pending_requests import sentence
from hanlab.cli.show import console, say
from hanlab.cli.waiting import LiveLine
from hanlab.duis.pki import Pki
from hanlab.errors import UsageError
from hanlab.gateway.app import make_app
from hanlab.gateway.bench_thread import BenchThread
from hanlab.gateway.delivery import Deliverer
from hanlab.gateway.http_server import make_server
from hanlab.gateway.progress import ProgressFile
from hanlab.gateway.seals import Seals, seals_of
from hanlab.gateway.senders import LOCAL
from hanlab.lab import Lab
from hanlab.lab.config import read_lab
from hanlab.lab.office import PKI, open_pki
from hanlab.lab.state import announced, state_folder
from hanlab.tcp import is_loopback, listen


def run(
    *,
    lab: Path | None,
    host: str,
    port: int,
    pki: Path | None,
    unsigned: bool,
    names: list[str],
    impair: str,
    as_json: bool,
) -> None:
    """Serve until Ctrl-C. `names`: what clients call it, beside `host` and its IP addresses."""
    if unsigned and not is_loopback(host):
        raise UsageError(
            f"--unsigned serves this computer alone, and {host} is more than that",
            next_step="--host 127.0.0.1, or sign the requests: hanlab provision makes test keys",
        )
    config = read_lab(lab)
    keys = open_pki(pki or state_folder(lab, config) / PKI, config)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("hanlab.requests").setLevel(logging.INFO)
    line = LiveLine(lambda: "the boards are switched on")
    with line:
        opened = Lab.open(lab, impair=impair)
    with opened as bench:
        bench.paced = True
        line.text = lambda: f"{len(bench.boards)} boards come into the inventory"
        with line:
            log = bench.dsp.parts.log
        bench.on_notice = lambda notice: log(sentence(notice))
        bench.desk.revive(log)
        thread = BenchThread(bench, ProgressFile(bench.folder).report)
        seals = seals_of(keys, unsigned=unsigned)
        known = LOCAL | {name.lower() for name in [host, *names]}
        server = make_server(make_app(bench.dsp, seals, thread.carry_out, names=known))
        with listen(host, port, "--host {host} --port {port}") as listening:
            thread.start()
            try:
                at = listening.getsockname()
                local = "127.0.0.1" if at[0] in ("0.0.0.0", "::") else host
                url = f"http://{local}:{at[1]}/api/v1"
                with announced(bench.folder, url, keys.folder, impair):
                    _ready(bench, host, at[1], keys, unsigned, as_json=as_json)
                    with contextlib.suppress(KeyboardInterrupt):
                        asyncio.run(_serve(server, listening, bench, seals))
            finally:
                thread.stop()
    if thread.error:
        raise thread.error


async def _serve(
    server: uvicorn.Server, listening: socket.socket, bench: Lab, seals: Seals
) -> None:
    async with httpx.AsyncClient() as client:
        deliverer = asyncio.ensure_future(Deliverer(bench.dsp, seals.sign, client).run())
        try:
            await server.serve([listening])
        finally:
            deliverer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await deliverer


def _date(now: datetime) -> str:
    """The date that requests are dated by, and whether it is today's."""
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if abs(now - datetime.now(UTC)) < timedelta(minutes=1):
        return f"{shown}, the computer's"
    return f"{shown}, not the computer's: `start` in lab.toml, or an earlier command, has brought it there"


def _ready(bench: Lab, host: str, port: int, keys: Pki, unsigned: bool, *, as_json: bool) -> None:
    base = f"http://{host}:{port}/api/v1"
    users = bench.config.dsp.users
    listeners = {u.name: u.listener for u in users if u.listener}
    not_sent = [u.name for u in users if u.retries]
    if as_json:
        print(
            json.dumps(
                {
                    "url": base,
                    "signed": not unsigned,
                    "listeners": listeners,
                    "retries_not_sent": not_sent,
                    "pki": str(keys.folder),
                    "date": bench.dsp.parts.clock().isoformat(timespec="seconds"),
                }
            ),
            flush=True,
        )
        return
    out = console()
    say(out, "DUIS gateway", f"{base}/serviceD, /serviceS, /serviceT", "bold", indent=0)
    say(out, "the lab's date", _date(bench.dsp.parts.clock()), "bold")
    if unsigned:
        say(out, "unsigned", "whoever is on this computer can send requests as any user", "yellow")
    else:
        said = f"each with its originator's key in {keys.folder}; --unsigned takes others too"
        say(out, "requests are signed", said, "dim")
    for name, url in listeners.items():
        say(out, f"{name} listens", url, "dim")
    if not listeners:
        say(out, "nobody listens", 'put listener = "http://…" into [[user]] of lab.toml', "yellow")
    if not_sent:
        said = "hanlab's own commands send an 11.3 that nobody answered again; other programs do that themselves"
        say(out, f"retries of {', '.join(not_sent)}", said, "yellow")
    out.print("  Ctrl-C ends it; what is not done yet is done at the next start", soft_wrap=True)
