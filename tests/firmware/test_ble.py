# boards/ports/ble.py on a `bluetooth` that does what chips' do: interrupts between any two steps, full buffers.
import asyncio
import sys

import micropython

sys.path.append(sys.path[0] + "/../../boards/ports")

import ble

CONNECTED, DISCONNECTED, WRITTEN, MTU = 1, 2, 3, 21
RX = 21


class Ble:
    """As bluetooth.BLE, with an append buffer that drops what does not fit."""

    def __init__(self):
        self.buffer = b""
        self.size = 20
        self.sent = []
        self.adverts = []
        self.dropped = []
        self.full = 0  # so many notifications are refused
        self.hungry = 0  # so many reads find no heap
        self.deaf = 0  # so many advertisements are refused
        self.late = False  # whoever is to be disconnected has gone
        self.on_notify = None

    def active(self, on):
        assert on

    def config(self, mtu, gap_name):
        self.mtu = mtu
        self.name = gap_name

    def irq(self, handler):
        self.handler = handler

    def gatts_register_services(self, services):
        self.services = services
        return ((RX,),)

    def gatts_set_buffer(self, handle, size, append):
        assert append and handle == RX
        self.size = size

    def gatts_read(self, handle):
        if self.hungry:
            self.hungry -= 1
            raise MemoryError
        octets, self.buffer = self.buffer, b""
        return octets

    def gatts_write(self, handle, octets):
        self.buffer = octets

    def gatts_notify(self, connection, handle, octets):
        if not isinstance(connection, int):
            raise TypeError
        if self.on_notify:
            self.on_notify()
        if self.full:
            self.full -= 1
            raise OSError(12)
        self.sent.append((connection, bytes(octets)))

    def gap_advertise(self, interval_us, adv_data, resp_data):
        if self.deaf:
            self.deaf -= 1
            raise OSError(114)
        self.adverts.append((adv_data, resp_data))

    def gap_disconnect(self, connection):
        self.dropped.append(connection)
        if self.late:
            raise OSError(128)
        return True

    # what the radio does

    def event(self, event, *data):
        micropython.heap_lock()  # as in an interrupt
        try:
            self.handler(event, data)
        finally:
            micropython.heap_unlock()

    def connect(self, connection=1, mtu=247):
        self.event(CONNECTED, connection, 1, b"123456")
        if mtu:
            self.event(MTU, connection, mtu)

    def write(self, octets, connection=1):
        self.buffer = (self.buffer + octets)[: self.size]
        self.event(WRITTEN, connection, RX)


class Bluetooth:
    @staticmethod
    def UUID(text):
        return bytes(int(text.replace("-", "")[i : i + 2], 16) for i in range(30, -2, -2))

    def __init__(self):
        self.one = Ble()

    def BLE(self):
        return self.one


def opened():
    bluetooth = Bluetooth()
    return ble.Link(bluetooth, "hanlab-90A2", [976, 5]), bluetooth.one


async def soon(task):
    for _ in range(20):
        await asyncio.sleep_ms(1)
        if task.done():
            return await task
    task.cancel()
    return None


async def read(link, n=2000):
    buf = bytearray(n)
    got = await soon(asyncio.create_task(link.readinto(buf)))
    return got if got is None else bytes(buf[:got])


async def test_it_advertises_smps_service_and_its_name():
    link, radio = opened()
    assert await read(link) is None and len(radio.adverts) == 1
    service = bytes.fromhex("84aa6074528a8b86d34cb71d1ddc538d")
    assert radio.adverts[0] == (b"\x02\x01\x06\x11\x07" + service, b"\x0c\x09hanlab-90A2")
    assert len(radio.adverts[0][0]) <= 31 and (radio.mtu, radio.name) == (247, "hanlab-90A2")
    assert radio.size == link.smp_buffers[0] * link.smp_buffers[1] == 4880


async def test_octets_arrive_in_order_whatever_the_reader_takes_at_once():
    link, radio = opened()
    radio.connect()
    octets = bytes(range(250)) * 19
    for at in range(0, len(octets), 244):
        radio.write(octets[at : at + 244])
    got = b""
    for n in (1, 7, 4000, 4000):
        got += await read(link, n)
    assert got == octets
    assert await read(link) is None


