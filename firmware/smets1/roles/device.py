# A device on the HAN that firmware is for: the PPMID. It fetches images from the Communications Hub into
# its own store, holds one until 11.3 names its hash, and then restarts with it.
import asyncio
import binascii

from micropython import const

from smets1.han import tunnel, zdo
from smets1.han.basic import BasicServer, Identity
from smets1.han.ota_client import OtaClient, Refused
from smets1.ota_file import NotOta
from smets1.roles.common import describe, file_version, network
from smets1.store import STORED, ImageStore, StoreError
from smets1.wan.heap import HeapWatch
from smets1.wan.os_group import OsGroup
from smets1.wan.server import Server

_RESTART_MS = const(20)  # after the answer to 11.3 is on its way
_SAMPLE = const(16_384)  # octets of a transfer between two looks at the heap


class HanDevice:
    def __init__(self, port, config):
        model = config["model"]
        self._port = port
        self.heap = HeapWatch()
        self.store = ImageStore(port.root + "/store", model["capacity"], model["size_behaviour"])
        running = self.store.running()
        self.version = running.info["version"] if running else model["version"]
        self.identity = Identity(
            model["manufacturer_code"],
            model["image_type"],
            running.info["file_version"] if running else file_version(self.version),
            model["hardware"],
            self.version,
            model["model"],
            model["manufacturer"],
        )
        self.network = network(port, config)
        BasicServer(self.network, self.identity)
        self.ota = OtaClient(self.network, self.identity, _Sink(self), port.ticks_ms)
        tunnel.TunnelServer(self.network, self._activate, self._after, port.root + "/activated")
        size, count = port.smp_buffers
        self._service = Server(
            port.wan,
            {0: OsGroup(port, model["type"].lower(), self.version, self.heap)},
            size,
            count,
        )

    async def run(self):
        asyncio.create_task(self.network.run())
        asyncio.create_task(self._service.run())
        asyncio.create_task(self.ota.run(self._fetched))
        await zdo.announce(self.network)
        self.heap.sample()
        self.ota.ask()  # an image may be on offer since before this restart
        while True:
            await asyncio.sleep(3600)

    def _fetched(self, status, upgrade_time):
        self.heap.sample()

    # -- 11.3

    def _activate(self, hash, counter):
        """The response code, and the file version that runs after it."""
        wanted = binascii.hexlify(hash).decode()
        running = self.store.running()
        if running and running.info["hash"] == wanted:
            return (
                tunnel.ACTIVATED,
                self.identity.file_version,
            )  # asked again after it had been done
        held = [image for image in self.store.images() if image.state == STORED]
        if not held:
            return tunnel.NO_IMAGE_HELD, self.identity.file_version
        for image in held:
            if image.info["hash"] == wanted:
                return self._start(image)
        return tunnel.HASH_MISMATCH, self.identity.file_version

    def _start(self, image):
        try:
            if self.store.digest(image) == image.sha:  # the flash still holds what was sealed
                self.store.run(image)
                return tunnel.ACTIVATED, image.info["file_version"]
        except StoreError:
            pass
        return tunnel.ACTIVATION_FAILURE, self.identity.file_version

    def _after(self, code):
        running = self.store.running()
        if code == tunnel.ACTIVATED and running and running.info["version"] != self.version:
            asyncio.create_task(self._restart())

    async def _restart(self):
        await asyncio.sleep_ms(_RESTART_MS)
        self._port.reset()


class _Sink:
    """Where the OTA client puts an image: the store. One is held at a time, besides the one that runs."""

    def __init__(self, device):
        self._device = device
        self._upload = None

    def begin(self, size, version, manufacturer, image_type):
        store = self._device.store
        try:
            for image in store.images():
                if image.state == STORED:
                    store.evict(image)
            self._upload = store.reserve(size)
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
        try:
            info = describe(self._upload)
            low, high = info["hardware"]
            if (
                info["image_type"] != identity.image_type
                or info["manufacturer"] != identity.manufacturer
                or not low <= identity.hardware <= high
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
