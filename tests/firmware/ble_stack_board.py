# A board on a MicroPython that has `bluetooth` (tests/host/test_ble_stacks.py runs it): boards/ports/ble.py and the SMP
# server, with an image group that hashes what comes and holds the whole board up after each sector, as flash does.
#     micropython ble_stack_board.py REPOSITORY
import asyncio
import hashlib
import os
import sys

root = sys.argv[1]
sys.path.insert(0, root + "/firmware")
with open(
    root + "/boards/ports/ble.py"
) as f:  # (not its folder: that has a `bluetooth` for VMs without one)
    exec(f.read(), globals())

from smets1.wan.auth import Session
from smets1.wan.heap import HeapWatch
from smets1.wan.os_group import OsGroup
from smets1.wan.server import Server

SECTOR = 4096
WORK = bytes(1 << 20)
ROUNDS = 10  # of hashing that: some 50 ms in which nobody else runs


class Port:
    def random(self, n):
        return os.urandom(n)

    def unique_id(self):
        return b"12345678"

    def reset(self):
        pass


class Images:
    v1_codes = {}

    def __init__(self):
        self.reads = {}
        self.writes = {1: self._chunk}
        self._off = 0

    def _chunk(self, request):
        data = request["data"]
        if not self._off and request["off"] == 0:
            self._size, self._sha = request["len"], bytes(request["sha"])
            self._hash = hashlib.sha256()
        if request["off"] == self._off:
            self._hash.update(data)
            before = self._off // SECTOR
            self._off += len(data)
            if self._off // SECTOR > before:
                for _ in range(ROUNDS):
                    hashlib.sha256(WORK)
        if self._off == self._size:
            return {"off": self._off, "match": self._hash.digest() == self._sha}
        return {"off": self._off}


link = open_link({"name": "hanlab-90A2", "smp": [976, 5]})  # noqa: F821 (of ble.py)
session = Session(Port(), {"eui": "00db1234567890a2", "wan": {"open": True}})
groups = {0: OsGroup(Port(), "comms-hub", "0.1.0", HeapWatch()), 1: Images()}
asyncio.run(Server(link, groups, *link.smp_buffers, session).run())
