import asyncio
import hashlib
import struct

from test_han_network import PPMID, PPMID_EUI, FastClock, Han, settle

from smets1.han.basic import Identity
from smets1.han.ids import (
    ABORT,
    CLUSTER_OTA,
    INVALID_IMAGE,
    NO_IMAGE_AVAILABLE,
    SUCCESS,
    TIMEOUT,
)
from smets1.han.ota import (
    BLOCK_MAX,
    DOWNLOADING,
    IMAGE_UPGRADE_STATUS,
    NORMAL,
    NOW,
    WAIT,
    WAITING_TO_UPGRADE,
)
from smets1.han.ota_client import OtaClient, Refused
from smets1.han.ota_server import Offer, OtaServer

CLOCK = FastClock()
MANUFACTURER, IMAGE_TYPE, OLD, NEW = 0x121D, 0x0084, 0x00050005, 0xACDC0006
IMAGE = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(256))[
    :8185
]  # not a whole number of blocks


class Sink:
    def __init__(self, capacity=100_000):
        self.capacity = capacity
        self.octets = bytearray(len(IMAGE) + BLOCK_MAX)
        self.used = 0
        self.begun = []
        self.dropped = 0
        self.sound = None  # what end() gives; None: compare

    def begin(self, size, file_version, manufacturer, image_type):
        self.begun.append((size, file_version, manufacturer, image_type))
        if size > self.capacity:
            raise Refused
        return self.used

    def write(self, data):
        assert 0 < len(data) <= BLOCK_MAX
        self.octets[self.used : self.used + len(data)] = data
        self.used += len(data)

    def end(self):
        return self.whole() if self.sound is None else self.sound

    def drop(self):
        self.used = 0
        self.dropped += 1

    def write_all(self):
        self.octets[: len(IMAGE)] = IMAGE
        self.used = len(IMAGE)

    def whole(self):
        return self.used == len(IMAGE) and memoryview(self.octets)[: self.used] == IMAGE


class Ota:
    """A HAN with an OTA server on its CH and a client on its PPMID."""

    def __init__(self, **more):
        self.han = Han()
        self.progress = []
        self.ends = []
        self.server = OtaServer(
            self.han.ch,
            lambda eui, offset: self.progress.append(offset),
            lambda eui, status: self.ends.append((eui, status)),
        )
        self.sink = Sink()
        who = Identity(MANUFACTURER, IMAGE_TYPE, OLD, 0x0102, "IHDAE05", "Pipit 500", "Secure")
        self.client = OtaClient(self.han.ppmid, who, self.sink, CLOCK.ticks_ms)
        self.ready = lambda offset: True
        self.server.offer(PPMID_EUI, self.offer(**more))
        self.han.start()

    def offer(self, manufacturer=MANUFACTURER, image_type=IMAGE_TYPE, file_version=NEW, **more):
        return Offer(manufacturer, image_type, file_version, len(IMAGE), self.read, **more)

    def read(self, offset, buf):
        ready = self.ready(offset)
        if not ready:
            return ready
        buf[:] = IMAGE[offset : offset + len(buf)]
        return len(buf)


async def test_download():
    ota = Ota(upgrade_time=NOW)
    assert await ota.client.download() == (SUCCESS, NOW)
    assert ota.sink.whole()
    assert ota.sink.begun == [(len(IMAGE), NEW, MANUFACTURER, IMAGE_TYPE)]
    assert ota.progress == list(range(0, len(IMAGE), 65))
    assert ota.ends == [(PPMID_EUI, SUCCESS)]
    assert ota.client.retries == ota.client.strays == 0
    blocks = (len(IMAGE) + 64) // 65
    assert ota.han.ppmid.stats["tx"] == blocks + 2  # and one query, one end
    ota.han.stop()


async def test_notify_starts_it_and_status_tells():
    ota = Ota()
    results = []
    task = asyncio.create_task(ota.client.run(lambda status, when: results.append((status, when))))
    seen = set()
    ota.ready = lambda offset: seen.add(ota.client.image_upgrade_status) or True
    assert ota.client.image_upgrade_status == NORMAL
    await ota.server.notify(PPMID_EUI)
    while not results:
        await asyncio.sleep_ms(10)
    assert results == [(SUCCESS, WAIT)] and seen == {DOWNLOADING}
    values = await ota.server.read(PPMID, (IMAGE_UPGRADE_STATUS,))
    assert values == {IMAGE_UPGRADE_STATUS: WAITING_TO_UPGRADE}
    task.cancel()
    ota.han.stop()


