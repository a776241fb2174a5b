# Two networks on a pair of links, and what a network does with frames that are not right. The other test_han_ files
# take their HAN from here.
import asyncio
import gc
import os
import random
import time

import vfs

from smets1 import saved
from smets1.han import frames
from smets1.han.counters import FREE, NONE, Counters
from smets1.han.ids import COORDINATOR, ENDPOINT, PROFILE_SE
from smets1.han.network import Network, NetworkConfig, eui_text
from smets1.han.zdo import announce, on_announce

PAN = 0x1A62
KEY = b"\x5a\x69\x67\x42\x65\x65\x41\x6c\x6c\x69\x61\x6e\x63\x65\x30\x39"
CH_EUI = b"\x00\xdb\x12\x34\x56\x78\x90\xa2"
PPMID_EUI = b"\x00\xdb\x12\x34\x56\x78\x90\xa4"
PPMID = 0x3D01
TEST_CLUSTER = 0x0702


class RamFlash:
    """A block device for littlefs."""

    def __init__(self, blocks=24, size=256):
        self.size = size
        self.data = bytearray(blocks * size)

    def readblocks(self, n, buf, offset=0):
        at = n * self.size + offset
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, n, buf, offset=0):
        at = n * self.size + offset
        self.data[at : at + len(buf)] = buf

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // self.size
        if op == 5:
            return self.size
        return 0


def flash(root="/han"):
    """A fresh littlefs at `root`."""
    try:
        vfs.umount(root)
    except OSError:
        pass
    gc.collect()
    device = RamFlash()
    vfs.VfsLfs2.mkfs(device)
    vfs.mount(vfs.VfsLfs2(device), root)
    return root


class Link:
    """One end of a wire in memory. `lose`: of a frame's number (from 1) and octets, whether it never arrives."""

    def __init__(self):
        self.other = None
        self.sent = None  # set it to a list to keep the octets written
        self.count = 0
        self.lose = lambda number, octets: False
        self._buf = bytearray()
        self._arrived = asyncio.Event()

    async def write(self, buf):
        self.count += 1
        octets = bytes(buf)
        if self.sent is not None:
            self.sent.append(octets)
        if self.other and not self.lose(self.count, octets):
            self.other.deliver(octets)

    def deliver(self, octets):
        self._buf.extend(octets)
        self._arrived.set()

    async def readinto(self, buf):
        while not self._buf:
            self._arrived.clear()
            await self._arrived.wait()
        n = min(len(buf), len(self._buf))
        buf[:n] = self._buf[:n]
        self._buf = self._buf[n:]
        return n


def made_counters(path, key=KEY, step=1024, random=bytes):
    """Counters as if by a lot of 0, so that they start at 0 and skip none."""
    return Counters(path, key, random, step)


def prove(*networks):
    """Have these networks' neighbours proved themselves already, with no frame seen of them that is not on flash."""
    for network in networks:
        network.counters.settled = True
        for peer in network.peers.values():
            last = network.counters.last(peer.eui)
            network.counters.seen[peer.eui] = -1 if last == NONE else last


class Han:
    """A CH and a PPMID: .ch, .ppmid (Networks), .ch_link, .ppmid_link. proved: each is sure of the other's counters."""

    def __init__(self, root=None, key=KEY, ppmid_key=None, proved=True, random=bytes):
        root = root or flash()
        ppmid_key = ppmid_key or key
        self.ch_link, self.ppmid_link = Link(), Link()
        self.ch_link.other, self.ppmid_link.other = self.ppmid_link, self.ch_link
        self.ch = Network(
            self.ch_link,
            NetworkConfig(PAN, COORDINATOR, CH_EUI, key, 0, {PPMID_EUI: PPMID}),
            made_counters(root + "/ch.cnt", key, random=random),
        )
        self.ppmid = Network(
            self.ppmid_link,
            NetworkConfig(PAN, PPMID, PPMID_EUI, ppmid_key, 0, {CH_EUI: COORDINATOR}),
            made_counters(root + "/ppmid.cnt", ppmid_key, random=random),
        )
        if proved:
            prove(self.ch, self.ppmid)
        self._tasks = []

    def start(self, *more):
        """Run both networks, and more coroutines."""
        for coroutine in (self.ch.run(), self.ppmid.run()) + more:
            self._tasks.append(asyncio.create_task(coroutine))
        return self

    def stop(self):
        for task in self._tasks:
            task.cancel()


