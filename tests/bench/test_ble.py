"""SMP over BLE: bleak's own API on a virtual radio with connection events, firmware in its VM, on the bench's clock.

The `bluetooth` that it runs on is boards/ports/bluetooth.py; nothing here has a radio, or sleeps.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
from pathlib import Path

import bleak
import pytest
from ble_desk import BleDesk, run
from bleak.exc import BleakError
from bumble.core import UUID
from bumble.gatt import Characteristic, Service
from labs import OpenDesk, config, make_image
from smp.error import MGMT_ERR
from smpclient import SMPClient
from smpclient.generics import success
from smpclient.requests.image_management import ImageErase, ImageStatesRead, ImageUploadWrite
from smpclient.requests.os_management import EchoWrite, MemoryPoolStatisticsRead
from smpclient.transport.ble import SMPBLETransport
from smpclient.transport.bumble import SMPBumbleTransport
from virtual_ble import air

from hanlab.boards.data import FlashFacts, load_board
from hanlab.errors import UsageError
from hanlab.lab.boards import wan_client
from hanlab.lab.config import DEFAULT, LabConfig, make_lab
from hanlab.lab.desk import Desk
from hanlab.lab.facade import _heap
from hanlab.wan.ble_port import CHARACTERISTIC, SERVICE, BleBoard, scan
from hanlab.wan.client import WanClient
from hanlab.wan.errors import Refused, WanError
from hanlab.wan.exchange import Window
from hanlab.wan.messages import CountersRead, Distribute, ProgressRead, StoreRead

IMAGE = make_image(65536).to_bytes()


@pytest.fixture
def desk(open_desk: OpenDesk) -> Desk:
    """The default lab, its CH with BLE."""
    return open_desk({"ble": True})


async def upload(client: WanClient, image: bytes) -> None:
    async for _ in client.upload(image):
        pass


async def stored(client: WanClient) -> list[bytes]:
    """SHA-256 of each file in the CH's store, read back from flash."""
    images = (await client.read(StoreRead, verify=True)).images
    assert all(image.ok for image in images)
    return [image.sha for image in images]


def sha(image: bytes) -> bytes:
    return hashlib.sha256(image).digest()


