# Frames that are whole and authentic, or nearly, and still not to be believed: by layer, so that a check that is gone
# shows in the counters or in what was done.
import asyncio
import struct

from test_han_network import (
    CH_EUI,
    PPMID,
    PPMID_EUI,
    TEST_CLUSTER,
    Han,
    collect,
    dropped,
    frames_decode,
    send,
    settle,
    wire_form,
)
from test_han_ota import IMAGE, NEW, Ota
from test_han_tunnel import HASH, Tunnel
from test_han_zcl import answer_to

from smets1.han.basic import SW_BUILD_ID, BasicClient
from smets1.han.ids import (
    BROADCAST_RX_ON,
    CLUSTER_OTA,
    CLUSTER_TUNNELING,
    ENDPOINT,
    NO_IMAGE_AVAILABLE,
    PROFILE_SE,
    SUCCESS,
)
from smets1.han.ota import BLOCK_REQUEST, QUERY_REQUEST, WAIT
from smets1.han.tunnel import request_der
from smets1.han.zcl import BODY, Exchange
from smets1.octets import cobs_encode, crc16_fcs

# -- the network


async def why_dropped(change, fcs_too=True):
    """What becomes of a good frame of the CH's after `change(frame)`."""
    han = Han().start()
    got = collect(han.ppmid)
    octets = bytearray((await wire_form(han.ch, han.ch_link))[1:-1])
    await settle()
    assert len(got) == 1 and not dropped(han.ppmid)
    frame = octets[: frames_decode(octets)]
    frame[18] += 1  # the next frame counter: no replay
    change(frame)
    if fcs_too:
        fcs = crc16_fcs(frame, 0, len(frame) - 2)
        frame[-2], frame[-1] = fcs & 255, fcs >> 8
    wire = bytearray(len(frame) + 2)
    end = cobs_encode(frame, len(frame), wire, 0)
    han.ppmid_link.deliver(wire[: end + 1])
    await settle()
    assert len(got) == 1
    han.stop()
    return dropped(han.ppmid)


def flip(at, bits):
    def change(frame):
        frame[at] ^= bits

    return change


async def test_what_the_fcs_finds_goes_no_further():
    assert await why_dropped(flip(45, 1), fcs_too=False) == {"fcs": 1}
    assert await why_dropped(flip(-1, 0x80), fcs_too=False) == {"fcs": 1}


async def test_headers_that_this_han_does_not_send():
    for at, bits in (
        (17, 0x01),  # a level on the air
        (17, 0x20),  # no extended nonce
        (7, 1),  # the MAC's source is not the NWK's
        (13, 1),
        (9, 2),  # a kind of NWK frame that does not exist
        (0, 0x02),  # a MAC command
        (5, 1),  # the MAC's destination is not the NWK's
    ):
        assert await why_dropped(flip(at, bits)) == {"malformed": 1}, at


async def test_a_broadcast_is_not_answered():
    han = Han().start()
    heard = []

    def handler(peer, payload, reply):
        heard.append(bytes(payload))
        reply[:3] = b"yes"
        return 3

    han.ppmid.handle(PROFILE_SE, TEST_CLUSTER, ENDPOINT, handler)
    await send(han.ch, BROADCAST_RX_ON, b"all")
    await settle()
    assert heard == [b"all"] and han.ppmid_link.count == 0
    await send(han.ch, PPMID, b"you")
    await settle()
    assert heard == [b"all", b"you"] and han.ppmid_link.count == 1
    han.stop()


# -- ZCL


async def test_an_answer_is_from_whom_and_to_what_was_asked():
    exchange = Exchange()

    async def nothing():
        pass

    task = asyncio.create_task(exchange.ask(PPMID, 7, nothing, 1000, 1))
    await settle()
    assert not exchange.answer(PPMID + 1, 7, "another device's")
    assert not exchange.answer(PPMID, 8, "to another request")
    assert exchange.answer(PPMID, 7, "this")
    assert await task == "this"
    assert not exchange.answer(PPMID, 7, "late")


async def test_a_command_without_its_fields_is_malformed():
    tunnel = Tunnel()
    before = dropped(tunnel.han.ppmid)
    answer = await answer_to(tunnel.han, b"\x01\x07\x00\x06", CLUSTER_TUNNELING)
    assert answer == b"\x18\x07\x0b\x00\x80"
    assert not before and dropped(tunnel.han.ppmid) == {"malformed": 1}
    tunnel.han.stop()


async def test_success_is_confirmed_to_whom_wants_it():
    tunnel = Tunnel()
    close = b"\x07\x01\x00\x00"
    assert (
        await answer_to(tunnel.han, b"\x01" + close, CLUSTER_TUNNELING) == b"\x18\x07\x0b\x01\x00"
    )
    assert await answer_to(tunnel.han, b"\x11" + close, CLUSTER_TUNNELING) is None
    tunnel.han.stop()


async def test_a_string_longer_than_its_frame_is_no_value():
    han = Han().start()
    basic = BasicClient(han.ch)
    for size, said in ((3, {SW_BUILD_ID: "abc"}), (4, None), (255, None)):
        record = struct.pack("<HBBB", SW_BUILD_ID, 0, 0x42, size) + b"abc"
        assert basic._values(b"\x18\x01\x01" + record) == said
    han.stop()


# -- the OTA Upgrade cluster