class FastClock:
    """asyncio's clock from now on: it jumps to the next timer instead of waiting for it."""

    def __init__(self):
        self.ahead = 0
        core = asyncio.core
        core.ticks = self.ticks_ms
        core.IOQueue.wait_io_event = lambda queue, ms: self._skip(ms)

    def ticks_ms(self):
        return time.ticks_add(time.ticks_ms(), self.ahead)

    def _skip(self, ms):
        if ms < 0:
            raise RuntimeError("everybody waits for somebody")
        self.ahead += ms


async def settle():
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep_ms(0)


def collect(network, cluster=TEST_CLUSTER):
    """A list that gets the payloads arriving for `cluster`."""
    got = []

    def handler(peer, payload, reply):
        got.append((peer.short, bytes(payload)))
        return 0

    network.handle(PROFILE_SE, cluster, ENDPOINT, handler)
    return got


async def send(network, short, payload):
    await network.send(short, PROFILE_SE, TEST_CLUSTER, ENDPOINT, ENDPOINT, payload, len(payload))


def dropped(network):
    """The counters that are not 0, apart from rx and tx."""
    return {name: n for name, n in network.stats.items() if n and name not in ("rx", "tx")}


async def wire_form(network, link, payload=b"payload"):
    """The octets that `network` would send to its neighbour."""
    link.sent = []
    await send(network, next(iter(network.peers)), payload)
    octets, link.sent = link.sent[0], None
    return octets


async def test_payload_arrives_and_is_answered():
    han = Han().start()
    got = collect(han.ch)

    def echo(peer, payload, reply):
        reply[: len(payload)] = bytes(reversed(payload))
        return len(payload)

    han.ppmid.handle(PROFILE_SE, TEST_CLUSTER, ENDPOINT, echo)
    for n in (1, 3, frames.PAYLOAD_MAX):
        await send(han.ch, PPMID, bytes(range(n)))
    await settle()
    assert got == [(PPMID, bytes(reversed(range(n)))) for n in (1, 3, frames.PAYLOAD_MAX)]
    assert not dropped(han.ch) and not dropped(han.ppmid)
    assert han.ch.stats["rx"] == han.ch.stats["tx"] == 3
    han.stop()


async def test_frame_on_the_air():
    han = Han()
    octets = await wire_form(han.ch, han.ch_link, b"\x11\x22\x33")
    assert octets[0] == 0  # the first one ends what a reset may have cut short
    assert octets[-1] == 0 and 0 not in octets[1:-1]
    plain = bytearray(octets[1:-1])
    n = frames_decode(plain)
    frame = plain[:n]
    assert n == 39 + 3 + 4 + 2
    assert frame[0:2] == b"\x61\x88"  # data, AR, intra-PAN
    assert frame[3:9] == b"\x62\x1a\x01\x3d\x00\x00"
    assert frame[9:15] == b"\x08\x02\x01\x3d\x00\x00"  # NWK: protocol 2, security
    assert frame[17] == 0x28  # level bits 0 on the air
    assert frame[22:30] == bytes(reversed(CH_EUI))
    assert b"\x11\x22\x33" not in bytes(frame)
    octets = await wire_form(han.ch, han.ch_link)
    assert octets[0] != 0


def frames_decode(buf):
    from smets1.octets import cobs_decode

    return cobs_decode(buf, len(buf))


