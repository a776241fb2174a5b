# The Communications Hub: takes images over the WAN into its small store, and hands them to the devices of
# its HAN. Its Device Model says how: what it does with an image that is too large (rules 3 to 6), whether
# it needs its manufacturer's metadata (rules 28 to 31). In how many steps a device is updated is that device's
# affair (rules 96, 97). With a GSME on the HAN the CH has a GPF as well: a mirror that answers for the sleeping
# gas meter from what it last heard. Its own firmware comes in the same way, and runs after its 11.3.
import asyncio
import binascii

from micropython import const

from smets1 import ota_file
from smets1.han import zdo
from smets1.han.basic import MODEL_IDENTIFIER, SW_BUILD_ID, BasicClient
from smets1.han.ids import COORDINATOR
from smets1.han.ota import CURRENT_FILE_VERSION
from smets1.han.zcl import NoAnswer
from smets1.roles.common import counters, describe, network, page, store_report
from smets1.roles.events import EventLog
from smets1.roles.hub_update import HubUpdate
from smets1.roles.jobs import Jobs
from smets1.store import ImageStore, StoreError
from smets1.wan import han_group, image_group
from smets1.wan.auth import Session
from smets1.wan.dual_control import DualControl
from smets1.wan.heap import HeapWatch
from smets1.wan.os_group import OsGroup
from smets1.wan.server import Server
from smets1.wan.smp import EBUSY, SmpError

_MIRROR_S = const(1800)  # how often the GPF hears of its GSME; illustrative
_FIRST_S = const(2)  # and how soon after the CH's start


class Device:
    """A device of this HAN. eui: 8 octets; steps: of its update, 1 or 2, as its Device Model says (rules 96, 97);
    seen: it has announced itself or answered since the CH started."""

    def __init__(self, eui, type, address, steps):
        self.eui = eui
        self.type = type
        self.address = address
        self.steps = steps
        self.seen = False


