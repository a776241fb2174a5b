# The port of an emulated board: MicroPython's unix port in lockstep with the bench (host/hanlab/bench/board.py).
# The VM never looks at a real clock. When no task is ready it sends its output and its next wake-up time to
# the bench, and blocks until the bench says what time it is and what arrived. Run by the bench:
#     micropython unix.py FD FIRMWARE_FOLDER
#
# Messages, little-endian. To the bench: kind u8, argument u32, length u32, then `length` octets:
#     T argument = link, octets sent    E erase the sector at argument   P program octets at argument
#     W wait for argument - 1 ms (0 = until something arrives)           X reset me
# From the bench, after E, P and W: time in µs u64, length or status u32, then (after W) for each arrival
# link u8, length u16, octets. The first message of all is the bench's hello: JSON.
import struct
import sys

import virtual_asyncio  # before asyncio

import asyncio
import asyncio.core
import gc
import json
import os
import random
from binascii import unhexlify
from micropython import RingIO, const

_WAN = const(0)
_HAN = const(1)
_BLE = const(2)  # what its radio is told and tells: bluetooth.py
_TOGETHER = const(8)  # messages that go out in one piece


class Link:
    """One of the board's UARTs: what arrives waits in a ring of `rxbuf` octets, as in machine.UART."""

    def __init__(self, bench, number, rxbuf):
        self._bench = bench
        self._number = number
        self._ring = RingIO(rxbuf)
        self._arrived = asyncio.Event()
        self.lost = 0  # octets that found the ring full

    def feed(self, octets):
        taken = self._ring.write(octets) or 0
        self.lost += len(octets) - taken
        self._arrived.set()

    async def readinto(self, buf):
        while not self._ring.any():
            self._arrived.clear()
            await self._arrived.wait()
        return self._ring.readinto(buf)

    async def write(self, buf):
        self._bench.send(b"T", self._number, buf)