async def test_notify_for_another_kind_of_device_is_not_followed():
    ota = Ota(image_type=0x0000)
    task = asyncio.create_task(ota.client.run(None))
    await ota.server.notify(PPMID_EUI)
    await settle()
    assert ota.han.ppmid.stats["tx"] == 0
    task.cancel()
    ota.han.stop()


async def test_every_seventh_frame_lost():
    ota = Ota()
    sent = [0]

    def lose(number, octets):
        sent[0] += 1
        return sent[0] % 7 == 0

    ota.han.ch_link.lose = ota.han.ppmid_link.lose = lose
    assert await ota.client.download() == (SUCCESS, WAIT)
    assert ota.sink.whole()
    assert ota.client.retries > 20
    ota.han.stop()


async def test_a_request_sent_twice_does_not_double_the_rest():
    ota = Ota()

    def ready(offset):
        if offset == 650 and len(ota.progress) == 10:
            # as if the answer had come after its timeout
            again = bytearray(17)
            ota.client._block_request(again)
            asyncio.create_task(ota.client.send(0, again, len(again)))
        return True

    ota.ready = ready
    assert await ota.client.download() == (SUCCESS, WAIT)
    assert ota.sink.whole() and ota.client.strays == 1
    assert ota.han.ppmid.stats["tx"] == (len(IMAGE) + 64) // 65 + 3
    ota.han.stop()


async def test_wait_for_data():
    ota = Ota(wait_s=20)
    waits = [3]

    def ready(offset):
        if offset == 650 and waits[0]:
            waits[0] -= 1
            return None
        return True

    ota.ready = ready
    before = CLOCK.ticks_ms()
    assert await ota.client.download() == (SUCCESS, WAIT)
    assert ota.sink.whole()
    assert ota.client.waits == 3 and ota.client.retries == 0
    assert 60_000 <= CLOCK.ticks_ms() - before < 61_000
    ota.han.stop()


async def test_no_image_available():
    for more in (
        {"manufacturer": 0x1234},
        {"image_type": 0x0000},
        {"file_version": OLD},  # what it runs already
        {"hw_min": 0x0103},
        {"hw_max": 0x0101},
    ):
        ota = Ota(**more)
        assert await ota.client.download() == (NO_IMAGE_AVAILABLE, WAIT), more
        assert not ota.sink.begun and not ota.ends
        ota.han.stop()
    ota = Ota()
    ota.server.withdraw(PPMID_EUI)
    assert await ota.client.download() == (NO_IMAGE_AVAILABLE, WAIT)
    assert ota.client.image_upgrade_status == NORMAL
    ota.han.stop()


async def test_abort_when_the_offer_is_withdrawn():
    ota = Ota()

    def ready(offset):
        if offset == 1300:
            ota.server.withdraw(PPMID_EUI)
        return True

    ota.ready = ready
    assert await ota.client.download() == (ABORT, WAIT)
    assert ota.sink.dropped == 0, "it may go on with it"
    ota.han.stop()


async def test_abort_when_another_version_is_offered_meanwhile():
    ota = Ota()

    def ready(offset):
        if offset == 1300:
            ota.server.offer(PPMID_EUI, ota.offer(file_version=NEW + 1))
        return True

    ota.ready = ready
    assert await ota.client.download() == (ABORT, WAIT)
    ota.ready = lambda offset: True
    assert await ota.client.download() == (SUCCESS, WAIT)  # the new one
    assert ota.sink.begun[1][1] == NEW + 1
    ota.han.stop()


async def test_abort_when_the_image_cannot_be_read_any_more():
    ota = Ota()
    ota.ready = lambda offset: True if offset < 1300 else 0
    assert await ota.client.download() == (ABORT, WAIT)
    assert ota.ends == [(PPMID_EUI, ABORT)]
    ota.han.stop()


async def test_store_too_small_ends_with_abort():
    ota = Ota()
    ota.sink.capacity = len(IMAGE)  # exactly at the limit: rule 5
    assert await ota.client.download() == (SUCCESS, WAIT)
    ota.han.stop()
    ota = Ota()
    ota.sink.capacity = len(IMAGE) - 1
    assert await ota.client.download() == (ABORT, WAIT)
    assert ota.ends == [(PPMID_EUI, ABORT)]
    assert not ota.progress and ota.client.image_upgrade_status == NORMAL
    ota.han.stop()


async def test_store_that_overflows_ends_with_abort():
    for trouble in (Refused, OSError(28)):
        await overflow(trouble)


async def overflow(trouble):
    ota = Ota()

    real = ota.sink.write

    def write(data):
        if ota.sink.used > 4000:
            raise trouble
        real(data)

    ota.sink.write = write
    assert await ota.client.download() == (ABORT, WAIT)
    assert ota.ends == [(PPMID_EUI, ABORT)] and ota.sink.dropped == 1
    ota.han.stop()


