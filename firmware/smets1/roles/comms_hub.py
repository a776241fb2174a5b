# The Communications Hub: takes images over the WAN into its small store, and hands them to the devices of
# its HAN. Its Device Model says how: what it does with an image that is too large (rules 3 to 6), whether
# it needs its manufacturer's metadata (rules 28 to 31), and in how many steps it updates (rules 96, 97).
import asyncio
import binascii

from micropython import const

from smets1 import ota_file
from smets1.han import tunnel, zdo
from smets1.han.basic import MODEL_IDENTIFIER, SW_BUILD_ID, BasicClient
from smets1.han.ids import (
    ABORT,
    INVALID_IMAGE,
    MALFORMED_COMMAND,
    NO_IMAGE_AVAILABLE,
    SUCCESS,
    TIMEOUT,
)
from smets1.han.ota import COUNT_DOWN, CURRENT_FILE_VERSION, IMAGE_UPGRADE_STATUS
from smets1.han.ota_server import Offer, OtaServer
from smets1.han.zcl import NoAnswer
from smets1.roles.common import counters, describe, is_sound, network, store_report
from smets1.store import FLASH, STORED, ImageStore, StoreError
from smets1.wan import han_group, image_group
from smets1.wan.auth import Session
from smets1.wan.dual_control import DualControl
from smets1.wan.heap import HeapWatch
from smets1.wan.os_group import OsGroup
from smets1.wan.server import Server
from smets1.wan.smp import EBUSY, SmpError

_EVENTS = const(24)  # the newest ones are kept
# How long a device may ask for nothing until it is notified again. One whose download came to a stand, because
# nothing got through any more, takes it up again then. After the last of them it counts as gone.
_NOTIFY_MS = (2000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000)
_RESTART_MS = (300,) + (1000,) * 30  # between two looks at a device that restarts
_MISREADS = const(5)  # blocks that flash did not give, in one transfer
_SAMPLE = const(16_384)  # octets of a transfer between two looks at the heap

_REASONS = {
    ABORT: "it cannot store it (ABORT)",
    INVALID_IMAGE: "the image is damaged or not for it (INVALID_IMAGE)",
    NO_IMAGE_AVAILABLE: "it is for other hardware, or runs already (NO_IMAGE_AVAILABLE)",
    TIMEOUT: "no answer",
    MALFORMED_COMMAND: "damaged in the CH's flash: its SHA-256 is not what was stored",
}


class Job:
    """A transfer or an activation on this HAN; one at a time."""

    def __init__(self, number, op, eui):
        self.number = number
        self.op = op
        self.eui = eui
        self.state = "running"
        self.off = 0
        self.len = 0
        self.status = SUCCESS
        self.reason = ""
        self.note = ""  # how it began: afresh, or where an earlier transfer stopped
        self.misreads = 0
        self.moved = asyncio.Event()  # the device asked for something, or ended


