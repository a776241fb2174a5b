"""`hanlab serve`: the DSP's web services with a lab behind them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette

from hanlab.cli.show import console, say
from hanlab.duis.pki import Pki
from hanlab.gateway.app import Seals, make_app
from hanlab.gateway.bench_thread import BenchThread
from hanlab.gateway.delivery import Deliverer
from hanlab.gateway.listening import listen
from hanlab.gateway.seals import seals_of
from hanlab.lab import Lab
from hanlab.lab_config import read_lab
from hanlab.office import PKI, open_pki
from hanlab.state import state_folder


def run(
    *, lab: Path | None, host: str, port: int, pki: Path | None, impair: str, as_json: bool
) -> None:
    """Serve until Ctrl-C."""
    config = read_lab(lab)
    keys = open_pki(pki or state_folder(lab, config) / PKI, config)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    with Lab.open(lab, impair=impair) as bench:
        thread = BenchThread(bench)
        seals = seals_of(keys)
        server = _server(make_app(bench.dsp, seals, thread.carry_out))
        with listen(host, port) as listening:
            thread.start()
            try:
                _ready(bench, host, listening.getsockname()[1], keys, as_json=as_json)
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


def _server(app: Starlette) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    )


def _ready(bench: Lab, host: str, port: int, keys: Pki, *, as_json: bool) -> None:
    base = f"http://{host}:{port}/api/v1"
    listeners = {u.name: u.listener for u in bench.config.dsp.users if u.listener}
    if as_json:
        print(
            json.dumps({"url": base, "listeners": listeners, "pki": str(keys.folder)}), flush=True
        )
        return
    out = console()
    say(out, "DUIS gateway", f"{base}/serviceD, /serviceS, /serviceT", "bold", indent=0)
    say(out, "test keys", str(keys.folder), "dim")
    for name, url in listeners.items():
        say(out, f"{name} listens", url, "dim")
    if not listeners:
        say(out, "nobody listens", 'put listener = "http://…" into [[user]] of lab.toml', "yellow")
    out.print("  Ctrl-C ends it; what is not done yet is done at the next start", soft_wrap=True)