async def test_invalid_image():
    ota = Ota()
    ota.sink.sound = False
    assert await ota.client.download() == (INVALID_IMAGE, WAIT)
    assert ota.ends == [(PPMID_EUI, INVALID_IMAGE)]
    assert ota.sink.dropped == 1 and ota.client.image_upgrade_status == NORMAL
    ota.han.stop()


async def test_silence_is_given_up_and_resumed():
    ota = Ota()
    ota.han.ch_link.lose = lambda number, octets: number > 60
    before = CLOCK.ticks_ms()
    assert await ota.client.download() == (TIMEOUT, WAIT)
    assert 300 * 31 <= CLOCK.ticks_ms() - before < 300 * 31 + 500  # 5 tries, each twice as long
    assert ota.client.retries == 4
    kept = ota.sink.used
    assert kept == 59 * 65 and not ota.sink.dropped and not ota.ends
    ota.han.ch_link.lose = lambda number, octets: False
    ota.progress.clear()
    assert await ota.client.download() == (SUCCESS, WAIT)
    assert ota.progress[0] == kept and ota.sink.whole()
    ota.han.stop()


async def test_no_server_at_all():
    ota = Ota()
    ota.han.ch_link.lose = lambda number, octets: True
    assert await ota.client.download() == (TIMEOUT, WAIT)
    assert not ota.sink.begun
    ota.han.stop()


async def test_image_held_already_is_only_ended():
    ota = Ota()
    ota.sink.write_all()
    assert await ota.client.download() == (SUCCESS, WAIT)
    assert not ota.progress and ota.ends == [(PPMID_EUI, SUCCESS)]
    ota.han.stop()


async def test_lost_end_response_is_asked_for_again_and_reported_once():
    ota = Ota(upgrade_time=5)
    last = 1 + (len(IMAGE) + 64) // 65 + 1
    ota.han.ch_link.lose = lambda number, octets: last <= number < last + 2
    assert await ota.client.download() == (SUCCESS, 5)
    assert ota.ends == [(PPMID_EUI, SUCCESS)]
    ota.han.stop()


async def test_sink_of_another_image_is_dropped():
    ota = Ota()
    real = ota.server.offers[PPMID_EUI].size

    def ready(offset):  # the image is shorter than it was when it was offered
        ota.server.offers[PPMID_EUI].size = 650
        return True

    ota.ready = ready
    assert await ota.client.download() == (ABORT, WAIT)
    assert ota.client.size == real and ota.progress[-1] == 585 and ota.sink.dropped == 1
    ota.han.stop()


async def ask(ota, payload):
    """The server's answers to an OTA frame of the PPMID's."""
    got = []
    real = ota.client._receive
    ota.han.ppmid.handle(
        0x0109, CLUSTER_OTA, 1, lambda peer, frame, reply: got.append(bytes(frame)) or 0
    )
    await ota.client.send(0, payload, len(payload))
    await settle()
    ota.han.ppmid.handle(0x0109, CLUSTER_OTA, 1, real)
    assert len(got) == 1
    return got[0]


def block_request(offset, most, version=NEW, more=b"", control=0):
    return (
        b"\x11\x21\x03"
        + struct.pack("<BHHIIB", control, MANUFACTURER, IMAGE_TYPE, version, offset, most)
        + more
    )


async def test_block_requests_of_other_clients():
    ota = Ota()
    answer = await ask(ota, block_request(100, 40))
    assert answer[:4] == b"\x19\x21\x05\x00" and answer[16] == 40 and answer[17:] == IMAGE[100:140]
    # more than a frame takes; the last, shorter one; one with its EUI-64 and block period in it
    assert len(await ask(ota, block_request(0, 255))) == 17 + 65
    assert (await ask(ota, block_request(8180, 64)))[17:] == IMAGE[8180:]
    assert (await ask(ota, block_request(0, 9, more=bytes(10), control=3)))[17:] == IMAGE[:9]
    # past the end, or nothing: Default Response MALFORMED_COMMAND
    for offset, most in ((8185, 64), (0xFFFFFFFF, 64), (0, 0)):
        assert await ask(ota, block_request(offset, most)) == b"\x18\x21\x0b\x03\x80"
    assert await ask(ota, block_request(0, 64, version=OLD)) == b"\x19\x21\x05\x95"
    assert await ask(ota, block_request(0, 64)[:-1]) == b"\x18\x21\x0b\x03\x80"
    # Image Page Request: the client is to go on with blocks
    assert await ask(ota, b"\x11\x21\x04" + bytes(18)) == b"\x18\x21\x0b\x04\x81"
    ota.han.stop()