async def test_longest_frame_is_a_full_psdu():
    # MAC 9, NWK 8, security 14, APS 8, ZCL 3, Image Block Response 14, MIC 4, FCS 2: 62, so 65 octets of data
    from smets1.han.ota import BLOCK_DATA, BLOCK_MAX

    assert frames.PSDU_MAX - BLOCK_MAX == 62
    assert BLOCK_DATA == 3 + 14
    han = Han()
    octets = await wire_form(han.ch, han.ch_link, bytes(BLOCK_DATA + BLOCK_MAX))
    assert frames_decode(bytearray(octets[1:-1])) == 127
    try:
        await send(han.ch, PPMID, bytes(frames.PAYLOAD_MAX + 1))
        raise AssertionError("sent")
    except ValueError:
        pass


async def test_replayed_frame_is_dropped():
    han = Han().start()
    han.ch_link.sent = []
    got = collect(han.ppmid)
    await send(han.ch, PPMID, b"one")
    await send(han.ch, PPMID, b"two")
    for octets in list(han.ch_link.sent):
        han.ppmid_link.deliver(octets)
    await settle()
    assert [payload for _, payload in got] == [b"one", b"two"]
    assert dropped(han.ppmid) == {"replay": 2}
    han.stop()


async def test_wrong_key_is_dropped():
    han = Han(ppmid_key=b"another key.....").start()
    got = collect(han.ppmid)
    await send(han.ch, PPMID, b"secret")
    await settle()
    assert not got and dropped(han.ppmid) == {"mic": 1}
    han.stop()


async def test_altered_frame_is_dropped_and_does_not_move_the_counter():
    from smets1.octets import cobs_encode, crc16_fcs

    han = Han().start()
    got = collect(han.ppmid)
    octets = await wire_form(han.ch, han.ch_link, b"pay 10.00")
    await settle()
    frame = bytearray(octets[1:-1])
    frame = frame[: frames_decode(frame)]
    frame[18] += 100  # a higher frame counter, so it is no replay
    fcs = crc16_fcs(frame, 0, len(frame) - 2)
    frame[-2], frame[-1] = fcs & 255, fcs >> 8
    wire = bytearray(len(frame) + 2)
    end = cobs_encode(frame, len(frame), wire, 0)
    han.ppmid_link.deliver(wire[: end + 1])
    await send(han.ch, PPMID, b"pay 20.00")
    await settle()
    assert dropped(han.ppmid) == {"mic": 1}
    assert [payload for _, payload in got] == [b"pay 10.00", b"pay 20.00"]
    han.stop()


async def test_forged_and_unknown_sources_are_dropped():
    root = flash()
    han = Han(root).start()
    got = collect(han.ch)
    # knows the key, but takes the PPMID's short address, or one that nobody has
    for short, why in ((PPMID, "forged"), (0x4444, "unknown")):
        link = Link()
        link.other = han.ch_link
        config = NetworkConfig(PAN, short, b"\xff" * 8, KEY, 0, {CH_EUI: COORDINATOR})
        other = Network(link, config, made_counters(root + "/x.cnt"))
        prove(other)
        await send(other, COORDINATOR, b"?")
        await settle()
        assert han.ch.stats[why] == 1
    assert not got and dropped(han.ch) == {"forged": 1, "unknown": 1}
    han.stop()


async def test_frames_for_others_are_not_errors_of_ours():
    root = flash()
    han = Han(root).start()
    link = Link()
    link.other = han.ch_link
    other_pan = NetworkConfig(PAN + 1, PPMID, PPMID_EUI, KEY, 0, {CH_EUI: COORDINATOR})
    other = Network(link, other_pan, made_counters(root + "/x.cnt"))
    prove(other)
    await send(other, COORDINATOR, b"?")
    await send(han.ppmid, 0x4444, b"?")
    await settle()
    assert dropped(han.ch) == {"foreign": 2}
    await send(han.ppmid, COORDINATOR, b"?")  # nobody registered for it
    await settle()
    assert dropped(han.ch) == {"foreign": 2, "unhandled": 1}
    han.stop()


