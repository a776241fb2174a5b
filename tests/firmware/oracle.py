# Runs inside the MicroPython VM: `micropython oracle.py FIRMWARE_DIR PORTS_DIR`. Says what the firmware makes of
# octets, for tests/property to compare with what the host makes of them. A question is a line on stdin, (name,
# arguments...) as Python writes a tuple; the answer is a line on stdout, (True, value) or (False, exception, text).
import sys

sys.path[:0] = [sys.argv[1], sys.argv[2]]

import virtual_asyncio  # before asyncio

import asyncio
import asyncio.core
import gc
import json
import random

import main
import vfs
from micropython import RingIO

from smets1 import octets, ota_file
from smets1.han import frames, tunnel, zcl
from smets1.han.ccm import Ccm
from smets1.han.network import Network, NetworkConfig
from smets1.wan import auth, cbor
from smets1.wan.framing import FrameReader, FrameWriter
from smets1.wan.server import Server

_ROOM = 1024


def plain(value):
    """The value with bytes for views, which have no text form."""
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(value[k]) for k in value}
    return value


def run(coroutine):
    """Run a coroutine that waits for nothing but its link; None if it still waits."""
    try:
        coroutine.send(None)
    except StopIteration as e:
        return e.value
    return None


# -- octets


def crc16(buf):
    return octets.crc16_xmodem(buf, 0, len(buf)), octets.crc16_fcs(buf, 0, len(buf))


