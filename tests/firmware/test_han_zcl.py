import random
import struct

from test_han_network import PPMID, FastClock, Han, dropped, flash, settle

from smets1.han.basic import (
    HW_VERSION,
    MANUFACTURER_NAME,
    MODEL_IDENTIFIER,
    SW_BUILD_ID,
    BasicClient,
    BasicServer,
    Identity,
    read_firmware_version,
)
from smets1.han.ids import CLUSTER_BASIC, ENDPOINT, PROFILE_SE
from smets1.han.ota import (
    CURRENT_FILE_VERSION,
    FILE_OFFSET,
    IMAGE_UPGRADE_STATUS,
    UPGRADE_SERVER_ID,
)
from smets1.han.ota_client import OtaClient
from smets1.han.ota_server import OtaServer
from smets1.han.tunnel import TunnelServer
from smets1.han.zcl import NoAnswer

CLOCK = FastClock()


def identity():
    return Identity(0x121D, 0x0084, 0x01020304, 0x0102, "IHDAE05", "Pipit 500", "Secure Meters")


async def test_read_attributes():
    han = Han().start()
    basic = BasicClient(han.ch)
    BasicServer(han.ppmid, identity())
    values = await basic.read(
        PPMID, (HW_VERSION, MANUFACTURER_NAME, MODEL_IDENTIFIER, SW_BUILD_ID, 0x4321)
    )
    assert values == {
        HW_VERSION: 1,
        MANUFACTURER_NAME: "Secure Meters",
        MODEL_IDENTIFIER: "Pipit 500",
        SW_BUILD_ID: "IHDAE05",
    }
    assert not dropped(han.ch) and not dropped(han.ppmid)
    han.stop()


async def test_attributes_that_need_more_frames_than_one():
    han = Han().start()
    basic = BasicClient(han.ch)
    who = identity()
    who.maker, who.model = "M" * 32, "m" * 40
    BasicServer(han.ppmid, who)
    ids = (MANUFACTURER_NAME, MODEL_IDENTIFIER, SW_BUILD_ID)
    assert await basic.read(PPMID, ids) == {
        MANUFACTURER_NAME: "M" * 32,
        MODEL_IDENTIFIER: "m" * 32,
        SW_BUILD_ID: "IHDAE05",
    }
    assert han.ch.stats["rx"] == 2
    han.stop()


async def test_read_firmware_version_and_state_of_a_download():
    han = Han().start()
    who = identity()
    BasicServer(han.ppmid, who)
    OtaClient(han.ppmid, who, None, CLOCK.ticks_ms)
    basic, ota = BasicClient(han.ch), OtaServer(han.ch)
    assert await read_firmware_version(basic, ota, PPMID) == ("IHDAE05", 0x01020304)
    ids = (UPGRADE_SERVER_ID, IMAGE_UPGRADE_STATUS, CURRENT_FILE_VERSION, FILE_OFFSET)
    assert await ota.read(PPMID, ids) == {
        UPGRADE_SERVER_ID: 0x00DB1234567890A2,
        IMAGE_UPGRADE_STATUS: 0,
        CURRENT_FILE_VERSION: 0x01020304,
        FILE_OFFSET: 0xFFFFFFFF,
    }
    han.stop()


async def test_read_is_tried_again_and_then_given_up():
    han = Han().start()
    basic = BasicClient(han.ch)
    BasicServer(han.ppmid, identity())
    han.ch_link.lose = lambda number, octets: number == 1
    han.ppmid_link.lose = lambda number, octets: number == 1
    assert await basic.read(PPMID, (SW_BUILD_ID,)) == {SW_BUILD_ID: "IHDAE05"}
    assert han.ch_link.count == 3
    han.ch_link.lose = lambda number, octets: True
    before = CLOCK.ticks_ms()
    try:
        await basic.read(PPMID, (SW_BUILD_ID,), 500, 3)
        raise AssertionError("an answer")
    except NoAnswer:
        pass
    assert han.ch_link.count == 6
    assert 3500 <= CLOCK.ticks_ms() - before < 3600
    han.ch_link.lose = lambda number, octets: False
    assert await basic.read(PPMID, (SW_BUILD_ID,)) == {SW_BUILD_ID: "IHDAE05"}
    han.stop()