async def test_another_key_sequence_number_is_dropped():
    han = Han().start()
    got = collect(han.ppmid)
    han.ch.config.key_sequence = 1
    await send(han.ch, PPMID, b"?")
    await settle()
    assert not got and dropped(han.ppmid) == {"mic": 1}
    han.stop()


async def test_noise_between_frames_costs_only_itself():
    han = Han().start()
    got = collect(han.ppmid)
    han.ppmid_link.deliver(b"\x00\x00noise\x00" + bytes(range(1, 256)) * 5)
    await settle()
    han.ppmid_link.deliver(b"\x00")
    for n in range(5):
        await send(han.ch, PPMID, bytes((n,)))
    await settle()
    assert [payload[0] for _, payload in got] == [0, 1, 2, 3, 4]
    assert set(dropped(han.ppmid)) <= {"framing", "length", "fcs"}
    han.stop()


async def test_frames_arrive_in_any_pieces():
    han = Han()
    octets = b""
    for n in range(8):
        octets += await wire_form(han.ch, han.ch_link, bytes((n,)) * 70)
    for piece in (1, 7, 100, 300, 1000):
        han.ppmid_link._buf = bytearray()
        root = flash("/other")
        other = Network(han.ppmid_link, han.ppmid.config, made_counters(root + "/x.cnt"))
        prove(other)
        got = collect(other)
        task = asyncio.create_task(other.run())
        for at in range(0, len(octets), piece):
            han.ppmid_link.deliver(octets[at : at + piece])
            await settle()
        await settle()
        assert [payload[0] for _, payload in got] == list(range(8)), piece
        assert not dropped(other)
        task.cancel()


async def test_rubbish_in_bulk_is_counted_and_raises_nothing():
    han = Han()
    got = collect(han.ppmid)
    random.seed(20)
    view = memoryview(bytearray(140))
    for _ in range(3000):
        n = random.getrandbits(7) + 1
        for i in range(n):
            view[i] = random.getrandbits(8) or 1
        han.ppmid._receive(view[:n])
    assert sum(dropped(han.ppmid).values()) == 3000 and not got
    # a good frame with random octets put into it, and with its FCS made right again
    from smets1.octets import cobs_encode, crc16_fcs

    octets = await wire_form(han.ch, han.ch_link, b"x" * 20)
    good = bytearray(octets[1:-1])
    good = bytes(good[: frames_decode(good)])
    wire = bytearray(140)
    for _ in range(3000):
        frame = bytearray(good)
        for _ in range(1 + random.getrandbits(2)):
            frame[random.getrandbits(16) % (len(frame) - 2)] ^= 1 + random.getrandbits(16) % 255
        if frame[:-2] == good[:-2] or (
            frame[0] ^ good[0] in (0, 0x20) and frame[1:-2] == good[1:-2]
        ):
            continue
        fcs = crc16_fcs(frame, 0, len(frame) - 2)
        frame[-2], frame[-1] = fcs & 255, fcs >> 8
        end = cobs_encode(frame, len(frame), wire, 0)
        han.ppmid._receive(memoryview(wire)[:end])
    # the MAC header is not protected: a frame is as good as it was with another sequence number or AR bit in it
    assert all(payload == b"x" * 20 for _, payload in got) and len(got) < 2
    assert han.ppmid.stats["mic"] > 100 and han.ppmid.stats["malformed"] > 100


async def test_counters_do_not_repeat_over_resets():
    root = flash()
    used = set()
    for n in (0, 5, 3000, 1, 0, 1024):  # frames between resets
        counters = made_counters(root + "/x.cnt")
        for _ in range(n):
            counter = counters.next()
            assert counter not in used
            used.add(counter)
    assert max(used) < 4030 + 7 * 1024


