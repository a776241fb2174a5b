"""An SMP client that knows nothing of hanlab (smpclient, unmodified) talks to the boards, in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import pytest
from labs import OpenDesk, make_image
from smp.error import MGMT_ERR
from smp.header import Version
from smp.image_management import IMG_MGMT_ERR
from smpclient import SMPClient
from smpclient.exceptions import SMPUploadError
from smpclient.generics import error_v1, error_v2, success
from smpclient.requests.image_management import ImageErase, ImageStatesRead
from smpclient.requests.os_management import EchoWrite, MCUMgrParametersRead
from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport
from smpclient.transport.serial.framing.cobs import Cobs

from hanlab.bench.board import WAN
from hanlab.bench.uart import UartWire
from hanlab.lab.desk import Desk

BOOT_S = 2.0
"""Virtual time in which every board starts."""

Transport = Callable[[], SMPSerialTransport | SMPSerialRawTransport]


class BenchSerial:
    """Stands in for pyserial's `Serial`: what smpclient's transports do with one, on a bench wire."""

    port: str
    out_waiting = 0

    def __init__(self, desk: Desk, board: str) -> None:
        self._received = bytearray()
        node = next(n for n in (desk.config.hub, *desk.config.devices) if n.name == board)
        UartWire(desk.kernel, self, desk.boards[board], WAN, node.baud)

    def plug(self, wire: UartWire) -> None:
        self._wire = wire

    def feed(self, octets: bytes) -> None:
        self._received += octets

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def reset_input_buffer(self) -> None:
        self._received.clear()

    def write(self, octets: bytes) -> None:
        self._wire.from_host(bytes(octets))

    def read_all(self) -> bytes:
        octets = bytes(self._received)
        self._received.clear()
        return octets


TRANSPORTS: dict[str, Transport] = {
    "console": SMPSerialTransport,
    "cobs": lambda: SMPSerialRawTransport(framing=Cobs()),
    "raw": SMPSerialRawTransport,
}
"""smpclient's own, each with a framing of the WAN."""


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Transport:
    return TRANSPORTS[request.param]


@pytest.fixture
def talk(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run `conversation(client)` on a desk's clock, with a client on a board's UART."""

    def talk_(
        desk: Desk, conversation: Callable[[SMPClient], Awaitable[None]], board: str = "hub"
    ) -> None:
        monkeypatch.setattr(
            "smpclient.transport.serial.common.Serial", lambda **_: BenchSerial(desk, board)
        )

        async def connected() -> None:
            await asyncio.sleep(BOOT_S)
            async with SMPClient(transport(), board) as client:
                await conversation(client)

        desk.run(connected())

    return talk_


Talk = Callable[..., None]


@pytest.mark.parametrize("board", ["esp32-devkitc", "pico"])
def test_parameters_are_the_boards(open_desk: OpenDesk, talk: Talk, board: str) -> None:
    desk = open_desk({"board": board}, wan_open=True)
    smp = desk.config.hub.board.smp

    async def ask(client: SMPClient) -> None:
        params = await client.request(MCUMgrParametersRead())
        assert success(params)
        assert (params.buf_size, params.buf_count) == (smp.buf_size, smp.buf_count)

    talk(desk, ask)


def test_every_board_echoes(open_desk: OpenDesk, talk: Talk) -> None:
    """As much as its buffer takes; and then what is short again."""
    desk = open_desk(wan_open=True)

    async def echo(client: SMPClient) -> None:
        room = client._transport.max_unencoded_size - 16
        assert room > 3000
        for text in ("a" * room, "b"):
            answer = await client.request(EchoWrite(d=text))
            assert success(answer)
            assert answer.r == text

    for board in desk.boards:
        talk(desk, echo, board)


@pytest.mark.parametrize("board", ["esp32-devkitc", "pico"])
def test_upload_state_erase(open_desk: OpenDesk, talk: Talk, board: str) -> None:
    """Each chunk is as large as the board's buffer allows, and nothing of it is lost."""
    desk = open_desk({"board": board}, wan_open=True)
    image = make_image(20_000)
    octets = image.to_bytes()

    async def upload(client: SMPClient) -> None:
        offsets = [off async for off in client.upload(octets)]
        assert offsets[-1] == len(octets)
        assert len(offsets) == 5, "4 KiB each"
        state = await client.request(ImageStatesRead())
        assert success(state)
        assert [(i.hash, i.version) for i in state.images] == [(image.file_hash, image.version)]
        assert success(await client.request(ImageErase(slot=state.images[0].slot)))
        state = await client.request(ImageStatesRead())
        assert success(state)
        assert state.images == []

    talk(desk, upload)
    assert desk.boards["hub"].lost == 0


def test_upload_goes_on_after_a_power_cut(open_desk: OpenDesk, talk: Talk) -> None:
    desk = open_desk(wan_open=True)
    octets = make_image(64 * 1024).to_bytes()

    async def begin(client: SMPClient) -> None:
        async for off in client.upload(octets):
            if off > 40_000:
                break

    async def go_on(client: SMPClient) -> None:
        offsets = [off async for off in client.upload(octets)]
        assert 32_000 <= offsets[0] <= 44_000, "where the store's last checkpoint was"
        assert offsets[-1] == len(octets)
        state = await client.request(ImageStatesRead())
        assert success(state)
        assert [i.hash for i in state.images] == [hashlib.sha256(octets).digest()]

    talk(desk, begin)
    desk.boards["hub"].power_off()
    desk.boards["hub"].power_on()
    talk(desk, go_on)


def test_refusals_in_both_versions_of_smp(open_desk: OpenDesk, talk: Talk) -> None:
    """SMP v1 has one list of codes; v2 says which group's code it is."""

    async def refused(client: SMPClient) -> None:
        v1 = await client.request(ImageErase(slot=77, version=Version.V1))
        assert error_v1(v1)
        assert v1.rc is MGMT_ERR.ENOENT
        v2 = await client.request(ImageErase(slot=77, version=Version.V2))
        assert error_v2(v2)
        assert v2.err.rc is IMG_MGMT_ERR.NO_IMAGE

    talk(open_desk(wan_open=True), refused)


def test_too_large_image_is_refused_as_smp_says(open_desk: OpenDesk, talk: Talk) -> None:
    """Rules 4 and 34: before the first octet is stored."""

    async def refused(client: SMPClient) -> None:
        upload = client.upload(make_image(8192).to_bytes())
        with pytest.raises(SMPUploadError) as failed:
            await anext(upload)
        answer = failed.value.args[0]
        assert error_v2(answer)
        assert answer.err.rc.name == "INVALID_IMAGE_TOO_LARGE"
        state = await client.request(ImageStatesRead())
        assert success(state)
        assert state.images == []

    talk(open_desk({"store": 8192}, wan_open=True), refused)