async def answer_to(han, payload, cluster=CLUSTER_BASIC):
    """What the PPMID answers to a ZCL frame."""
    got = []

    def handler(peer, payload, reply):
        got.append(bytes(payload))
        return 0

    han.ch.handle(PROFILE_SE, cluster, ENDPOINT, handler)
    await han.ch.send(PPMID, PROFILE_SE, cluster, ENDPOINT, ENDPOINT, payload, len(payload))
    await settle()
    assert len(got) < 2
    return got[0] if got else None


async def test_default_responses():
    han = Han().start()
    BasicServer(han.ppmid, identity())
    # a command that the cluster has not
    assert await answer_to(han, b"\x01\x07\x42") == b"\x18\x07\x0b\x42\x81"
    # a general command that we have not: Configure Reporting
    assert await answer_to(han, b"\x00\x08\x06") == b"\x18\x08\x0b\x06\x82"
    # a manufacturer's command
    assert await answer_to(han, b"\x05\x1d\x12\x09\x01") == b"\x1c\x1d\x12\x09\x0b\x01\x83"
    # half an attribute id
    assert await answer_to(han, b"\x00\x0a\x00\x05") == b"\x18\x0a\x0b\x00\x80"
    # to the other side of the cluster, or no ZCL at all: nothing to answer
    for payload in (b"\x09\x07\x42", b"\x02\x07\x42", b"\x00\x01", b""):
        assert await answer_to(han, payload) is None
    # a Default Response is never answered
    assert await answer_to(han, b"\x00\x07\x0b\x00\x81") is None
    assert han.ppmid.stats["malformed"] == 5
    han.stop()


async def test_late_or_foreign_answers_are_not_taken():
    han = Han().start()
    basic = BasicClient(han.ch)
    record = struct.pack("<HBBB", SW_BUILD_ID, 0, 0x42, 3) + b"BAD"

    def answer_wrongly(peer, frame, reply):
        reply[0:3] = bytes((0x18, (frame[1] + 1) & 255, 0x01))
        reply[3 : 3 + len(record)] = record
        return 3 + len(record)

    han.ppmid.handle(PROFILE_SE, CLUSTER_BASIC, ENDPOINT, answer_wrongly)
    try:
        await basic.read(PPMID, (SW_BUILD_ID,), 100, 2)
        raise AssertionError("taken")
    except NoAnswer:
        pass
    han.stop()


async def test_rubbish_inside_good_frames_raises_nothing():
    han = Han().start()
    who = identity()
    # both sides of every cluster, with rubbish from a neighbour that has the key
    BasicServer(han.ppmid, who)
    client = OtaClient(han.ppmid, who, None, CLOCK.ticks_ms)
    client._fetching = True
    TunnelServer(han.ppmid, lambda hash, counter: (1, 0), None, flash() + "/tunnel")
    BasicClient(han.ch)
    OtaServer(han.ch)
    random.seed(4)
    for network, short in ((han.ch, PPMID), (han.ppmid, 0)):
        for _ in range(1500):
            payload = bytearray(random.getrandbits(8) for _ in range(random.getrandbits(6)))
            if len(payload) > 3:
                payload[0] = (0x00, 0x01, 0x08, 0x09)[payload[0] & 3]
                payload[2] &= 0x0F
                if payload[3] & 1:
                    payload[3] = 0
            cluster = (0x0000, 0x0019, 0x0704)[random.getrandbits(8) % 3]
            await network.send(
                short, PROFILE_SE, cluster, ENDPOINT, ENDPOINT, payload, len(payload)
            )
            await settle()
    assert han.ppmid.stats["rx"] > 1500 and han.ppmid.stats["malformed"] > 300
    assert han.ch.stats["malformed"] > 300
    han.stop()