async def test_counters_write_flash_once_in_a_step():
    root = flash()
    counters = made_counters(root + "/x.cnt", KEY, 100)
    writes = []
    real, saved.save = saved.save, lambda path, record: writes.append(path) or real(path, record)
    try:
        for _ in range(1000):
            counters.next()
    finally:
        saved.save = real
    assert len(writes) == 9  # 1,000 in steps of 100, of which the first was taken at the start


async def test_replay_over_a_reset():
    root = flash()
    han = Han(root).start()
    han.ch_link.sent = []
    for n in range(3):
        await send(han.ch, PPMID, b"%d" % n)
    await settle()
    old = b"".join(han.ch_link.sent)
    han.ppmid.counters.save()  # what a role does before a planned reset
    han.stop()
    han = Han(root).start()
    got = collect(han.ppmid)
    han.ppmid_link.deliver(old)
    await settle()
    assert not got and dropped(han.ppmid) == {"replay": 3}
    # after a reset of the CH its counter has jumped ahead: its frames are taken
    await send(han.ch, PPMID, b"new")
    await settle()
    assert got == [(COORDINATOR, b"new")]
    han.stop()


async def test_neighbours_counters_are_kept_in_steps():
    """Also those of a neighbour that is only listened to."""
    root = flash()
    counters = made_counters(root + "/x.cnt", KEY, 100)
    for counter in range(250):
        counters.accept(CH_EUI, counter)
        if counters.due:
            counters.keep()
    assert made_counters(root + "/x.cnt").last(CH_EUI) == 199
    assert counters.last(CH_EUI) == 249 and counters.last(PPMID_EUI) == NONE


def lots(seed):
    """Entropy, of which a test knows the seed."""
    random.seed(seed)
    return lambda n: bytes(random.getrandbits(8) for _ in range(n))


async def test_flash_that_is_lost_or_damaged_never_leads_back():
    root = flash()
    path = root + "/x.cnt"
    starts = set()
    for seed in range(4):
        counters = Counters(path, KEY, lots(seed))
        starts.add(counters.next())
        with open(path, "r+b") as f:
            f.seek(9)
            f.write(b"\xff\xff")
        starts.add(Counters(path, KEY, lots(10 + seed)).next())
        os.remove(path)
    starts.add(Counters(path, b"another key.....", lots(20)).next())
    starts = sorted(starts)
    assert len(starts) == 9 and starts[0] > 0 and starts[-1] < 2**28 + 2**16
    assert all(starts[n + 1] - starts[n] > 1024 for n in range(8)), "no two begin in one place"
    # and wherever it begins: what a neighbour has seen is behind it
    os.remove(path)
    counters = Counters(path, KEY, bytes)
    words = counters.told(5000)
    assert "held nothing" in words and "5,000" in words and counters.next() >= 5000 + 2**20
    assert counters.told(6000) == "", "it is not lost any more"


async def test_flash_that_was_put_back_never_leads_back():
    path = flash() + "/x.cnt"
    counters = Counters(path, KEY, bytes)
    for _ in range(10):
        counters.next()
    with open(path, "rb") as f:
        yesterday = f.read()
    for _ in range(5000):
        newest = counters.next()
    with open(path, "wb") as f:
        f.write(yesterday)
    counters = Counters(path, KEY, bytes)
    words = counters.told(newest - 3)
    assert "held 1,024" in words and "put back" in words and counters.next() > newest
    before = counters.next()
    counters = Counters(path, KEY, bytes)  # what was learned is on flash
    assert counters.next() > before and not counters.told(before)
    # and nobody knows, since all flash was put back: the lot still tells the two days apart
    with open(path, "wb") as f:
        f.write(yesterday)
    first = Counters(path, KEY, lots(1)).next()
    with open(path, "wb") as f:
        f.write(yesterday)
    assert abs(first - Counters(path, KEY, lots(2)).next()) > 1000


