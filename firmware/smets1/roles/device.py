# A device on the HAN that firmware is for: the PPMID. It fetches images from the Communications Hub into
# its own store, holds one until 11.3 names its hash, and then restarts with it.
import asyncio
import binascii
import hashlib

from micropython import const

from smets1.han import tunnel
from smets1.han.basic import BasicServer, Identity
from smets1.han.counters import Counters
from smets1.han.join import Join, network_config
from smets1.han.network import Network
from smets1.han.ota import COUNT_DOWN, NORMAL
from smets1.han.ota_client import OtaClient, Refused
from smets1.ota_file import NotOta
from smets1.roles.common import (
    counters,
    counters_for,
    describe,
    place,
    store_report,
    wan_servers,
)
from smets1.roles.events import EventLog
from smets1.roles.network_record import NetworkRecord
from smets1.roles.trial import Trial
from smets1.store import STORED, ImageStore, StoreError
from smets1.wan import han_group
from smets1.wan.heap import HeapWatch
from smets1.wan.os_group import OsGroup

_RESTART_MS = const(20)  # after the answer to 11.3 is on its way
_OTHERS = bytes(32)  # in place of a digest: what is here belongs to another file
_IMAGES = const(
    4
)  # in the answer about the store: more than one that runs and one that is held never are
_SAMPLE = const(16_384)  # octets of a transfer between two looks at the heap


class HanDevice:
    def __init__(self, port, config):
        model = config["model"]
        self._port = port
        self.heap = HeapWatch()
        self.store = ImageStore(port.root + "/store", model["capacity"], model["size_behaviour"])
        self.events = EventLog(port.ticks_ms)
        self.events.add("boot", self.store.recovered)
        self.trial = Trial(self.store, model["version"], self.events.add)
        self.eui = binascii.unhexlify(config["eui"])
        self.identity = Identity(
            model["manufacturer_code"],
            model["image_type"],
            self.trial.file_version,
            model["hardware"],
            self.trial.version,
            model["model"],
            model["manufacturer"],
        )
        self.record = NetworkRecord(port.root + "/network", config)
        self.network, self._join = self._make_network(port, config)
        BasicServer(self.network, self.identity)
        self.ota = OtaClient(self.network, self.identity, _Sink(self), port.ticks_ms)
        self.coming = None  # (SHA-256, size) of the file that the CH has announced
        tunnel.TunnelServer(
            self.network, self._activate, self._after, port.root + "/activated", self._file_comes
        )
        groups = {
            0: OsGroup(port, model["type"].lower(), self.trial.version, self.heap),
            han_group.GROUP: _ServiceGroup(self),
        }
        self.servers = wan_servers(port, groups, config)

    def _make_network(self, port, config):
        """This board's end of the HAN, and what keeps it on one."""
        record = self.record
        if record.problem:
            self.events.add("network record", record.problem)

        def counters_of(membership):
            if membership is None:
                return Counters(None, b"", port.random)
            return counters_for(port, membership.key, record.home_key)

        place = network_config(self.eui, record.here)
        network = Network(port.han, place, counters_of(record.here))
        network.proof.log = self.events.add
        code = config.get("install_code")
        code = binascii.unhexlify(code) if code else None
        return network, Join(network, record, self.eui, code, counters_of, self.events.add)

    async def run(self):
        await self.trial.boot(self._port.reset)
        if self.trial.on:
            self.ota.image_upgrade_status = COUNT_DOWN
        await asyncio.gather(
            self.network.run(),
            *[server.run() for server in self.servers],
            self.events.run(),
            self.ota.run(self._fetched),
            self._begin(),
            self._join.run(),
        )

    async def _begin(self):
        self.heap.sample()
        await self.trial.confirm()
        self.ota.image_upgrade_status = NORMAL
        self.ota.ask()  # an image may be on offer since before this restart

    def _fetched(self, status, upgrade_time):
        self.heap.sample()

    # -- a file comes

    def _file_comes(self, sha, size, forget):
        """How much of the file is here, and the SHA-256 of that."""
        upload = self.store.upload
        image = self.store.find(sha=sha)
        self.coming = sha, size
        try:
            if image and image.size == size and not forget:
                return size, self.store.digest(image)
            if upload and forget:
                upload.drop()
            elif upload and upload.sha == sha and upload.size == size:
                return upload.offset, upload.digest(0, upload.offset)
            elif upload:
                return upload.offset, _OTHERS  # so the CH says why it starts again
        except StoreError:
            pass  # it cannot be read: it is as good as not there
        return 0, hashlib.sha256(b"").digest()

    # -- 11.3

    def _activate(self, hash, counter):
        """The response code, and the file version that runs after it."""
        held = [image for image in self.store.images() if image.state == STORED]
        return self.trial.activate(hash, held)

    def _after(self, code):
        if self.trial.restarts:
            restart = self.trial.restart(self.network.counters, self._port.reset, _RESTART_MS)
            asyncio.create_task(restart)


class _ServiceGroup:
    """What a device answers on its own UART, of group 0x5331: its store, its counters, its events and its network."""

    def __init__(self, device):
        self.reads = {
            0: lambda request: store_report(
                device.store, request.get("verify") is True, 0, _IMAGES
            ),
            6: lambda request: han_group.events(device.events.since, request),
            8: lambda request: counters(device.network, device.servers),
            9: lambda request: place(device.network, device.record.state),
        }
        self.writes = {}
        self.v1_codes = {}


class _Sink:
    """Where the OTA client puts an image: the store. One is held at a time, besides the one that runs."""

    def __init__(self, device):
        self._device = device
        self._upload = None

    def begin(self, size, version, manufacturer, image_type):
        store = self._device.store
        sha = None
        if self._device.coming and self._device.coming[1] == size:
            sha = self._device.coming[0]
        elif store.upload and store.upload.size == size:
            sha = store.upload.sha  # it came before a restart; its hash is proved at the end
        try:
            for image in store.images():
                if image.state == STORED and image.sha != sha:
                    store.evict(image)
            self._upload = store.reserve(size, sha)
        except StoreError:
            raise Refused
        return self._upload.offset

    def write(self, octets):
        try:
            self._upload.write(octets)
        except StoreError:
            raise Refused
        if self._upload.offset % _SAMPLE < len(octets):
            self._device.heap.sample()

    def end(self):
        """The image is whole, for this device and this hardware."""
        identity = self._device.identity
        if self._upload.image:
            return True  # it was here already, whole
        try:
            info = describe(self._upload)
            low, high = info["hardware"]
            if (
                info["image_type"] != identity.image_type
                or info["manufacturer"] != identity.manufacturer
                or not low <= identity.hardware <= high
                or info["for"] not in ("", binascii.hexlify(self._device.eui).decode())
            ):
                return False
            self._upload.seal(info)
        except (NotOta, StoreError):
            return False
        self._upload = None
        return True

    def drop(self):
        if self._upload:
            try:
                self._upload.drop()
            except StoreError:
                pass
            self._upload = None