class CommsHub:
    head_octets = ota_file.HEAD_MAX + ota_file.METADATA

    def __init__(self, port, config):
        model = config["model"]
        self._port = port
        self._limits = config["limits"]
        self._metadata = model["metadata"]  # the manufacturer whose block it needs; "" for none
        self._events = EventLog(port.ticks_ms)
        self._log = self._events.add
        self.heap = HeapWatch()
        self.store = ImageStore(port.root + "/store", model["capacity"], model["size_behaviour"])
        self._log("boot", self.store.recovered)
        self.network = network(port, config, self._log)
        self.network.proof.on_proved = self._proved
        self._devices = {}  # EUI-64: Device
        for n in config["neighbours"]:
            eui = self.network.peers[n["address"]].eui  # one copy, as there may be a hundred
            self._devices[eui] = Device(eui, n["type"], n["address"], n.get("steps", 1))
        gpf = config.get("gpf")
        self._gpf = binascii.unhexlify(gpf) if gpf else None
        self._mirror = None  # what the GPF last heard from the GSME
        own = Device(binascii.unhexlify(config["eui"]), "CHF", COORDINATOR, 1)
        counters = self.network.counters
        self._own = HubUpdate(own, self.store, model, counters, port.reset, self._log)
        job = port.root + "/job"
        self.jobs = Jobs(
            self.network, self.store, self._devices, self._own, job, self.heap, self._log
        )
        self._basic = BasicClient(self.network)
        zdo.on_announce(self.network, self._announced)
        self._dual_control = DualControl(config, port.root + "/authorised")
        size, count = port.smp_buffers
        groups = {
            0: OsGroup(port, "comms-hub", self._own.trial.version, self.heap),
            image_group.GROUP: image_group.ImageGroup(self.store, self),
            han_group.GROUP: han_group.HanGroup(self),
        }
        self.server = Server(port.wan, groups, size, count, Session(port, config))

    async def run(self):
        await self._own.trial.boot(self._port.reset)
        self.heap.sample()
        await asyncio.gather(
            self.network.run(),
            self.server.run(),
            self._events.run(),
            self._own.trial.confirm(),
            self.jobs.resume(),
            self._listen_to_gsme(),
        )

    async def _listen_to_gsme(self):
        if not self._gpf:
            return
        gsme = next(d for d in self._devices.values() if d.type == "GSME")
        while True:
            await asyncio.sleep(_MIRROR_S if self._mirror else _FIRST_S)
            try:
                self._mirror = await self.read_version(gsme.eui)
            except SmpError:
                pass  # it keeps what it has

    # -- WAN: images

    def may_upload(self):
        if self.jobs.busy:
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

    def store_report(self, verify, skip, most):
        return store_report(self.store, verify, skip, most)

    def counters(self):
        return counters(self.network, self.server)

    def limits(self):
        """Deadlines that a client can count on; see firmware/README.md."""
        return self._limits

    def devices(self, skip, most):
        in_order = sorted(self._devices.values(), key=lambda d: d.address)  # a dict has none here
        devices, more = page(in_order, skip, most)
        report = {
            "devices": [
                {
                    "eui": d.eui,
                    "type": d.type,
                    "address": d.address,
                    "seen": d.seen,
                    "counter": self._dual_control.last(d.eui),
                }
                for d in devices
            ],
            "counter": self._dual_control.last(self._own.device.eui),
        }
        if more:
            report["more"] = True
        return report

    def progress(self):
        return self.jobs.progress()

    def distribute(self, eui, hash, sha, jitter):
        """11.1: hand an image to a two-step device; keep it for a one-step device until its 11.3 (job 0)."""
        device = self._device(eui)
        image = self.jobs.stored(device, hash, sha)
        if image is None:
            raise SmpError(han_group.NO_IMAGE, han_group.GROUP)
        self._check_idle()
        try:
            self.jobs.wait_for(device, image)
        except StoreError:
            raise SmpError(han_group.UNKNOWN, han_group.GROUP)
        if device.steps == 1:
            return {"job": 0}
        return {"job": self.jobs.distribute(device, image, jitter)}

    def activate(self, eui, hash, counter, mac, dco_mac):
        """11.3: have a device run the image with this hash, if the S1SP and the DCO both want it."""
        device = self._device(eui)
        self._check_idle()
        refusal = self._dual_control.refusal(eui, hash, counter, mac, dco_mac)
        if refusal:
            self._log("11.3 refused", refusal)
            raise SmpError(han_group.REFUSED, han_group.GROUP)
        return {"job": self.jobs.activate(device, hash, counter)}

    async def read_version(self, eui):
        """11.2: what the device itself answers; for a GPF, what it last heard from its GSME."""
        if eui == self._gpf:
            if self._mirror is None:
                raise SmpError(han_group.NO_ANSWER, han_group.GROUP)
            return self._mirror
        device = self._device(eui)
        if device is self._own.device:
            return self._own.version()
        try:
            # all tries together take less than the board's limits say (han_ms)
            basic = await self._basic.read(device.address, (SW_BUILD_ID, MODEL_IDENTIFIER), 300, 3)
            ota = await self.jobs.ota.read(device.address, (CURRENT_FILE_VERSION,), 300, 3)
        except NoAnswer:
            raise SmpError(han_group.NO_ANSWER, han_group.GROUP)
        device.seen = True
        return {
            "firmware": basic.get(SW_BUILD_ID, ""),
            "model": basic.get(MODEL_IDENTIFIER, ""),
            "file_version": ota.get(CURRENT_FILE_VERSION, 0),
        }

    def events(self, since):
        return self._events.since(since)

    # -- inside

    def _device(self, eui):
        device = self.jobs.find(eui)
        if device is None:
            raise SmpError(han_group.NO_DEVICE, han_group.GROUP)
        return device

    def _check_idle(self):
        if self.jobs.busy:
            raise SmpError(han_group.BUSY, han_group.GROUP)

    # -- HAN

    def _proved(self, eui):
        if eui in self._devices:
            self._devices[eui].seen = True

    def _announced(self, eui, short):
        if eui in self._devices:
            self.jobs.announced(eui)
            self._devices[eui].seen = True
            self._log("announced", self._devices[eui].type)