async def test_flash_is_written_when_nothing_can_arrive():
    """Before an answer, for which its neighbour waits; also soon after a neighbour has proved itself."""
    root = flash()
    han = Han(root, proved=False, random=lots(1)).start()
    han.ppmid.handle(PROFILE_SE, TEST_CLUSTER, ENDPOINT, lambda peer, payload, reply: 1)
    collect(han.ch)
    await send(han.ch, PPMID, b"?")
    await settle()
    newest = han.ppmid.counters.seen[CH_EUI]
    assert not han.ppmid.counters.due
    assert made_counters(root + "/ppmid.cnt").last(CH_EUI) == newest - 1  # that of the proof
    for _ in range(1024):
        assert not han.ppmid.counters.due
        await send(han.ch, PPMID, b"?")
        await settle()
    kept = made_counters(root + "/ppmid.cnt").last(CH_EUI)
    assert newest < kept <= han.ppmid.counters.seen[CH_EUI]
    han.stop()


# -- who has not proved since the start where its counters are


async def test_neighbours_prove_themselves_once():
    for known in ("", "ch.cnt", "ppmid.cnt", "both"):  # whose flash knows the other
        root = flash()
        if known:
            han = Han(root).start()
            await send(han.ch, PPMID, b"a")
            await send(han.ppmid, COORDINATOR, b"b")
            await settle()
            for network in (han.ch, han.ppmid):
                network.counters.save()
            han.stop()
            for name in ("ch.cnt", "ppmid.cnt"):
                if known not in (name, "both"):
                    os.remove(root + "/" + name)
        han = Han(root, proved=False, random=lots(1)).start()
        got, back = collect(han.ppmid), collect(han.ch)
        for n in range(3):
            await send(han.ch, PPMID, bytes((n,)))
            await send(han.ppmid, COORDINATOR, bytes((n,)))
        await settle()
        assert [p for _, p in got] == [p for _, p in back] == [b"\0", b"\1", b"\2"]
        assert not dropped(han.ch) and not dropped(han.ppmid)
        assert han.ch_link.count == han.ppmid_link.count == 3 + 2
        han.stop()


async def test_frames_of_an_earlier_day_are_no_answer():
    """The neighbour is off, and what it sent is played again in step, also to the challenge."""
    root = flash()
    han = Han(root, proved=False, random=lots(1)).start()
    han.ppmid_link.sent = []
    collect(han.ppmid)
    for _ in range(5):
        await send(han.ch, PPMID, b"?")
        await send(han.ppmid, COORDINATOR, b"an answer")
    await settle()
    recorded = han.ppmid_link.sent
    han.stop()
    for lose in ((), ("ch.cnt",)):
        for name in lose:
            os.remove(root + "/" + name)
        again = Han(root, proved=False, random=lots(2))
        got = collect(again.ch)
        again.ch_link.other = None
        again.ch_link.sent = []
        task = asyncio.create_task(again.ch.run())
        for octets in recorded * 3:
            await send(again.ch, PPMID, b"?")
            again.ch_link.deliver(octets)
            await settle()
        assert not got and not again.ch.counters.settled and not again.ch.counters.seen
        assert dropped(again.ch)["unproved"] == 15 and dropped(again.ch)["unsent"] >= 18
        # all that it said is challenges, octet for octet the same, and answers to those that it was asked
        said = set(again.ch_link.sent)
        assert len(said) <= 1 + 6, len(said)
        task.cancel()


