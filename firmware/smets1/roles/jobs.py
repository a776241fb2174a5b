# What a Communications Hub does over its HAN, one job at a time: hand an image to a device, have it activated.
# A job is begun by a WAN request, which is answered at once; progress() tells how far it is. It is on flash until it
# ends: a CH that restarts goes on with it, under the same number.
import asyncio
import binascii

from micropython import const

from smets1 import saved
from smets1.han import tunnel
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
from smets1.roles.common import is_sound
from smets1.roles.job import ACTIVATE, DISTRIBUTE, Job, of_record
from smets1.store import FLASH, STORED, StoreError
from smets1.store.flash import remove

# How long a device may ask for nothing until it is notified again. One whose download came to a stand, because
# nothing got through any more, takes it up again then. After the last of them it counts as gone.
_NOTIFY_MS = (2000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000)
_RESTART_MS = (600,) + (
    1000,
) * 30  # between two looks at a device that restarts, and has flash work to do then
_MISREADS = const(5)  # blocks that flash did not give, in one transfer
_WAITING = "waiting"  # in an image's info: the devices (EUI-64 in hex) that an 11.1 named and that have yet to run it
_SAMPLE = const(16_384)  # octets of a transfer between two looks at the heap

_REASONS = {
    ABORT: "it cannot store it (ABORT)",
    INVALID_IMAGE: "the image is damaged or not for it (INVALID_IMAGE)",
    NO_IMAGE_AVAILABLE: "it is for other hardware, or runs already (NO_IMAGE_AVAILABLE)",
    TIMEOUT: "no answer",
    MALFORMED_COMMAND: "damaged in the CH's flash: its SHA-256 is not what was stored",
}


