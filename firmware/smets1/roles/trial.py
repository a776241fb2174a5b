# Which firmware a board runs: what it came with, or an image of its store. New firmware is on trial: it confirms once
# it has worked for a while, and if the board starts a second time before that, the one before it runs again.
import asyncio
import binascii

from micropython import const

from smets1.han.tunnel import ACTIVATED, ACTIVATION_FAILURE, HASH_MISMATCH, NO_IMAGE_HELD
from smets1.roles.common import file_version, is_sound
from smets1.store import StoreError

_CONFIRM_MS = const(1000)  # a start that comes so far has worked
_WATCHDOG_MS = const(5000)


class Trial:
    """store: has just been opened; factory: the version that the board came with; log(name, text): takes events; keep:
    an image that is given up stays in the store, because nobody else has it.

    version, file_version: of what runs in this start.
    """

    def __init__(self, store, factory, log, keep=False):
        self._store = store
        self._given_up = store.boot(keep)
        if self._given_up:
            log(
                "trial failed",
                "%s never confirmed: back to the one before" % self._given_up.info["version"],
            )
        running = store.running()
        self._boots = running is None or running.info["boots"]
        self.version = running.info["version"] if running else factory
        self.file_version = running.info["file_version"] if running else file_version(factory)
        self.restarts = False  # the answer to 11.3 that is being made brings a restart

    @property
    def on(self):
        return bool(self._store.trial)

    def runs(self, hash):
        """Whether the running image is the one with this Manufacturer Image hash."""
        return _has(self._store.running(), hash)

    def gave_up(self, hash):
        """Whether the trial of the image with this hash has ended with this start."""
        return _has(self._given_up, hash)

    async def boot(self, reset):
        """Firmware that does not boot hangs here until the watchdog bites."""
        if not self._boots:
            await asyncio.sleep_ms(_WATCHDOG_MS)
            reset()

    async def confirm(self):
        """The rest of the board works beside this. If flash never takes it, the next start goes back to the firmware
        before."""
        await asyncio.sleep_ms(_CONFIRM_MS)
        while self.on:
            try:
                self._store.confirm()
            except StoreError:
                await asyncio.sleep_ms(_CONFIRM_MS)

    def activate(self, hash, held):
        """11.3: have the image with this hash run from the next start on, if it is one of `held`. The response code,
        and the file version that runs after it."""
        if self.runs(hash):
            return ACTIVATED, self.file_version  # asked again after it had been done
        if not held:
            return NO_IMAGE_HELD, self.file_version
        for image in held:
            if _has(image, hash):
                return self._start(image)
        return HASH_MISMATCH, self.file_version

    def _start(self, image):
        try:
            if is_sound(self._store, image):
                self._store.run(image)
                self.restarts = True
                return ACTIVATED, image.info["file_version"]
            self._store.evict(image)
        except StoreError:
            pass
        return ACTIVATION_FAILURE, self.file_version

    async def restart(self, counters, reset, ms):
        """counters: the HAN's; ms: until the answer is on its way."""
        await asyncio.sleep_ms(ms)
        try:
            counters.save()  # what was received so far cannot be played again
        except OSError:
            pass  # flash: then this restart is as one after a power cut
        reset()


def _has(image, hash):
    return image is not None and image.info["hash"] == binascii.hexlify(hash).decode()