class CommsHub:
    def __init__(self, port, config):
        model = config["model"]
        self._port = port
        self._steps = model["steps"]
        self._limits = config["limits"]
        self._metadata = model["metadata"]  # the manufacturer whose block it needs; "" for none
        self.heap = HeapWatch()
        self.store = ImageStore(port.root + "/store", model["capacity"], model["size_behaviour"])
        self.network = network(port, config)
        self._devices = {}  # EUI-64: [type, address, seen]
        for n in config["neighbours"]:
            self._devices[binascii.unhexlify(n["eui"])] = [n["type"], n["address"], False]
        self.ota = OtaServer(self.network, self._progressed, self._ended, self._queried)
        self._tunnel = tunnel.TunnelClient(self.network)
        self._basic = BasicClient(self.network)
        zdo.on_announce(self.network, self._announced)
        self._dual_control = DualControl(config, port.root + "/authorised")
        self._job = None
        self._jobs = 0
        self._announces = 0  # devices that have started since the last activation
        self._events = []
        self._event = 0
        size, count = port.smp_buffers
        groups = {
            0: OsGroup(port, "comms-hub", model["version"], self.heap),
            image_group.GROUP: image_group.ImageGroup(self.store, self),
            han_group.GROUP: han_group.HanGroup(self),
        }
        self.server = Server(port.wan, groups, size, count, Session(port, config))

    async def run(self):
        asyncio.create_task(self.network.run())
        self._log("boot", self.store.recovered)
        self.heap.sample()
        await self.server.run()

    # -- WAN: images

    def may_upload(self):
        if self._busy():
            raise SmpError(EBUSY)

    def check_head(self, octets, size):
        """The first octets of an upload: whatever is no image for this CH goes no further."""
        try:
            header = ota_file.OtaHeader(octets)
        except ota_file.NotOta:
            raise self._no_image()
        if header.size != size:
            raise self._no_image()
        if header.looks_raw(octets):
            block = octets[header.length : header.length + ota_file.METADATA]
            self._check_metadata(ota_file.metadata_manufacturer(block) or "")

    def accept(self, upload):
        """All octets are there: what the store keeps with them."""
        try:
            info = describe(upload)
        except ota_file.NotOta:
            raise self._no_image()
        self._check_metadata(info["metadata"])
        self._log("stored", info["version"])
        self.heap.sample()
        return info

    def _check_metadata(self, manufacturer):
        if self._metadata and manufacturer != self._metadata:
            # rules 28 to 30: locked to another manufacturer's CH
            raise SmpError(image_group.INVALID_TLV, image_group.GROUP)

    def _no_image(self):
        return SmpError(image_group.INVALID_IMAGE_HEADER, image_group.GROUP)

    # -- WAN: group 0x5331

    def store_report(self, verify):
        return store_report(self.store, verify)

    def counters(self):
        return counters(self.network, self.server)

    def limits(self):
        """Deadlines that a client can count on; see firmware/README.md."""
        return self._limits

    def devices(self):
        return {
            "devices": [
                {
                    "eui": eui,
                    "type": d[0],
                    "address": d[1],
                    "seen": d[2],
                    "counter": self._dual_control.last(eui),
                }
                for eui, d in self._devices.items()
            ]
        }

    def progress(self):
        job = self._job
        if job is None:
            return {"job": 0, "state": "idle"}
        return {
            "job": job.number,
            "op": job.op,
            "eui": job.eui,
            "state": job.state,
            "off": job.off,
            "len": job.len,
            "status": job.status,
            "reason": job.reason,
            "note": job.note,
        }

    def distribute(self, eui, hash):
        """11.1 on a two-step model: hand an image to a device."""
        device = self._device(eui)
        for image in self._stored_for(device):
            if binascii.unhexlify(image.info["hash"]) == hash:
                job = self._begin("distribute", eui)
                asyncio.create_task(self._run(job, self._distribute(job, image)))
                return {"job": job.number}
        raise SmpError(han_group.NO_IMAGE, han_group.GROUP)

    def activate(self, eui, hash, counter, mac, dco_mac):
        """11.3: have a device run the image with this hash, if the S1SP and the DCO both want it."""
        device = self._device(eui)
        refusal = self._dual_control.refusal(eui, hash, counter, mac, dco_mac)
        if refusal:
            self._log("11.3 refused", refusal)
            raise SmpError(han_group.REFUSED, han_group.GROUP)
        job = self._begin("activate", eui)
        asyncio.create_task(self._run(job, self._activate(job, device, hash, counter)))
        return {"job": job.number}

    async def read_version(self, eui):
        """11.2: what the device itself answers."""
        device = self._device(eui)
        try:
            # all tries together take less than the board's limits say (han_ms)
            basic = await self._basic.read(device[1], (SW_BUILD_ID, MODEL_IDENTIFIER), 300, 3)
            ota = await self.ota.read(device[1], (CURRENT_FILE_VERSION,), 300, 3)
        except NoAnswer:
            raise SmpError(han_group.NO_ANSWER, han_group.GROUP)
        device[2] = True
        return {
            "firmware": basic.get(SW_BUILD_ID, ""),
            "model": basic.get(MODEL_IDENTIFIER, ""),
            "file_version": ota.get(CURRENT_FILE_VERSION, 0),
        }

    def events(self, since):
        first = self._event - len(self._events)  # the number before the oldest that is kept
        return {
            "events": [e for e in self._events if e["n"] > since],
            "lost": max(0, first - since),
        }

    # -- jobs

    def _device(self, eui):
        device = self._devices.get(eui)
        if device is None:
            raise SmpError(han_group.NO_DEVICE, han_group.GROUP)
        return device

    def _stored_for(self, device):
        return [i for i in self.store.images() if i.state == STORED and i.info["type"] == device[0]]

    def _busy(self):
        return self._job is not None and self._job.state == "running"

    def _begin(self, op, eui):
        if self._busy():
            raise SmpError(han_group.BUSY, han_group.GROUP)
        self._jobs += 1
        self._job = Job(self._jobs, op, eui)
        return self._job

    async def _run(self, job, work):
        """Run a job to its end, whatever happens in it."""
        try:
            await work
        except NoAnswer:
            self._fail(job, TIMEOUT)
        except StoreError as e:
            self._fail(job, ABORT, str(e))
        if job.state == "running":
            job.state = "done"
        self.heap.sample()
        self._log(job.op + " " + job.state, job.reason)

    def _fail(self, job, status, reason=None):
        job.state = "failed"
        job.status = status
        job.reason = reason or _REASONS.get(status, "status 0x%02X" % status)

    async def _distribute(self, job, image):
        """Offer the image and serve its blocks until the device says that it is done."""
        info = image.info
        low, high = info["hardware"]
        job.len = image.size
        if not is_sound(self.store, image):
            self.store.evict(image)
            self._fail(job, MALFORMED_COMMAND)
            return
        await self._agree(job, image)
        offer = Offer(
            info["manufacturer"],
            info["image_type"],
            info["file_version"],
            image.size,
            lambda offset, buf: self._read(job, image, offset, buf),
            low,
            high,
        )
        self.ota.offer(job.eui, offer)
        try:
            await self._served(job, offer)
        finally:
            self.ota.withdraw(job.eui)

    async def _agree(self, job, image):
        """Tell the device which file comes. What it has of it already is proved by a hash, not trusted."""
        short = self._devices[job.eui][1]
        offset, digest = await self._tunnel.announce(short, image.sha, image.size)
        if offset and (offset > image.size or self.store.digest(image, 0, offset) != digest):
            job.note = "starts again: the device's first %d octets are not this file's" % offset
            offset, _ = await self._tunnel.announce(short, image.sha, image.size, True)
        elif offset:
            job.note = "goes on at %d: the octets before have the right SHA-256" % offset
        job.off = offset
        if job.note:
            self._log("transfer", job.note)

    def _read(self, job, image, offset, buf):
        """Flash that cannot be read may do so later (the device is told WAIT_FOR_DATA), but not for ever (ABORT)."""
        try:
            return self.store.read(image, offset, buf)
        except StoreError as e:
            job.misreads += 1
            return None if e.kind == FLASH and job.misreads < _MISREADS else 0

    async def _served(self, job, offer):
        silent = 0  # notifications that nothing came of
        await self.ota.notify(job.eui)
        while job.state == "running" and offer.ended is None:
            if await self._moves(job, _NOTIFY_MS[silent]):
                silent = 0
                continue
            silent += 1
            if silent == len(_NOTIFY_MS):
                self._fail(job, TIMEOUT)
            else:
                await self.ota.notify(job.eui)
        if job.state == "running" and offer.ended != SUCCESS:
            self._fail(job, offer.ended)
        if job.state == "running":
            job.off = job.len

    async def _moves(self, job, ms):
        """Whether the device does anything within `ms`."""
        try:
            await asyncio.wait_for_ms(job.moved.wait(), ms)
        except asyncio.TimeoutError:
            return False
        job.moved.clear()
        return True

    async def _activate(self, job, device, hash, counter):
        if self._steps == 1:
            code = await self._fetch_first(job, device, hash)
            if code != tunnel.ACTIVATED:
                job.status = code
                return
        self._announces = 0
        job.status, version = await self._tunnel.activate(device[1], hash, counter)
        if job.status == tunnel.ACTIVATED and not await self._runs(device, version):
            job.status = tunnel.ACTIVATION_FAILURE
            job.reason = "it came back with the firmware that it had before"
        if job.status == tunnel.ACTIVATED:
            for image in self._stored_for(device):
                if binascii.unhexlify(image.info["hash"]) == hash:
                    self.store.evict(image)  # it has done its work; the next one needs the room

    async def _runs(self, device, version):
        """Wait for the device to restart and confirm: whether it runs the file version that it answered.

        One that still runs another version may not have restarted yet, so it is believed only once it has
        announced itself, or has been given the time to."""
        for wait_ms in _RESTART_MS:
            await asyncio.sleep_ms(wait_ms)
            try:
                is_ = await self.ota.read(
                    device[1], (CURRENT_FILE_VERSION, IMAGE_UPGRADE_STATUS), 500, 1
                )
            except NoAnswer:
                continue
            if is_.get(CURRENT_FILE_VERSION) == version:
                if is_.get(IMAGE_UPGRADE_STATUS) != COUNT_DOWN:  # its trial is over
                    return True
            elif self._announces:
                return False
        return False

    async def _fetch_first(self, job, device, hash):
        """One-step models: the transfer is part of 11.3 (rule 96). The code that 11.3 answers so far."""
        held = self._stored_for(device)
        if not held:
            return tunnel.NO_IMAGE_HELD
        for image in held:
            if binascii.unhexlify(image.info["hash"]) == hash:
                await self._distribute(job, image)
                if job.state == "failed":
                    job.state = "running"  # 11.3 has an answer for this
                    return tunnel.ACTIVATION_FAILURE
                return tunnel.ACTIVATED
        return tunnel.HASH_MISMATCH

    # -- HAN

    def _announced(self, eui, short):
        if eui in self._devices:
            self._announces += 1
            self._devices[eui][2] = True
            self._log("announced", self._devices[eui][0])

    def _queried(self, eui, status):
        self._devices[eui][2] = True
        job = self._job
        if self._busy() and job.eui == eui:
            if status != SUCCESS and eui in self.ota.offers:
                self._fail(job, status)
            job.moved.set()

    def _progressed(self, eui, offset):
        job = self._job
        if self._busy() and job.eui == eui:
            if job.off // _SAMPLE != offset // _SAMPLE:
                self.heap.sample()
            job.off = offset
            job.moved.set()

    def _ended(self, eui, status):
        if self._busy() and self._job.eui == eui:
            self._job.moved.set()

    def _log(self, name, text=""):
        self._event += 1
        self._events.append(
            {"n": self._event, "t": self._port.ticks_ms(), "name": name, "text": text}
        )
        if len(self._events) > _EVENTS:
            self._events.pop(0)