def test_an_upload(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An MTU of 247, the board's own window, and not an octet lost in it."""

    async def talk(ble: BleDesk) -> None:
        client = await ble.client()
        assert await client.connect() == Window(976, 5)
        await upload(client, IMAGE)
        assert client.counters.retries == 0
        assert ble.radios["hub"].mtus == [247]
        assert await stored(client) == [sha(IMAGE)]
        wan = (await client.read(CountersRead)).wan
        assert wan["dropped"] == wan["failures"] == wan["denied"] == 0

    run(desk, monkeypatch, talk)


def with_the_flash_of(board: str, plain: LabConfig) -> LabConfig:
    home = plain.homes[0]
    own = home.hub.board
    quick = dataclasses.replace(own, flash=_as_quick_as(board, own.flash))
    hub = dataclasses.replace(home.hub, board=quick)
    return dataclasses.replace(plain, homes=(dataclasses.replace(home, hub=hub),))


def _as_quick_as(board: str, flash: FlashFacts) -> FlashFacts:
    theirs = load_board(board).flash
    return dataclasses.replace(flash, erase_us=theirs.erase_us, program_us=theirs.program_us)


@pytest.mark.parametrize("flash", ["pico", "esp32-devkitc"])
def test_the_connection_is_what_limits_an_upload(
    flash: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least 85 % of what its connection events carry; on the ESP32 flash is the slower, and has 80 % of its rate."""
    desk = Desk(with_the_flash_of(flash, config({"ble": True})), tmp_path)
    image = make_image(131_072).to_bytes()
    marks: list[tuple[int, int]] = []

    async def talk(ble: BleDesk) -> None:
        client = await ble.client()
        await client.connect()
        marks.extend([(desk.clock_us, confirmed) async for confirmed in client.upload(image)])

    desk.power_on()
    try:
        run(desk, monkeypatch, talk)
    finally:
        desk.close()
    (t0, first), (t1, last) = marks[0], marks[-2]  # the last one waits for a hash as well
    rate = (last - first) / (t1 - t0) * 1e6
    facts = desk.config.hub.board.flash
    sector_us = facts.erase_us + facts.sector // facts.page * facts.program_us
    link = air.PACKETS * 244 / air.INTERVAL_S
    # of four packets of 244 octets: 4 that the host leaves free, SMP's header, CBOR around the data, and the seal
    carries = link * (976 - 4 - 8 - 18 - 26) / 976
    writes = facts.sector / sector_us * 1e6
    print(
        f"\n128 KiB by BLE, {air.INTERVAL_S * 1000:.0f} ms, {air.PACKETS} packets, flash of {flash}: {rate:,.0f} B/s; "
        f"the connection carries {link:,.0f}, {carries:,.0f} of them an image's ({100 * rate / carries:.1f} %), "
        f"flash takes {writes:,.0f} ({100 * rate / writes:.1f} %)"
    )
    if flash == "pico":
        assert rate >= 0.85 * carries
    else:
        assert rate >= 0.8 * writes


def test_a_full_window_at_once_is_answered_in_full(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many of the longest messages as the parameters say, while the board is at its flash and takes none."""

    async def talk(ble: BleDesk) -> None:
        client = await ble.client()
        window = await client.connect()
        text = "x" * (window.size - len(EchoWrite(d="").BYTES) - 2)
        images = asyncio.create_task(upload(client, make_image(8192).to_bytes()))
        await asyncio.sleep(0.2)
        images.cancel()
        await asyncio.gather(images, return_exceptions=True)
        exchange = client._exchange
        echoes = [exchange.make(EchoWrite, d=text) for _ in range(window.count)]
        assert {len(echo.BYTES) for echo in echoes} == {window.size}
        answers = [exchange.send(echo.BYTES) for echo in echoes]
        await asyncio.wait(answers, timeout=5)
        assert all(answer.done() and text.encode() in answer.result() for answer in answers)

    run(desk, monkeypatch, talk)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_link_that_is_lost_is_found_again_and_the_upload_goes_on(
    seed: int, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)

    async def talk(ble: BleDesk) -> None:
        client = await ble.client()
        losses = sorted(chance.sample(range(4000, len(IMAGE), 1000), 2))
        reached: list[int] = []
        async for confirmed in client.upload(IMAGE):
            reached.append(confirmed)
            if losses and confirmed >= losses[0]:
                losses.pop(0)
                await asyncio.sleep(chance.random() / 50)
                ble.air.lose(ble.radios["hub"].address)
        assert not losses
        assert reached == sorted(set(reached)), "nothing is sent twice from the start"
        assert await stored(client) == [sha(IMAGE)]
        assert client.counters.logins == 3, "a login ends with its link"
        assert client.octets_sent < 1.5 * len(IMAGE)
        assert len(ble.radios["hub"].mtus) == 3

    run(desk, monkeypatch, talk)


def test_what_a_lost_client_began_is_not_the_next_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a request, and the next client's first one is answered at once."""

    async def talk(ble: BleDesk) -> None:
        port = await ble.port()
        port.write(EchoWrite(d="x" * 500).BYTES[:400])
        await asyncio.sleep(0.2)
        await ble.disconnect()
        client = await ble.client()
        began = desk.clock_us
        await client.connect()
        assert client.counters.knocks == 1
        assert desk.clock_us - began < 1_000_000

    run(desk, monkeypatch, talk)


def two_homes() -> LabConfig:
    hub = DEFAULT["comms_hub"] | {"ble": True}
    homes = [
        {"name": name, "comms_hub": {**hub, "eui": f"00-DB-12-34-56-78-90-{end}"}}
        for name, end in (("oak", "A2"), ("elm", "B2"))
    ]
    return make_lab("two", {"home": homes})


def test_two_hubs_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(two_homes(), tmp_path)
    images = {"oak/hub": IMAGE, "elm/hub": make_image(50_000).to_bytes()}

    async def update(ble: BleDesk, name: str) -> None:
        client = await ble.client(name)
        await upload(client, images[name])
        assert await stored(client) == [sha(images[name])]
        assert client.counters.retries == 0

    async def talk(ble: BleDesk) -> None:
        await asyncio.sleep(1)  # they start
        boards = sorted(await scan(1), key=lambda board: board.name)
        assert boards == [
            BleBoard("hanlab-90A2", ble.radios["oak/hub"].address, -50),
            BleBoard("hanlab-90B2", ble.radios["elm/hub"].address, -50),
        ]
        assert [board.port for board in boards] == ["ble:hanlab-90A2", "ble:hanlab-90B2"]
        await asyncio.gather(update(ble, "oak/hub"), update(ble, "elm/hub"))

    desk.power_on()
    try:
        run(desk, monkeypatch, talk)
    finally:
        desk.close()


@pytest.fixture
def open_hub(open_desk: OpenDesk) -> Desk:
    """As `desk`, and its WAN is open."""
    return open_desk({"ble": True}, wan_open=True)


def test_smpclients_own_transport(open_hub: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It scans, connects and uploads by itself; it knows nothing of hanlab."""

    async def talk(ble: BleDesk) -> None:
        await asyncio.sleep(1)
        async with SMPClient(SMPBLETransport(), "hanlab-90A2") as client:
            echo = await client.request(EchoWrite(d="over the air"))
            assert success(echo)
            assert echo.r == "over the air"
            async for offset in client.upload(IMAGE):
                assert offset <= len(IMAGE)
            states = await client.request(ImageStatesRead())
            assert success(states)
            assert states.images[0].hash == sha(IMAGE)

    run(open_hub, monkeypatch, talk)


def test_smpclients_transport_on_bumble(open_hub: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without bleak: bumble's GATT client by itself."""

    async def talk(ble: BleDesk) -> None:
        await asyncio.sleep(1)
        connection = await ble.central.connect(ble.radios["hub"].address)
        transport = SMPBumbleTransport()
        await transport.use_connection(connection)
        assert transport.mtu == 244
        client = SMPClient(transport, "")
        await client._initialize()
        async for offset in client.upload(IMAGE):
            assert offset <= len(IMAGE)
        states = await client.request(ImageStatesRead())
        assert success(states)
        assert states.images[0].hash == sha(IMAGE)

    run(open_hub, monkeypatch, talk)


def test_a_device_is_updated_by_a_ch_whose_client_comes_by_ble(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HAN is at work while the S1SP asks over BLE how far it is."""
    image = make_image()

    async def talk(ble: BleDesk) -> None:
        client = await ble.client()
        await upload(client, image.to_bytes())
        ppmid = desk.config.node("PPMID").eui.octets
        await client.write(Distribute, eui=ppmid, hash=image.manufacturer_image_hash)
        asked = 0
        while (progress := await client.read(ProgressRead)).state == "running":
            asked += 1
            await asyncio.sleep(0.1)
        assert progress.state == "done"
        assert asked > 10
        assert client.counters.retries == 0

    run(desk, monkeypatch, talk)


def test_a_client_that_writes_garbage(open_hub: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any octets, in pieces of any length, more than the window: what is in the store stays, and it answers again."""
    chance = random.Random(7)

    async def talk(ble: BleDesk) -> None:
        port = await ble.port()
        client = WanClient(port, port.framing, None, port.octets_s)
        await upload(client, IMAGE)
        octets = bytes([*ImageUploadWrite(off=0, data=b"x", len=1).BYTES])
        for _ in range(60):
            piece = chance.randbytes(chance.randrange(1, 600))
            port.write(piece if chance.random() < 0.7 else octets[: chance.randrange(len(octets))])
        await asyncio.sleep(3)  # what it was is given up 2 s after its last octet
        assert await stored(client) == [sha(IMAGE)]
        counters = await client.read(CountersRead)
        assert counters.wan["dropped"] > 0
        assert counters.wan["failures"] == 0

    run(open_hub, monkeypatch, talk)


def test_one_client_at_a_time_is_logged_in(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By cable or by BLE: who comes second hears that somebody is there, and may read."""

    async def talk(ble: BleDesk) -> None:
        cable = wan_client(desk, "hub")
        radio = await ble.client()
        await upload(cable, make_image().to_bytes())
        with pytest.raises(WanError, match="another client is logged in") as busy:
            await radio.connect()
        assert busy.value.next_step.startswith("end that one, or wait")
        await radio.close()
        reader = WanClient(radio._exchange._link, "raw")
        assert len((await reader.read(StoreRead)).images) == 1
        await reader.close()
        await cable.close()
        await radio.connect()
        with pytest.raises(WanError, match="another client is logged in"):
            await cable.connect()
        await ble.disconnect()  # the login goes with the link
        await asyncio.sleep(0.1)
        await cable.connect()

    run(desk, monkeypatch, talk)


def test_one_client_at_a_time_uploads_to_an_open_board(
    open_hub: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two would end each other's upload for ever."""

    async def talk(ble: BleDesk) -> None:
        cable = wan_client(open_hub, "hub")
        port = await ble.port()
        radio = WanClient(port, port.framing, None, port.octets_s)
        first = asyncio.create_task(upload(cable, IMAGE))
        await asyncio.sleep(3)
        with pytest.raises(Refused) as busy:
            await radio.write(ImageErase, slot=1)
        assert busy.value.rc == MGMT_ERR.EBUSY
        with pytest.raises(Refused, match="EBUSY"):
            await upload(radio, make_image(20_000).to_bytes())
        await first
        assert await stored(radio) == [sha(IMAGE)]
        await asyncio.sleep(10)
        await upload(radio, make_image(20_000).to_bytes())

    run(open_hub, monkeypatch, talk)


def test_a_board_with_a_client_is_nobody_elses(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not advertise; when the client has gone, it does again."""

    async def talk(ble: BleDesk) -> None:
        client = await ble.client()
        await client.connect()
        assert await scan(1) == []
        await client.close()
        await ble.disconnect()
        assert [board.name for board in await scan(1)] == ["hanlab-90A2"]

    run(desk, monkeypatch, talk)


def test_a_board_that_loses_its_power(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(ble: BleDesk) -> None:
        client = await ble.client()
        async for confirmed in client.upload(IMAGE):
            if 30_000 < confirmed < 31_000:
                desk.boards["hub"].cut_power()
        assert await stored(client) == [sha(IMAGE)]

    run(desk, monkeypatch, talk)


def test_the_least_heap_there_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an ESP32 has left with its radio on carries an update of 256 KiB."""
    image = make_image(262_144).to_bytes()

    async def talk(ble: BleDesk) -> None:
        client = await ble.client()
        await upload(client, image)
        heap = _heap(await client.read(MemoryPoolStatisticsRead))
        scale = desk.vm.bits // 32
        free = heap.lowest / scale
        facts = desk.config.hub.board
        assert heap.total / scale < facts.memory.heap - facts.radio.ble_heap + 128 * 1024
        print(
            f"\nCH on an ESP32 with BLE, 256 KiB by BLE: {free:,.0f} octets of heap free at the least"
        )
        assert free > 8192

    run(desk, monkeypatch, talk)


def test_a_board_that_is_not_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which are in reach is said; its address does as well as its name."""

    async def talk(ble: BleDesk) -> None:
        await asyncio.sleep(1)
        for url, there in (("ble:hanlab-FFFF", "in reach: hanlab-90A2; "),):
            port = ble.other_port(url)
            with pytest.raises(UsageError, match="no board hanlab-FFFF was heard") as wrong:
                await port.keep()
            assert wrong.value.next_step.startswith(there)
        port = ble.other_port(f"ble:{ble.radios['hub'].address.lower()}")
        up = asyncio.Event()
        task = asyncio.create_task(port.keep(up.set))
        await asyncio.wait_for(up.wait(), 5)
        with pytest.raises(UsageError, match="no board") as wrong:
            await ble.other_port("ble:hanlab-90A2").keep()
        assert wrong.value.next_step.startswith("no board is in reach; it needs power, ble = true")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(desk, monkeypatch, talk)


def test_something_else_that_has_its_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(ble: BleDesk) -> None:
        other = await ble.air.device("other", "F0:00:00:00:09:01")
        other.add_service(
            Service(
                UUID(SERVICE),
                [
                    Characteristic(
                        "2A00", Characteristic.Properties.READ, Characteristic.READABLE, b""
                    )
                ],
            )
        )
        service = bytes(UUID(SERVICE))
        await other.start_advertising(
            advertising_data=b"\x02\x01\x06\x11\x07" + service, scan_response_data=b"\x04\x09elm"
        )
        with pytest.raises(UsageError, match="no SMP service") as wrong:
            await ble.other_port("ble:elm").keep()
        assert wrong.value.next_step.startswith("those advertise hanlab-")

    run(desk, monkeypatch, talk)


def test_a_connection_that_fails(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice: nobody notices. Each time: it is said."""

    async def talk(ble: BleDesk) -> None:
        await asyncio.sleep(1)
        whole = bleak.BleakClient.connect
        left = [2]

        async def connect(self: bleak.BleakClient, **options: object) -> None:
            left[0] -= 1
            if left[0] >= 0:
                raise BleakError("le-connection-abort-by-local")
            await whole(self, **options)

        monkeypatch.setattr(bleak.BleakClient, "connect", connect)
        await ble.client()
        await ble.disconnect()
        left[0] = 3
        with pytest.raises(UsageError, match="the connection failed: le-connection-abort") as wrong:
            await ble.port()
        assert wrong.value.next_step.startswith("bring the board nearer, or restart it")

    run(desk, monkeypatch, talk)


def test_the_characteristic_is_smps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As MCUmgr has it: write without response, and notify."""

    async def talk(ble: BleDesk) -> None:
        await asyncio.sleep(1)
        device = await bleak.BleakScanner.find_device_by_name("hanlab-90A2")
        assert device
        async with bleak.BleakClient(device) as client:
            found = client.services.get_characteristic(CHARACTERISTIC)
            assert found
            assert found.service_uuid == SERVICE
            assert set(found.properties) == {"write-without-response", "notify"}
            assert found.max_write_without_response_size == 244

    run(desk, monkeypatch, talk)