async def test_those_that_left_last_stay_known_and_no_others():
    root = flash()
    han = Han(root, random=lots(1)).start()
    counters = han.ch.counters
    got = collect(han.ch)
    await send(han.ppmid, COORDINATOR, b"of yesterday")
    recorded = await wire_form(han.ppmid, han.ppmid_link, b"of yesterday")
    await settle()
    silent = b"\x01" * 8  # a neighbour that has proved nothing since the start
    counters.accept(silent, 5)
    counters.forget(silent)
    han.ch.add_peer(silent, 0x0101)
    han.ch.expel(PPMID_EUI)
    others = [bytes((2, n, 0, 0, 0, 0, 0, 0)) for n in range(100)]
    for n, eui in enumerate(others):
        han.ch.add_peer(eui, 0x0200 + n)
        counters.accept(eui, 1000 + n)
        han.ch.expel(eui)
    counters.keep()
    assert len(saved.load(root + "/ch.cnt")) == 8 + 12 * 33, "32 that left, and a neighbour"
    again = made_counters(root + "/ch.cnt")
    for eui in (PPMID_EUI, others[0], others[67]):
        assert again.last(eui) == NONE
    assert again.last(silent) == 5
    assert [again.last(eui) for eui in others[68:]] == list(range(1068, 1100))
    again.accept(PPMID_EUI, 7)
    again.forget(PPMID_EUI)
    again.let_go({silent})
    known = [again.last(eui) != NONE for eui in (PPMID_EUI, silent, others[68], others[69])]
    assert known == [True, True, False, True], "the oldest goes, over a restart as well"
    # who comes back known to nobody has to prove itself as all do, and its old frames count for nothing
    del got[:]
    han.ch.add_peer(PPMID_EUI, PPMID)
    han.ch_link.deliver(recorded)
    await settle()
    assert not got and dropped(han.ch)["unproved"] == 1
    await settle()
    await send(han.ppmid, COORDINATOR, b"of today")
    await settle()
    han.ch_link.deliver(recorded)
    await settle()
    assert [payload for _, payload in got] == [b"of today"]
    assert dropped(han.ch)["replay"] == 1
    han.stop()


async def test_old_challenges_are_not_answered_for_ever():
    han = Han(proved=False, random=lots(1))
    han.ppmid_link.sent = []
    asyncio.create_task(han.ppmid.proof.of(han.ppmid.peer(CH_EUI)))
    await settle()
    challenge = han.ppmid_link.sent[0]
    han.ch_link.sent = []
    han.start()
    han.ch_link.other = None
    for _ in range(100):
        han.ch_link.deliver(challenge)
        await settle()
    assert len(han.ch_link.sent) == 32, "a counter by lot is used up by each"
    assert len(set(han.ch_link.sent)) == 32
    han.stop()


async def test_no_nonce_is_used_twice_whatever_becomes_of_flash():
    """Lost, put back, both boards', at every place of a conversation: no counter comes again under one key."""
    root = flash()
    used = {}
    saved_files = {}
    for seed, damage in enumerate(
        ("", "ch lost", "ch back", "ppmid lost", "ppmid back", "both lost", "both back")
    ):
        for who in ("ch", "ppmid"):
            path = root + "/%s.cnt" % who
            if damage.split(" ")[0] in (who, "both"):
                if damage.endswith("lost"):
                    os.remove(path)
                else:
                    with open(path, "wb") as f:
                        f.write(saved_files[who])
        han = Han(root, proved=False, random=lots(seed)).start()
        got, back = collect(han.ppmid), collect(han.ch)
        events = []
        for network, link in ((han.ch, han.ch_link), (han.ppmid, han.ppmid_link)):
            network.proof.log = lambda _, text, to=events: to.append(text)
            link.sent = []
        for n in range(30):
            await send(han.ch, PPMID, bytes((n,)))
            await send(han.ppmid, COORDINATOR, bytes((n,)))
        await settle()
        assert len(got) == len(back) == 30, damage
        assert bool(events) == (damage in ("ch lost", "ch back", "ppmid lost", "ppmid back")), (
            damage,
            events,
        )
        for name, link in (("ch", han.ch_link), ("ppmid", han.ppmid_link)):
            for octets in link.sent:
                plain = bytearray(octets[1:-1] if octets[0] == 0 else octets[:-1])
                frames_decode(plain)
                nonce = name, frames.u32(plain, 18)
                assert used.get(nonce, octets) == octets, (damage, nonce)
                used[nonce] = octets
        if not damage:
            for who in ("ch", "ppmid"):
                with open(root + "/%s.cnt" % who, "rb") as f:
                    saved_files[who] = f.read()
            for network in (han.ch, han.ppmid):  # past what yesterday's file sets aside
                for _ in range(2000):
                    network.counters.next()
            for n in range(2):
                await send(han.ch, PPMID, bytes((n,)))
                await send(han.ppmid, COORDINATOR, bytes((n,)))
            await settle()
        for network in (han.ch, han.ppmid):
            network.counters.save()
        han.stop()