class Flash:
    """The board's flash chip as a block device: read from its file, erased and programmed by the bench,
    which keeps the chip's time and its rules (a program can only clear bits)."""

    def __init__(self, bench, path, size, sector):
        self._bench = bench
        self._file = open(path, "rb")
        self._sector = sector
        self._count = size // sector

    def readblocks(self, block, buf, offset=0):
        self._file.seek(block * self._sector + offset)
        self._file.readinto(buf)

    # What the chip refuses is answered with a negative errno: an exception would jump out of littlefs in mid-work.
    def writeblocks(self, block, buf, offset=None):
        if offset is None:
            for i in range(len(buf) // self._sector):
                status = self._bench.call(b"E", (block + i) * self._sector, b"")
                if status:
                    return -status
            offset = 0
        return -self._bench.call(b"P", block * self._sector + offset, buf)

    def ioctl(self, op, argument):
        if op == 4:
            return self._count
        if op == 5:
            return self._sector
        if op == 6:
            return -self._bench.call(b"E", argument * self._sector, b"")
        return 0

    def blank(self):
        buf = bytearray(self._sector)
        for block in (0, 1):  # littlefs keeps its superblock in these two
            self.readblocks(block, buf)
            if buf.count(b"\xff") != self._sector:
                return False
        return True


class Bench:
    """The other end: it says what time it is."""

    map = True  # to asyncio: there is always something to wait for

    def __init__(self, fd):
        self._file = open(fd, "r+b")
        self._head = bytearray(9)
        self._reply = bytearray(12)
        self._arrival = bytearray(3)
        self._piece = memoryview(bytearray(256))
        self._waiting = []  # messages that go out together at the next wait or call
        self._flags = []  # ThreadSafeFlags that are not set yet, and the task that waits for each
        self.links = ()

    def send(self, kind, argument, octets):
        struct.pack_into("<BII", self._head, 0, ord(kind), argument, len(octets))
        self._waiting.append(bytes(self._head))
        if octets:
            self._waiting.append(bytes(octets))

    def exchange(self):
        if len(self._waiting) <= _TOGETHER:
            self._file.write(b"".join(self._waiting))
        else:  # a chip needs no heap for that
            for octets in self._waiting:
                self._file.write(octets)
        self._waiting.clear()
        if self._file.readinto(self._reply) != 12:
            sys.exit(0)  # the bench switched the power off
        virtual_asyncio.now_us, status = struct.unpack("<QI", self._reply)
        return status

    def call(self, kind, argument, octets):
        self.send(kind, argument, octets)
        return self.exchange()

    def hello(self):
        octets = bytearray(self.exchange())
        self._take(octets)
        return json.loads(octets)

    def _take(self, buf):
        if self._file.readinto(buf) != len(buf):
            sys.exit(0)

    def queue_read(self, flag):
        """The task that runs waits for a ThreadSafeFlag: an interrupt sets it."""
        self._flags.append((flag, asyncio.core.cur_task))
        asyncio.core.cur_task.data = self

    def remove(self, task):
        """A task that waits is cancelled."""
        self._flags = [waiting for waiting in self._flags if waiting[1] is not task]

    def _wake(self):
        for waiting in self._flags:
            if waiting[0].state:
                self.remove(waiting[1])
                asyncio.core._task_queue.push(waiting[1])
                return True
        return False

    def wait_io_event(self, dt):
        """asyncio would wait: dt = ms to the next timer, -1 = none, 0 = a task is ready."""
        if self._wake() or dt == 0:
            return
        self.send(b"W", dt + 1, b"")
        left = self.exchange()
        while left:
            self._take(self._arrival)
            link, n = struct.unpack("<BH", self._arrival)
            left -= 3 + n
            while n:  # in pieces: how much arrives at once must not matter to the heap
                piece = self._piece[: min(n, len(self._piece))]
                self._take(piece)
                self.links[link].feed(piece)
                n -= len(piece)
        self._wake()


class Port:
    """What every port gives the firmware; see boards/README.md."""

    def __init__(self, bench, hello):
        self._bench = bench
        wan, han = hello["rxbuf"]
        links = (Link(bench, _WAN, wan), Link(bench, _HAN, han))
        bench.links = links
        if hello["cable"]:
            import cable

            links = cable.sides(links[_WAN], (wan, han), unhexlify(hello["config"]["eui"]))
        self.wan, self.han = links
        self.ble = None
        if "ble" in hello:
            import ble
            import bluetooth

            radio = bluetooth.BLE()
            radio.send = lambda octets: bench.send(b"T", _BLE, octets)
            bench.links += (radio,)
            self.ble = ble.open_link(hello["ble"])
        self.root = "/flash"
        self.smp_buffers = hello["smp"]  # (octets, how many): the window this board can really take
        self._id = bytes.fromhex(hello["id"])
        random.seed(hello["seed"])

    def ticks_ms(self):
        return virtual_asyncio.ticks_ms()

    def random(self, n):
        return bytes(random.getrandbits(8) for _ in range(n))

    def unique_id(self):
        return self._id

    def reset(self):
        self._bench.send(b"X", 0, b"")
        self._bench.exchange()  # never returns: the bench ends this VM


def mount(flash, root):
    import vfs

    if flash.blank():
        vfs.VfsLfs2.mkfs(flash, progsize=256)
    try:
        vfs.mount(vfs.VfsLfs2(flash, progsize=256, mtime=False), root)
    except OSError as e:
        print("flash: no littlefs filesystem can be mounted from it (OSError %s)" % e)
        sys.exit(3)


def provision(root, config):
    """Write the board's configuration as `hanlab provision` does, if it is another one than it has."""
    path = root + "/board.json"
    text = json.dumps(config)
    try:
        with open(path) as f:
            if f.read() == text:
                return
    except OSError:
        pass
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def start():
    bench = Bench(int(sys.argv[1]))
    asyncio.core._io_queue = bench
    hello = bench.hello()
    port = Port(bench, hello)
    flash = Flash(bench, hello["flash"]["path"], hello["flash"]["size"], hello["flash"]["sector"])
    mount(flash, port.root)
    provision(port.root, hello["config"])
    del hello  # a chip has none on its heap
    sys.path.insert(0, sys.argv[2])
    gc.collect()
    import main

    main.run(port)


start()
