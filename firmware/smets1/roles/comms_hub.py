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
from smets1.han.admission import Admission
from smets1.han.basic import MODEL_IDENTIFIER, SW_BUILD_ID, BasicClient
from smets1.han.ids import COORDINATOR, LEAVE, LEAVE_REQUEST
from smets1.han.network import Network, NetworkConfig, eui_text
from smets1.han.ota import CURRENT_FILE_VERSION
from smets1.han.zcl import NoAnswer
from smets1.roles.common import (
    counters,
    counters_for,
    describe,
    page,
    place,
    store_report,
    wan_servers,
)
from smets1.roles.device_table import JOINED, Device, DeviceTable
from smets1.roles.events import EventLog
from smets1.roles.hub_update import HubUpdate
from smets1.roles.jobs import Jobs
from smets1.store import ImageStore, StoreError
from smets1.wan import han_group, image_group
from smets1.wan.dual_control import DualControl
from smets1.wan.heap import HeapWatch
from smets1.wan.os_group import OsGroup
from smets1.wan.smp import EBUSY, SmpError

_MIRROR_S = const(1800)  # how often the GPF hears of its GSME; illustrative
_FIRST_S = const(2)  # and how soon after the CH's start
_LEAVE_TRIES = const(3)  # of a device that is told to leave
_LEAVE_MS = const(300)  # for what it says to that


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
        self._table = DeviceTable(port.root + "/devices", config)
        self._devices = self._table.devices  # EUI-64: Device
        if self._table.problem:
            self._log("device table", self._table.problem)
        self.network = self._make_network(port, config)
        self.network.proof.log = self._log
        self.network.proof.on_proved = self._proved
        self.network.on_command = self._command
        self._admission = Admission(self.network, self._table, port.ticks_ms, self._log)
        self._leaving = {}  # EUI-64: Event, set when the device says that it goes
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
        groups = {
            0: OsGroup(port, "comms-hub", self._own.trial.version, self.heap),
            image_group.GROUP: image_group.ImageGroup(self.store, self),
            han_group.GROUP: han_group.HanGroup(self),
        }
        self.servers = wan_servers(port, groups, config)

    def _make_network(self, port, config):
        han = config["han"]
        key = binascii.unhexlify(han["key"])
        eui = binascii.unhexlify(config["eui"])
        place = NetworkConfig(han["pan"], han["address"], eui, key)
        network = Network(port.han, place, counters_for(port, key, key))
        for device in self._devices.values():
            network.peers[device.address] = device
        return network

    async def run(self):
        await self._own.trial.boot(self._port.reset)
        self.heap.sample()
        await asyncio.gather(
            self.network.run(),
            *[server.run() for server in self.servers],
            self._events.run(),
            self._own.trial.confirm(),
            self.jobs.resume(),
            self._listen_to_gsme(),
        )

    async def _listen_to_gsme(self):
        if not self._gpf:
            return
        while True:
            await asyncio.sleep(_MIRROR_S if self._mirror else _FIRST_S)
            for gsme in [d.eui for d in self._devices.values() if d.type == "GSME"]:
                try:
                    self._mirror = await self.read_version(gsme)
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
        return counters(self.network, self.servers)

    def place(self):
        return place(self.network, JOINED)

    def limits(self):
        """Deadlines that a client can count on; see firmware/README.md."""
        return self._limits

    def devices(self, skip, most):
        """Those in the table in the order of their addresses, then those that may join."""
        # a dict has no order here
        listed = sorted(self._devices.values(), key=lambda d: d.address)
        listed += sorted(self._admission.waiting(), key=lambda d: d.eui)
        devices, more = page(listed, skip, most)
        report = {
            "devices": [
                {
                    "eui": d.eui,
                    "type": d.type,
                    "address": d.address,
                    "seen": d.seen,
                    "counter": self._dual_control.last(d.eui),
                    "state": d.state,
                }
                for d in devices
            ],
            "counter": self._dual_control.last(self._own.device.eui),
            "open_ms": self._admission.open_ms(),
        }
        if more:
            report["more"] = True
        return report

    def join(self, eui, code, type, steps, minutes):
        """8.11 add: let a device join that has this install code on its label, for so many minutes from now."""
        if eui in (self.network.config.eui, self._gpf):
            raise SmpError(han_group.BAD_REQUEST, han_group.GROUP)
        if eui not in self._devices and not self._table.has_room(0):
            raise SmpError(han_group.FULL, han_group.GROUP)
        self._admission.open(eui, code, type, steps, 60_000 * minutes)
        return {"open_ms": self._admission.open_ms()}

    async def leave(self, eui):
        """8.11 remove: a device has no place on this HAN any more, whatever it does itself."""
        if self.jobs.busy_with(eui):
            raise SmpError(han_group.BUSY, han_group.GROUP)
        withdrawn = self._admission.withdraw(eui)
        device = self._devices.get(eui)
        if device is None:
            if withdrawn:
                return {}
            raise SmpError(han_group.NO_DEVICE, han_group.GROUP)
        heard = await self._send_away(device)
        try:
            self._table.remove(eui)
        except OSError:
            raise SmpError(han_group.UNKNOWN, han_group.GROUP)
        self.jobs.left(device)
        self._dual_control.forget(eui)
        self.network.expel(eui)
        self.network.counters.keep()
        self._log("left", "%s%s" % (eui_text(eui), "" if heard else ", and did not answer"))
        return {}

    async def _send_away(self, device):
        """Tell a device to leave: whether it has said that it does."""
        self._leaving[device.eui] = gone = asyncio.Event()
        try:
            for _ in range(_LEAVE_TRIES):
                await self.network.command(device.address, bytes((LEAVE, LEAVE_REQUEST)))
                try:
                    await asyncio.wait_for_ms(gone.wait(), _LEAVE_MS)
                except asyncio.TimeoutError:
                    continue
                return True
            return False
        finally:
            del self._leaving[device.eui]

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

    def _command(self, peer, octets):
        if octets[0] == LEAVE and peer.eui in self._leaving:
            self._leaving[peer.eui].set()

    def _announced(self, eui, short):
        if eui in self._devices:
            self.jobs.announced(eui)
            self._devices[eui].seen = True
            self._log("announced", self._devices[eui].type)
