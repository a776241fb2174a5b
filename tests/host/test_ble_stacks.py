"""boards/ports/ble.py on MicroPython's own Bluetooth stacks, over HCI and a virtual radio, in real time.

`HANLAB_BLE_VMS` names MicroPythons for this computer that have `bluetooth`, with a colon between. In MicroPython's
sources, with lib/mynewt-nimble and lib/btstack:

    make -C ports/unix MICROPY_PY_BLUETOOTH=1 MICROPY_BLUETOOTH_NIMBLE=1
    make -C ports/unix MICROPY_PY_BLUETOOTH=1 MICROPY_BLUETOOTH_BTSTACK=1 MICROPY_BLUETOOTH_BTSTACK_USB=0

The first stack is the ESP32's, the second the Pico W's; that one wants a ports/unix/mpbthciport.h that includes
extmod/mpbthci.h and has an empty `mp_bluetooth_hci_poll_now`.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest
from bumble import crypto, hci
from bumble.transport import open_transport
from virtual_ble.air import Air, AirController
from virtual_ble.bleak_backend import virtual_bleak

from hanlab.bench.kernel import Kernel
from hanlab.bench.uart import HostPort
from hanlab.resources import firmware_dir
from hanlab.wan.ble_port import BlePort, scan
from hanlab.wan.client import WanClient

VMS = [vm for vm in os.environ.get("HANLAB_BLE_VMS", "").split(":") if vm]
BOARD = Path(__file__).parents[1] / "firmware" / "ble_stack_board.py"
ADDRESS = "F0:F1:F2:00:00:02"


class SerialController(AirController):
    """A controller that a stack reaches by a serial port; it has what BTstack asks for besides."""

    def __init__(self, air: Air, transport: Any) -> None:
        super().__init__("board", air)
        self.public_address = hci.Address(ADDRESS, hci.Address.PUBLIC_DEVICE_ADDRESS)
        transport.source.set_packet_sink(self)
        self.host = transport.sink

    def on_packet(self, packet: bytes) -> None:
        if packet[0] == hci.HCI_COMMAND_PACKET and packet[2] >> 2 == 0x3F:  # a vendor's
            self._complete(packet[1] | packet[2] << 8, bytes((hci.HCI_UNKNOWN_HCI_COMMAND_ERROR,)))
        else:
            super().on_packet(packet)

    def on_hci_le_encrypt_command(self, command: hci.HCI_Command) -> None:
        key, text = command.parameters[:16], command.parameters[16:]
        self._complete(command.op_code, b"\0" + crypto.e(key, text))  # type: ignore[attr-defined]

    def _complete(self, op_code: int, octets: bytes) -> None:
        self.send_hci_packet(
            hci.HCI_Command_Complete_Event(
                num_hci_command_packets=1,
                command_opcode=op_code,
                return_parameters=hci.HCI_GenericReturnParameters(data=octets),
            )
        )


@pytest.mark.skipif(not VMS, reason="HANLAB_BLE_VMS names no MicroPython with a Bluetooth stack")
@pytest.mark.parametrize("vm", VMS or ["none"])
def test_an_upload_over_a_stack_that_chips_have(
    vm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole window while the board is held up, and a link that is lost in the middle."""
    image = random.Random(1).randbytes(100_000)

    async def upload(air: Air) -> WanClient:
        host = HostPort(Kernel())
        port = BlePort("ble:hanlab-90A2", asyncio.get_running_loop(), host.feed)
        host.plug(port)
        keeping = asyncio.create_task(port.keep())
        client = WanClient(host, host.framing, None, host.octets_s)
        lost = False
        async for confirmed in client.upload(image):
            if confirmed > 50_000 and not lost:
                lost = True
                assert client.counters.retries == 0, "nothing was lost while the link was there"
                air.lose(ADDRESS)
        await client.close()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        return client

    async def main() -> None:
        air = Air()
        serial = await open_transport(f"pty:{tmp_path / 'hci'}")
        SerialController(air, serial)
        virtual_bleak(monkeypatch, await air.device("laptop", "F0:00:00:00:00:01"))
        board = await asyncio.create_subprocess_exec(
            *(vm, "-X", "heapsize=8M", str(BOARD), str(firmware_dir().parent)),
            env={**os.environ, "MICROPYBTUART": str(tmp_path / "hci")},
            stdin=asyncio.subprocess.DEVNULL,
        )
        try:
            client = await upload(air)
            assert client.counters.retries <= 2 * 5, "a window or two, with the link"
            assert [found.name for found in await scan(1)] == ["hanlab-90A2"]
        finally:
            board.kill()
            await board.wait()
            await serial.close()

    asyncio.run(asyncio.wait_for(main(), 100))
