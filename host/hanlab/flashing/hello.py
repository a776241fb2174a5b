"""Asking a board over SMP who it is: the EUI-64 that its cable says, and what its OS group says of its firmware."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from smpclient.requests.os_management import OSApplicationInfoRead

from hanlab.bench.cable import CARRIER, MARK, Sorter
from hanlab.bench.radio import cobs_decode, cobs_encode
from hanlab.errors import HanlabError
from hanlab.eui import Eui
from hanlab.wan.auth import Credentials
from hanlab.wan.client import WanClient
from hanlab.wan.serial_port import SerialPort

CARRIER_S: Final = 0.25
"""How often (s) a cable is asked whose it is."""
_FORMAT: Final = "srvm"
"""Of MCUmgr's os info: application, its version, MicroPython, the chip."""
_SAID: Final = re.compile(r"(\S+) (.*) (\w+ \d+\.\d+\.\d+) (.*)")


@dataclass(frozen=True)
class Hello:
    """What answers at a port. `role`: comms-hub, or the type of a device, as ppmid.

    `eui`: its EUI-64; None: that is no cable for WAN and HAN.
    """

    role: str
    version: str
    """Of the firmware that it plays, as 11.2 reads it."""
    micropython: str
    machine: str
    eui: str | None = None


def ask(
    url: str, baud: int, within_s: float, credentials: Credentials | None = None
) -> Hello | None:
    """Who answers SMP at that port; None: nobody did within that time. It changes nothing.

    With `credentials` both prove that they have the key.

    Raises:
        UsageError: the port cannot be opened.
        AccessDenied, FalseBoard: another board answers, or one with other keys.
    """
    return asyncio.run(_ask(url, baud, within_s, credentials))


async def _ask(
    url: str, baud: int, within_s: float, credentials: Credentials | None
) -> Hello | None:
    cable = _Cable()
    port = SerialPort(url, baud, asyncio.get_running_loop(), feed=cable.feed)
    cable.port = port
    client = WanClient(cable, credentials=credentials, octets_s=port.octets_s)
    carrier = asyncio.create_task(cable.carry())
    try:
        async with asyncio.timeout(within_s):
            answer = await client.read(OSApplicationInfoRead, format=_FORMAT)
            if cable.eui is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(2 * CARRIER_S):
                        await cable.said.wait()
    except TimeoutError:
        return None
    finally:
        carrier.cancel()
        with suppress(HanlabError, TimeoutError):
            async with asyncio.timeout(1):
                await client.close()
        port.close()
    said = _SAID.fullmatch(answer.output)
    if said is None:
        return Hello(answer.output, "", "", "", cable.eui)  # an SMP server, but none of ours
    role, version, name, machine = said.groups()
    return Hello(role, version, name, machine, cable.eui)


class _Cable:
    """A board's cable: what is the WAN's is for the client, and the HAN's hello says the EUI-64."""

    def __init__(self) -> None:
        self.port: SerialPort | None = None
        self.eui: str | None = None
        self.said = asyncio.Event()
        self._sorter = Sorter()
        self._wan: asyncio.Queue[bytes] = asyncio.Queue()

    def feed(self, octets: bytes) -> None:
        for is_han, piece in self._sorter.sort(octets):
            if not is_han:
                self._wan.put_nowait(piece)
                continue
            frame = cobs_decode(piece) or b""
            if frame.startswith(CARRIER) and len(frame) > len(CARRIER):
                self.eui = str(Eui(frame[len(CARRIER) :]))
                self.said.set()

    async def carry(self) -> None:
        while True:
            self.write(MARK + cobs_encode(CARRIER) + b"\0")
            await asyncio.sleep(CARRIER_S)

    def write(self, octets: bytes) -> None:
        assert self.port
        self.port.write(octets)

    async def read(self) -> bytes:
        return await self._wan.get()