def cobs_encode(src):
    dst = bytearray(len(src) + len(src) // 254 + 1)
    return dst[: octets.cobs_encode(src, len(src), dst, 0)]


def cobs_decode(coded):
    buf = bytearray(coded)
    n = octets.cobs_decode(buf, len(buf))
    return None if n < 0 else buf[:n]


# -- WAN


def cbor_decode(coded, items=64):
    return cbor.decode(coded, items)


def cbor_encode(value, room=_ROOM):
    buf = bytearray(room)
    n = cbor.encode(value, buf)
    assert n == cbor.size(value), "size() says %d, encode() takes %d" % (cbor.size(value), n)
    return buf[:n]


class Link:
    """Gives out one piece a read (a number: that many ms of silence); then it has the reader wait."""

    def __init__(self, pieces=()):
        self.pieces = list(pieces)
        self.written = b""

    def readinto(self, buf):
        while self.pieces and isinstance(self.pieces[0], int):
            virtual_asyncio.now_us += self.pieces.pop(0) * 1000
        while not self.pieces:
            yield
        assert len(buf), "the reader has no room"
        piece = self.pieces[0]
        n = min(len(buf), len(piece))
        buf[:n] = piece[:n]
        self.pieces[0] = piece[n:]
        if n == len(piece):
            self.pieces.pop(0)
        return n

    def write(self, buf):
        self.written += bytes(buf)
        return
        yield


def read_frames(pieces, buf_size):
    """([(framing, message)...], frames dropped) of what arrives in these pieces."""
    reader = FrameReader(Link(pieces), buf_size)
    messages = []
    while True:
        message = run(reader.read())
        if message is None:
            return messages, reader.dropped
        messages.append((reader.framing, bytes(message)))


def write_frame(message, framing):
    link = Link()
    writer = FrameWriter(link, _ROOM)
    writer.body[: len(message)] = message
    run(writer.write(len(message), framing))
    return link.written


def hmac(key, parts):
    return auth.hmac_sha256(key, *parts)


def same(a, b):
    return auth.same(a, b)


# -- images


def ota(file):
    """What a board reads from an OTA file: header fields, version, type, the Manufacturer Image's place."""

    def read(at, buf):
        part = (
            file[at : at + len(buf)] if at < len(file) else b""
        )  # a 32-bit VM cannot even ask for octet 2**31
        buf[: len(part)] = part
        return len(part)

    header = ota_file.OtaHeader(file[: ota_file.HEAD_MAX])
    start, end = header.manufacturer_image(read)
    return (
        header.length,
        header.size,
        header.manufacturer,
        header.image_type,
        header.file_version,
        header.hardware,
        header.version(),
        header.device_type(),
        header.looks_raw(file[:256]),
        (start, end),
        header.destination,
    )


def metadata(block):
    return ota_file.metadata_manufacturer(block)


# -- HAN


_ccm = (
    None,
    None,
)  # one object for many frames, as on a board: what it carries from one to the next must not matter


def _ccm_of(key):
    global _ccm
    if _ccm[0] != key:
        _ccm = (key, Ccm(key))
    return _ccm[1]


def ccm_seal(key, nonce, aad, message):
    buf = bytearray(aad + message + bytes(4))
    _ccm_of(key).seal(buf, 0, len(aad), len(buf) - 4, nonce)
    return buf[len(aad) :]


def ccm_open(key, nonce, aad, sealed):
    buf = bytearray(aad + sealed)
    if not _ccm_of(key).open(buf, 0, len(aad), len(buf) - 4, nonce):
        return None
    return buf[len(aad) : -4]


class Counters:
    """As counters.Counters, of a node whose neighbours have all proved themselves."""

    settled = True
    due = False

    def __init__(self, counter, seen, neighbours):
        self.counter = counter
        self.seen = {eui: -1 for eui, _ in neighbours}
        self.seen.update(seen)

    def random(self, n):
        return bytes(n)

    def accept(self, eui, counter):
        self.seen[eui] = counter

    def next(self):
        self.counter += 1
        return self.counter - 1


def _network(node, link, counter=0, seen=None):
    """node: (PAN, short, EUI-64, key, key sequence, [(neighbour's EUI-64, its short)...])"""
    pan, short, eui, key, key_sequence, neighbours = node
    config = NetworkConfig(pan, short, eui, key, key_sequence, dict(neighbours))
    return Network(link, config, Counters(counter, seen or {}, neighbours))


def han_send(node, counter, dst, profile, cluster, src_ep, dst_ep, payload):
    """What goes out to the wire."""
    link = Link()
    network = _network(node, link, counter)
    run(network.send(dst, profile, cluster, src_ep, dst_ep, payload, len(payload)))
    return link.written


def han_receive(node, seen, profile, cluster, endpoint, pieces):
    """([(source, payload)...] of what was for that endpoint, the statistics that are not 0)"""
    network = _network(node, Link(pieces), 0, dict(seen))
    got = []

    def handler(peer, payload, reply):
        got.append((peer.short, bytes(payload)))
        return 0

    network.handle(profile, cluster, endpoint, handler)
    run(network.run())
    return got, [(k, v) for k, v in network.stats.items() if v]


def request_der(hash, number, tag):
    return tunnel.request_der(hash, number, tag)


def parse_request(der, tag):
    return tunnel.parse_request(der, tag)


def file_answer_der(offset, digest):
    return tunnel.file_answer_der(offset, digest)


def parse_file_answer(der):
    return tunnel.parse_file_answer(der)


def answer_der(code, version):
    return tunnel.answer_der(code, version)


def parse_answer(der):
    return tunnel.parse_answer(der)


class _Deaf:
    """A network without wires, for a cluster's codec."""

    def __init__(self):
        self.stats = {"malformed": 0}

    def next_sequence(self):
        return 0

    def handle(self, *_):
        pass


def read_attributes(attributes, frame):
    """What a server with these attributes ([(id, (type, value))...]) answers, and what a client makes of it."""
    server = zcl.Cluster(_Deaf(), 0, True)
    server.attributes = dict(attributes)
    reply = bytearray(frames.PAYLOAD_MAX)
    n = server._receive(None, frame, memoryview(reply))
    client = zcl.Cluster(_Deaf(), 0, False)
    return reply[:n], client._values(reply[:n])


def read_values(frame):
    return zcl.Cluster(_Deaf(), 0, False)._values(frame)


# -- a whole board: its role on a littlefs in RAM, its clock in our hands

_BLOCK = 4096
_BLOCKS = 32


class Clock:
    """Where asyncio would wait, time goes on."""

    map = True

    def wait_io_event(self, dt):
        if dt > 0:
            virtual_asyncio.now_us += dt * 1000


class RamFlash:
    def __init__(self):
        self.octets = bytearray(_BLOCK * _BLOCKS)

    def readblocks(self, block, buf, offset=0):
        at = block * _BLOCK + offset
        buf[:] = memoryview(self.octets)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        at = block * _BLOCK + offset
        self.octets[at : at + len(buf)] = buf

    def ioctl(self, op, argument):
        return {4: _BLOCKS, 5: _BLOCK}.get(op, 0)


class Uart:
    """A port's link: what arrives waits in a ring of as many octets as a board's."""

    def __init__(self):
        self._ring = RingIO(2048)
        self._arrived = asyncio.Event()
        self.written = b""

    def feed(self, octets):
        self._ring.write(octets)
        self._arrived.set()

    async def readinto(self, buf):
        while not self._ring.any():
            self._arrived.clear()
            await self._arrived.wait()
        return self._ring.readinto(buf)

    async def write(self, buf):
        self.written += bytes(buf)


class Port:
    smp_buffers = (512, 2)
    ble = None
    display = None
    root = "/flash"

    def __init__(self):
        self.wan = Uart()
        self.han = Uart()
        self.resets = 0

    def ticks_ms(self):
        return virtual_asyncio.ticks_ms()

    def random(self, n):
        return bytes(random.getrandbits(8) for _ in range(n))

    def unique_id(self):
        return b"oracle00"

    def led(self, on):
        pass

    def reset(self):
        self.resets += 1


async def _wait(ms):
    await asyncio.sleep_ms(ms)


class Board:
    flash = RamFlash()
    mounted = False

    def __init__(self, config):
        random.seed(1)
        virtual_asyncio.now_us = 0
        asyncio.new_event_loop()
        asyncio.core._io_queue = Clock()
        self.errors = []
        asyncio.get_event_loop().set_exception_handler(self._note)
        if Board.mounted:
            vfs.umount(Port.root)
        vfs.VfsLfs2.mkfs(self.flash, progsize=256)
        vfs.mount(vfs.VfsLfs2(self.flash, progsize=256, mtime=False), Port.root)
        Board.mounted = True
        self.port = Port()
        with open(Port.root + "/board.json", "w") as f:
            f.write(config)
        self.role = main.make_role(self.port, json.loads(config))
        counters = self.role.network.counters  # its neighbours have proved themselves
        counters.settled = True
        counters.seen = {peer.eui: -1 for peer in self.role.network.peers.values()}
        self.task = asyncio.create_task(self.role.run())
        self.run(1000)

    def _note(self, loop, context):
        self.errors.append(repr(context["exception"]))

    def run(self, ms):
        asyncio.run(_wait(ms))


_board = None


def start(config):
    """Boot a board with this board.json on an empty flash; what it sent: (WAN, HAN)."""
    global _board
    _board = None
    gc.collect()
    _board = Board(config)
    return sent()


def arrive(link, octets, ms):
    """Have octets arrive ("wan", "han") and let the board run; what it sent: (WAN, HAN)."""
    getattr(_board.port, link).feed(octets)
    _board.run(ms)
    return sent()


def sent():
    out = []
    for link in (_board.port.wan, _board.port.han):
        out.append(link.written)
        link.written = b""
    return out


def state():
    """What must stay as it is, whatever arrives; and that nothing has gone wrong within."""
    role = _board.role
    return {
        "errors": _board.errors,
        "failures": [v.failures for v in role.__dict__.values() if isinstance(v, Server)],
        "resets": _board.port.resets,
        "images": [(i.id, i.state, i.sha) for i in role.store.images()],
        "version": getattr(role, "version", None),
        "stats": role.network.stats,
    }


def answer_questions():
    for line in sys.stdin:
        try:
            name, *arguments = eval(line)
            answer = (True, plain(globals()[name](*arguments)))
        except Exception as e:
            answer = (False, type(e).__name__, str(e))
        print(repr(answer))
        gc.collect()


answer_questions()