async def test_an_answer_goes_in_pieces_of_the_mtu():
    link, radio = opened()
    radio.connect(5)
    octets = bytes(range(200)) * 4
    await link.write(memoryview(octets))
    assert [len(part) for _, part in radio.sent] == [244, 244, 244, 68]
    assert b"".join([part for _, part in radio.sent]) == octets
    assert {connection for connection, _ in radio.sent} == {5}
    radio.sent.clear()
    radio.event(MTU, 5, 23)
    await link.write(bytes(41))
    assert [len(part) for _, part in radio.sent] == [20, 20, 1]


async def test_full_buffers_are_waited_for():
    link, radio = opened()
    radio.connect()
    radio.full = 3
    await link.write(bytes(300))
    assert [len(part) for _, part in radio.sent] == [244, 56]


async def test_a_client_that_takes_nothing_is_dropped():
    link, radio = opened()
    radio.connect(3)
    ble._RETRY_MS = 0  # (a constant in the compiled file; the source has it still)
    radio.full = 1 << 20
    task = asyncio.create_task(link.write(bytes(300)))
    while not radio.dropped and not task.done():
        await asyncio.sleep_ms(10)
    await task
    assert radio.dropped == [3] and radio.sent == []


async def test_a_client_that_goes_in_the_middle_of_an_answer():
    link, radio = opened()
    radio.connect()

    def go():
        if len(radio.sent) == 1:
            radio.event(DISCONNECTED, 1, 1, b"123456")
            raise OSError(128)

    radio.on_notify = go
    await link.write(bytes(1000))  # no TypeError, and no end of tries
    assert len(radio.sent) == 1
    assert await read(link) == b""
    await link.write(b"to nobody")
    assert len(radio.sent) == 1


async def test_what_a_client_began_goes_with_it():
    """And only then does it advertise: the next client finds nothing of it."""
    link, radio = opened()
    assert await read(link) is None
    radio.connect()
    radio.write(b"half a requ")
    assert await read(link, 4) == b"half"
    radio.write(b"est")
    radio.event(DISCONNECTED, 1, 1, b"123456")
    assert len(radio.adverts) == 1
    assert await read(link) == b"", "that it has gone comes first"
    assert radio.buffer == b"" and len(radio.adverts) == 1
    assert await read(link) is None and len(radio.adverts) == 2
    radio.connect(2, mtu=None)
    radio.write(b"new", 2)
    assert await read(link) == b"new"
    await link.write(bytes(21))
    assert [len(part) for _, part in radio.sent] == [20, 1], "an MTU is its connection's"


async def test_a_second_client_is_sent_away():
    link, radio = opened()
    radio.connect(1)
    radio.connect(2, mtu=23)
    assert radio.dropped == [2]
    radio.event(DISCONNECTED, 2, 1, b"123456")
    radio.write(b"mine", 1)
    assert await read(link) == b"mine"
    await link.write(bytes(100))
    assert radio.sent == [(1, bytes(100))]


async def test_somebody_who_is_sent_away_and_has_gone():
    link, radio = opened()
    radio.late = True
    radio.connect(1)
    radio.connect(2)
    assert radio.dropped == [2]
    radio.write(b"mine")
    assert await read(link) == b"mine"


async def test_a_heap_in_pieces_costs_the_client_and_not_the_board():
    link, radio = opened()
    radio.connect()
    radio.write(b"once")
    radio.hungry = 1
    assert await read(link) == b"once"
    radio.write(b"twice")
    radio.hungry = 1 << 20
    assert await read(link) is None
    assert set(radio.dropped) == {1}
    radio.event(DISCONNECTED, 1, 1, b"123456")
    assert await read(link) == b"" and radio.buffer == b""


async def test_a_radio_that_is_not_ready_to_advertise():
    link, radio = opened()
    radio.deaf = 2
    assert await read(link) is None and len(radio.adverts) == 1


async def test_a_connection_that_fails_is_no_client():
    link, radio = opened()
    assert await read(link) is None
    radio.event(DISCONNECTED, 0xFFFF, 0xFF, bytes(6))  # as NimBLE says it
    assert await read(link) is None and len(radio.adverts) == 2
    radio.connect()
    radio.write(b"asked")
    assert await read(link) == b"asked"


def test_a_board_without_ble_goes_on_without():
    assert ble.open_link(None) is None
    sys.modules.pop("bluetooth", None)
    sys.path[:] = []  # (the VM has none of its own)
    assert ble.open_link({"name": "x", "smp": [976, 5]}) is None
