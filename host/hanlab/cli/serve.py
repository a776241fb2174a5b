"""`hanlab serve`: the DSP's web services with a lab behind them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette

from hanlab.cli.show import console, say
from hanlab.duis.pki import Pki
from hanlab.errors import UsageError
from hanlab.gateway.app import Seals, make_app
from hanlab.gateway.bench_thread import BenchThread
from hanlab.gateway.delivery import Deliverer
from hanlab.gateway.seals import seals_of
from hanlab.lab import Lab, state_folder
from hanlab.lab_config import read_lab
from hanlab.office import PKI, open_pki


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
        app = make_app(bench.dsp, seals, thread.carry_out)
        server = _server(app, host, port)
        thread.start()
        try:
            _ready(bench, host, port, keys, as_json=as_json)
            asyncio.run(_serve(server, bench, seals))
        finally:
            thread.stop()
    if thread.error:
        raise thread.error


async def _serve(server: uvicorn.Server, bench: Lab, seals: Seals) -> None:
    async with httpx.AsyncClient() as client:
        deliverer = asyncio.ensure_future(Deliverer(bench.dsp, seals.sign, client).run())
        try:
            await server.serve()
        except SystemExit:  # uvicorn's way to say that the port is taken
            raise UsageError(
                f"{server.config.host}:{server.config.port} cannot be served",
                next_step="another program has the port: use --port",
            ) from None
        finally:
            deliverer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await deliverer


def _server(app: Starlette, host: str, port: int) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app, host=host, port=port, log_level="warning", access_log=False, lifespan="off"
        )
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