async def test_neighbour_with_another_key_proves_nothing():
    han = Han(ppmid_key=b"another key.....", proved=False, random=lots(1)).start()
    got = collect(han.ppmid)
    await send(han.ch, PPMID, b"secret")
    await settle()
    assert not got and dropped(han.ppmid) == {"mic": 1}
    assert dropped(han.ch) == {"unsent": 1} and not han.ch.counters.settled
    han.stop()


async def test_a_counter_by_lot_is_for_challenges_alone():
    han = Han().start()
    got = collect(han.ppmid)
    await han.ch.transmit(PPMID, PROFILE_SE, TEST_CLUSTER, ENDPOINT, ENDPOINT, b"?", 1, FREE + 5, 1)
    await settle()
    assert not got and dropped(han.ppmid) == {"malformed": 1}
    han.stop()


async def test_device_announce():
    han = Han()
    heard = []
    on_announce(han.ch, lambda eui, short: heard.append((eui_text(eui), short)))
    han.start()
    han.ppmid_link.sent = []
    await announce(han.ppmid)
    await settle()
    assert heard == [("00-DB-12-34-56-78-90-A4", PPMID)]
    octets = han.ppmid_link.sent[0]
    plain = bytearray(octets[1:-1])
    frames_decode(plain)
    assert plain[0:2] == b"\x41\x88" and plain[5:7] == b"\xff\xff" and plain[11:13] == b"\xfd\xff"
    assert han.ch.stats["tx"] == 0
    han.stop()


async def test_two_tasks_send_at_once():
    han = Han().start()
    got = collect(han.ppmid)

    async def slow_write(buf):
        first = bytes(buf)
        await asyncio.sleep_ms(2)
        assert bytes(buf) == first  # nobody has put another frame in its place
        han.ppmid_link.deliver(first)

    han.ch_link.write = slow_write
    await asyncio.gather(*[send(han.ch, PPMID, bytes((n,)) * 40) for n in range(6)])
    await settle()
    assert sorted(payload[0] for _, payload in got) == [0, 1, 2, 3, 4, 5]
    assert not dropped(han.ppmid)
    han.stop()


async def test_after_reply_comes_after_the_reply():
    han = Han().start()
    order = []
    got = collect(han.ch)

    def handler(peer, payload, reply):
        reply[0] = 7
        han.ppmid.after_reply = lambda: order.append(han.ppmid_link.count)
        return 1

    han.ppmid.handle(PROFILE_SE, TEST_CLUSTER, ENDPOINT, handler)
    await send(han.ch, PPMID, b"?")
    await settle()
    assert order == [1] and got == [(PPMID, b"\x07")]
    han.stop()


async def test_handler_that_fails_does_not_end_the_receiving():
    han = Han().start()
    got = []

    def handler(peer, payload, reply):
        got.append(bytes(payload))
        if len(got) == 1:
            raise OSError(5)  # flash failed
        return 0

    han.ppmid.handle(PROFILE_SE, TEST_CLUSTER, ENDPOINT, handler)
    await send(han.ch, PPMID, b"one")
    await send(han.ch, PPMID, b"two")
    await settle()
    assert got == [b"one", b"two"]
    assert dropped(han.ppmid) == {"failed": 1}
    han.stop()
