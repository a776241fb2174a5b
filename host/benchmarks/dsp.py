"""The DSP's part of `make bench`: decisions through the gateway, a large 11.1, a large inventory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from hanlab.dsp.cpl import CplEntry
from hanlab.dsp.smi import SmiDevice, Status
from hanlab.duis.messages import ReadFirmwareVersion, Request, RequestId, UpdateFirmware
from hanlab.duis.reading import read_request
from hanlab.duis.writing import write_request
from hanlab.eui import Eui
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.office import PKI, Office, open_office, open_pki

REQUESTS: Final = 4_000
DEVICES: Final = 100_000
CLIENTS: Final = 16
"""Suppliers that ask at the same time, each on a connection of its own."""


def _eui(text: str, number: int) -> Eui:
    return Eui.parse(f"{text}-{number:02X}")


SUPPLIERS: Final = tuple(_eui("90-B3-D5-1F-30-01-00", n) for n in range(CLIENTS))
SUSPENDED: Final = tuple(_eui("00-DB-12-34-56-78-91", n) for n in range(CLIENTS))
OTHERS: Final = tuple(_eui("00-DB-12-34-56-78-92", n) for n in range(CLIENTS))
"""An ESME of each supplier's that is Suspended, and one that is not."""
SUPPLIER, ESME, OTHER = SUPPLIERS[0], SUSPENDED[0], OTHERS[0]


def _office(folder: Path) -> Office:
    users = [
        {"name": f"supplier-{n}", "eui": str(eui), "roles": ["IS"]}
        for n, eui in enumerate(SUPPLIERS)
    ]
    config = make_lab("bench", {**DEFAULT, "dsp": {"mp105": False}, "user": users})
    office = open_office(config, folder)
    for supplier, suspended, other in zip(SUPPLIERS, SUSPENDED, OTHERS, strict=True):
        for eui in (suspended, other):
            device = SmiDevice(eui, "ESME", "Secure", "Liberty 100", supplier=supplier)
            office.dsp.smi.add(device)
        office.dsp.smi.set_status(suspended, Status.SUSPENDED)
    return office


# -- decisions


def decisions(clients: int = CLIENTS) -> float:
    """Unsigned 11.2 through the gateway, every other one refused with E5: how many a second (wall clock).

    `clients` send theirs at the same time, each its next one when it has its answer. The gateway is a
    process of its own with one thread of work, so it has one core; each answer is on the disk before it
    is given.
    """
    with tempfile.TemporaryDirectory(prefix="hanlab-bench-") as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, "serve", folder], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout
            port = int(server.stdout.readline())
            return asyncio.run(_ask(port, clients))
        finally:
            server.terminate()
            server.communicate()


async def _ask(port: int, clients: int) -> float:
    each = REQUESTS // clients
    posts = [[_post(client, n) for n in range(1, each + 1)] for client in range(clients)]
    codes: Counter[bytes] = Counter()
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in posts]

    async def ask(client: int) -> None:
        reader, writer = connections[client]
        for octets in posts[client]:  # a supplier's counters have to arrive in this order
            writer.write(octets)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            codes[body.split(b"ResponseCode>")[1].split(b"<")[0]] += 1

    began = time.perf_counter()
    await asyncio.gather(*map(ask, range(clients)))
    took = time.perf_counter() - began
    for _, writer in connections:
        writer.close()
    if codes != {b"E5": each * clients // 2, b"I99": each * clients // 2}:
        raise SystemExit(f"the gateway answered {dict(codes)}")
    return each * clients / took


def _post(client: int, counter: int) -> bytes:
    device = (OTHERS, SUSPENDED)[counter % 2][client]
    id_ = RequestId(SUPPLIERS[client], device, counter)
    body = write_request(Request(id_, 1, "11.2", "11.2", ReadFirmwareVersion()))
    head = (
        "POST /api/v1/serviceS HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def serve(folder: Path) -> None:
    from hanlab.gateway.app import make_app
    from hanlab.gateway.http_server import make_server
    from hanlab.gateway.seals import seals_of
    from hanlab.tcp import listen

    office = _office(folder)
    config = make_lab("bench", DEFAULT)
    seals = seals_of(open_pki(folder / PKI, config), unsigned=True)
    app = make_app(office.dsp, seals, lambda request: None)
    with listen("127.0.0.1", 0, "") as listening:
        print(listening.getsockname()[1], flush=True)
        asyncio.run(make_server(app).serve([listening]))


# -- a large 11.1


def memory_of_largest_update() -> int:
    """Octets of memory that reading an 11.1 of 10,240,000 image octets takes beside the file's own."""
    with tempfile.TemporaryDirectory(prefix="hanlab-bench-") as folder:
        file = Path(folder) / "11.1.xml"
        body = UpdateFirmware(bytes(10_240_000), "1", (ESME,))
        file.write_bytes(
            write_request(Request(RequestId(SUPPLIER, ESME, 1), 8, "11.1", "11.1", body))
        )
        ran = subprocess.run(
            [sys.executable, "-m", __name__, "read", str(file)],
            capture_output=True,
            text=True,
            check=True,
        )
        return int(ran.stdout)


def read(file: Path) -> None:
    octets = file.read_bytes()
    before = peak_memory()
    read_request(octets)
    print(peak_memory() - before)


def peak_memory() -> int:
    """The most octets of RAM that this process has had (Linux: what getrusage says is its parent's)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this Linux does not say VmHWM")


# -- a large inventory


def suspend_half() -> tuple[int, float]:
    """How many of 100,000 devices a CPL removal suspends, and in how many seconds (wall clock)."""
    with tempfile.TemporaryDirectory(prefix="hanlab-bench-") as folder:
        office = _office(Path(folder))
        entry = CplEntry("ESME", "Secure", "Liberty 100", "P4X9G01")
        office.dsp.load([entry, replace(entry, version="P4X9G02")])
        office.dsp.smi.add_many(
            SmiDevice(
                Eui(number.to_bytes(8, "big")),
                "ESME",
                "Secure",
                "Liberty 100",
                version=("P4X9G01", "P4X9G02")[number % 2],
                supplier=SUPPLIER,
                network_operator=OTHER,
            )
            for number in range(1, DEVICES + 1)
        )
        began = time.perf_counter()
        suspended = office.dsp.withdraw(entry)
        took = time.perf_counter() - began
        office.close()
        return suspended, took


if __name__ == "__main__":
    {"serve": serve, "read": read}[sys.argv[1]](Path(sys.argv[2]))