def once(ota, command, least, real, change):
    """Have the server's first answer to `command` for which `change(reply, n)` gives a length be another one."""
    done = []

    def answer(peer, frame, reply):
        n = real(peer, frame, reply)
        other = None if done else change(reply, n)
        if other is None:
            return n
        done.append(other)
        return other

    ota.server.commands[command] = (least, answer)
    return done


async def test_a_block_of_another_file_is_let_go_by():
    for at in range(4, 12):  # manufacturer, image type, version
        ota = Ota()

        def other_file(reply, n, at=at):
            reply[at] ^= 1
            reply[17:n] = bytes(n - 17)
            return n

        done = once(ota, BLOCK_REQUEST, 14, ota.server._block, other_file)
        assert await ota.client.download() == (SUCCESS, WAIT)
        assert done and ota.client.strays == 1 and ota.sink.whole(), at
        ota.han.stop()


async def test_a_block_beyond_the_end_is_let_go_by():
    ota = Ota()

    def longer(reply, n):
        if n == 17 + 65:
            return None
        reply[16] = 65
        return 17 + 65

    done = once(ota, BLOCK_REQUEST, 14, ota.server._block, longer)
    assert len(IMAGE) % 65
    assert await ota.client.download() == (SUCCESS, WAIT)
    assert done and ota.client.strays == 1 and ota.sink.whole()
    ota.han.stop()


async def test_an_offer_that_was_not_asked_for_is_not_taken():
    for at in (4, 5, 6, 7):  # manufacturer, image type
        ota = Ota()

        def other(reply, n, at=at):
            reply[at] ^= 1
            return n

        assert not once(ota, QUERY_REQUEST, 9, ota.server._query, other)
        assert await ota.client.download() == (NO_IMAGE_AVAILABLE, WAIT)
        assert not ota.sink.begun
        ota.han.stop()


async def test_a_whole_image_stays_though_its_end_is_not_answered():
    ota = Ota()
    last = 1 + (len(IMAGE) + 64) // 65 + 1
    ota.han.ch_link.lose = lambda number, octets: number >= last
    assert await ota.client.download() == (SUCCESS, WAIT)
    assert ota.sink.whole() and not ota.sink.dropped
    ota.han.stop()


async def test_who_is_offered_an_image_and_who_is_not():
    """The server's own answer, whatever the client makes of it."""
    for more, status in (
        ({}, SUCCESS),
        ({"hw_min": 0x0102, "hw_max": 0x0102}, SUCCESS),
        ({"hw_min": 0x0103}, NO_IMAGE_AVAILABLE),
        ({"hw_max": 0x0101}, NO_IMAGE_AVAILABLE),
        ({"image_type": 0x0000}, NO_IMAGE_AVAILABLE),
        ({"manufacturer": 0x121E}, NO_IMAGE_AVAILABLE),
    ):
        ota = Ota(**more)
        said = []
        ota.server.on_query = lambda eui, status, said=said: said.append((eui, status))
        await ota.client.download()
        assert said == [(PPMID_EUI, status)], more
        ota.han.stop()


async def test_a_notify_has_the_jitter_that_it_was_given():  # rule 38
    ota = Ota()
    got = []
    ota.han.ppmid.handle(
        PROFILE_SE, CLUSTER_OTA, ENDPOINT, lambda peer, frame, reply: got.append(bytes(frame)) or 0
    )
    await ota.server.notify(PPMID_EUI, 37)
    await ota.server.notify(PPMID_EUI)
    await settle()
    assert [frame[3:5] for frame in got] == [b"\x03\x25", b"\x03\x64"]
    assert struct.unpack("<I", got[0][9:13])[0] == NEW
    ota.han.stop()


# -- the tunnel


class Stranger:
    """Another node of the HAN."""

    short = 0x4444
    eui = b"\x00\xdb\x12\x34\x56\x78\x90\xff"


async def test_a_tunnel_is_for_who_opened_it():
    tunnel = Tunnel()
    hub = tunnel.han.ppmid.peer(CH_EUI)
    reply = bytearray(82)
    assert tunnel.server._open(hub, b"\x01\x01\x00" + struct.pack("<BHBH", 6, 0xFFFF, 0, 80), reply)
    number = reply[BODY : BODY + 2]
    frame = b"\x01\x02\x02" + number + b"\x04\x08" + bytes(8) + request_der(HASH, 1)
    assert tunnel.server._data(Stranger(), frame, reply) == 6 and reply[2] == 2  # TransferDataError
    assert not tunnel.calls
    assert tunnel.server._data(hub, frame, reply) > 6 and reply[2] == 1
    assert tunnel.calls == [(HASH, 1)]
    tunnel.han.stop()


async def test_a_tunnel_carries_gb_smart_metering_only():
    tunnel = Tunnel()
    hub = tunnel.han.ppmid.peer(CH_EUI)
    for protocol, flow_control, status in ((6, 0, 0), (5, 0, 3), (7, 0, 3), (6, 1, 4)):
        reply = bytearray(82)
        body = struct.pack("<BHBH", protocol, 0xFFFF, flow_control, 80)
        assert tunnel.server._open(hub, b"\x01\x01\x00" + body, reply) == BODY + 5
        assert reply[BODY + 2] == status, (protocol, flow_control)
    tunnel.han.stop()