class Jobs:
    """store: the CH's; devices: {EUI-64: Device}; own: a HubUpdate; path: keeps the job that is under way; heap: a
    HeapWatch; log(name, text): takes events."""

    def __init__(self, network, store, devices, own, path, heap, log):
        self.ota = OtaServer(network, self._progressed, self._ended, self._queried)
        self._tunnel = tunnel.TunnelClient(network)
        self._store = store
        self._devices = devices
        self._own = own
        self._path = path
        self._heap = heap
        self._log = log
        self._job = self._kept()
        self._count = self._job.number if self._job else 0

    @property
    def busy(self):
        return self._job is not None and self._job.state == "running"

    def busy_with(self, eui):
        return self.busy and self._job.eui == eui

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
            "wanted": job.wanted,
        }

    async def resume(self):
        """Go on with what the start before has begun and not ended."""
        job = self._job
        if job:
            self._log("goes on", job.op)
            await self._run(job)

    def distribute(self, device, image, jitter):
        """11.1 to a two-step device: hand it an image. The job's number."""
        hash = binascii.unhexlify(image.info["hash"])
        return self._begin(DISTRIBUTE, device, hash, image.sha, jitter=jitter)

    def activate(self, device, hash, counter):
        """11.3: have a device, or the CH itself, run the image with this hash. The job's number."""
        return self._begin(ACTIVATE, device, hash, counter=counter)

    def find(self, eui):
        """The device with this EUI-64, or the CH itself; None: there is none on this HAN."""
        return self._own.device if eui == self._own.device.eui else self._devices.get(eui)

    def stored_for(self, device):
        """The images for a device: of its type, and not for another one's EUI-64 alone."""
        mine = ("", _name(device))
        return [
            i
            for i in self._store.images()
            if i.state == STORED and i.info["type"] == device.type and i.info.get("for", "") in mine
        ]

    def stored(self, device, hash, sha):
        """The image for this device with that hash, and (if not None) that SHA-256 of its file: versions may share a
        hash. Of several the newest; None if there is none."""
        return self._newest(self.stored_for(device), hash, sha)

    def wait_for(self, device, image):
        """An 11.1 has named this device: it waits for this image, and no more for one that it was to have before."""
        name = _name(device)
        users = self._users(image)
        if name not in users:
            self._note_users(image, users + [name])
        for other in self._awaited_by(device):
            if other.id != image.id:
                self._gone(device, other)

    def left(self, device):
        """A device is no more on this HAN, and waits for nothing."""
        name = _name(device)
        stored = self.stored_for(device)
        self._release(device, [i for i in stored if name in i.info.get(_WAITING, [])])

    def announced(self, eui):
        """A device has started."""
        if self.busy_with(eui):
            self._job.restarted = True

    # -- who waits for what

    def _newest(self, images, hash, sha=None):
        found = None
        for image in images:
            if binascii.unhexlify(image.info["hash"]) == hash and sha in (None, image.sha):
                found = image
        return found

    def _awaited_by(self, device):
        """The images that this device is to have by an 11.1."""
        name = _name(device)
        return [i for i in self.stored_for(device) if name in self._users(i)]

    def _users(self, image):
        """Who waits for an image, of those that are on this HAN still."""
        names = image.info.get(_WAITING, [])
        return [each for each in names if self.find(binascii.unhexlify(each))]

    def _note_users(self, image, users):
        info = dict(image.info)
        info[_WAITING] = users
        self._store.note(image, info)

    def _gone(self, device, image):
        """The device waits no more. The image goes with the last one-step device: all others have a copy of it."""
        name = _name(device)
        users = [each for each in self._users(image) if each != name]
        if not any(self.find(binascii.unhexlify(each)).steps == 1 for each in users):
            self._store.evict(image)
        elif users != image.info[_WAITING]:
            self._note_users(image, users)

    # -- the work

    def _begin(self, op, device, hash, sha=bytes(32), counter=0, jitter=0):
        self._count += 1
        self._job = job = Job(self._count, op, device.eui, hash, sha, counter, jitter)
        try:
            saved.save(self._path, job.record())
        except OSError:
            pass  # flash: then a restart ends it
        asyncio.create_task(self._run(job))
        return job.number

    def _kept(self):
        """The job that was under way when the start before this one ended."""
        try:
            record = saved.load(self._path)
        except (OSError, ValueError):
            return None
        if not record:
            return None
        job = of_record(record)
        if self.find(job.eui) is None:  # it has left this HAN
            remove(self._path)
            return None
        return job

    async def _run(self, job):
        """Run a job to its end, whatever happens in it."""
        device = self.find(job.eui)
        try:
            if job.op == DISTRIBUTE:
                await self._distribute(job, self.stored(device, job.hash, job.sha))
            else:
                await self._activate(job, device)
        except NoAnswer:
            self._fail(job, TIMEOUT)
        except StoreError as e:
            self._fail(job, ABORT, str(e))
        except Exception as e:  # a job that never ends would keep this HAN busy for ever
            print("job failed:", type(e).__name__, e)
            self._fail(job, ABORT, "%s in the CH" % type(e).__name__)
        if job.state == "running":
            job.state = "done"
        remove(self._path)
        self._heap.sample()
        self._log(job.op + " " + job.state, job.reason)

    def _fail(self, job, status, reason=None):
        job.state = "failed"
        job.status = status
        job.reason = reason or _REASONS.get(status, "status 0x%02X" % status)

    async def _distribute(self, job, image):
        """Offer the image and serve its blocks until the device says that it is done."""
        if image is None:  # the start before has found it damaged
            self._fail(job, MALFORMED_COMMAND)
            return
        if not is_sound(self._store, image):
            self._store.evict(image)
            self._fail(job, MALFORMED_COMMAND)
            return
        info = image.info
        low, high = info["hardware"]
        job.len = image.size
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
        short = self._devices[job.eui].address
        offset, digest = await self._tunnel.announce(short, image.sha, image.size)
        if offset and (offset > image.size or self._store.digest(image, 0, offset) != digest):
            job.note = "starts again: the device's first %d octets are not this file's" % offset
            offset, _ = await self._tunnel.announce(short, image.sha, image.size, True)
        elif offset:
            job.note = "goes on at %s: the octets before have the right SHA-256" % "{:,}".format(
                offset
            )
        job.off = offset
        if job.note:
            self._log("transfer", job.note)

    def _read(self, job, image, offset, buf):
        """Flash that cannot be read may do so later (the device is told WAIT_FOR_DATA), but not for ever (ABORT)."""
        try:
            return self._store.read(image, offset, buf)
        except StoreError as e:
            job.misreads += 1
            return None if e.kind == FLASH and job.misreads < _MISREADS else 0

    async def _served(self, job, offer):
        silent = 0  # notifications that nothing came of
        await self.ota.notify(job.eui, job.jitter)
        while job.state == "running" and offer.ended is None:
            if await self._moves(job, _NOTIFY_MS[silent]):
                silent = 0
                continue
            silent += 1
            if silent == len(_NOTIFY_MS):
                self._fail(job, TIMEOUT)
            else:
                await self.ota.notify(job.eui, job.jitter)
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

    async def _activate(self, job, device):
        code = tunnel.ACTIVATED
        awaited = self._awaited_by(device)
        image = self._newest(awaited, job.hash)
        if image:
            job.wanted = image.info["version"]
        if device is self._own.device:
            await self._own.activate(job, awaited)
            if job.status == tunnel.ACTIVATED:
                self._runs_it(device, job.hash)
            return
        if device.steps == 1:
            code = await self._fetch_first(job, device, image)
            if code == tunnel.ACTIVATION_FAILURE:
                job.status = code
                return
        # without an image as well: the device knows whether it was asked before and runs it already
        job.restarted = False
        job.status, version = await self._tunnel.activate(device.address, job.hash, job.counter)
        if job.status != tunnel.ACTIVATED and code != tunnel.ACTIVATED:
            job.status = code
        if job.status == tunnel.ACTIVATED and not await self._runs(job, device, version):
            job.status = tunnel.ACTIVATION_FAILURE
            job.reason = "it came back with the firmware that it had before"
        if job.status == tunnel.ACTIVATED:
            self._runs_it(device, job.hash)

    def _runs_it(self, device, hash):
        """The image has done its work."""
        stored = self.stored_for(device)
        self._release(device, [i for i in stored if binascii.unhexlify(i.info["hash"]) == hash])

    def _release(self, device, images):
        """That it cannot be noted is no failure of what the device does."""
        try:
            for image in images:
                self._gone(device, image)
        except StoreError as e:
            self._log("image stays", str(e))

    async def _runs(self, job, device, version):
        """Wait for the device to restart and confirm: whether it runs the file version that it answered.

        One that still runs another version may not have restarted yet, so it is believed only once it has
        announced itself, or has been given the time to."""
        for wait_ms in _RESTART_MS:
            await asyncio.sleep_ms(wait_ms)
            try:
                is_ = await self.ota.read(
                    device.address, (CURRENT_FILE_VERSION, IMAGE_UPGRADE_STATUS), 500, 1
                )
            except NoAnswer:
                continue
            if is_.get(CURRENT_FILE_VERSION) == version:
                if is_.get(IMAGE_UPGRADE_STATUS) != COUNT_DOWN:  # its trial is over
                    return True
            elif job.restarted:
                return False
        return False

    async def _fetch_first(self, job, device, image):
        """One-step devices: the transfer is part of 11.3 (rule 96). The code that 11.3 answers so far.

        Only an image that an 11.1 brought for this device counts: what another one waits for is not its."""
        if image is None:
            return tunnel.HASH_MISMATCH if self._awaited_by(device) else tunnel.NO_IMAGE_HELD
        is_ = await self.ota.read(device.address, (CURRENT_FILE_VERSION,))
        if is_.get(CURRENT_FILE_VERSION) == image.info["file_version"]:
            return (
                tunnel.ACTIVATED
            )  # asked again: it runs that already, and will say so by the hash
        await self._distribute(job, image)
        if job.state == "failed":
            job.state = "running"  # 11.3 has an answer for this
            return tunnel.ACTIVATION_FAILURE
        return tunnel.ACTIVATED

    # -- what the device does

    def _queried(self, eui, status):
        self._devices[eui].seen = True
        job = self._job
        if self.busy_with(eui):
            if status != SUCCESS and eui in self.ota.offers:
                self._fail(job, status)
            job.moved.set()

    def _progressed(self, eui, offset):
        job = self._job
        if self.busy_with(eui):
            if job.off // _SAMPLE != offset // _SAMPLE:
                self._heap.sample()
            job.off = offset
            job.moved.set()

    def _ended(self, eui, status):
        if self.busy_with(eui):
            self._job.moved.set()


def _name(device):
    return binascii.hexlify(device.eui).decode()
