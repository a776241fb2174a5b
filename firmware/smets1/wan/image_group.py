# Group 1: firmware images into the store, and what it holds. A slot is a store entry's id.
from micropython import const

from smets1.store import RUNNING
from smets1.store import errors as store_errors

from .cbor import size
from .smp import EBADSTATE, EINVAL, ENOENT, ENOMEM, HEADER, REPLY_MAX, Silent, SmpError

GROUP = const(1)

# The group's own error codes (img_mgmt of Zephyr)
UNKNOWN = const(1)
NO_IMAGE = const(3)  # no image in this slot
INVALID_TLV = const(5)  # the image's metadata are missing, or another CH manufacturer's
NO_FREE_SLOT = const(9)  # the slot is in use: it holds the running image
FLASH_WRITE_FAILED = const(12)
INVALID_SLOT = const(14)
INVALID_OFFSET = const(20)
INVALID_LENGTH = const(21)
INVALID_IMAGE_HEADER = const(22)
INVALID_HASH = const(24)  # the octets' SHA-256 is not the announced one
IMAGE_TOO_LARGE = const(30)  # known before the first octet
DATA_OVERRUN = const(31)  # the store was full in mid-transfer, or more octets came than announced

# Why the store said no -> what the client is told; Silent: nothing (rule 6)
_CODES = {
    store_errors.TOO_LARGE: IMAGE_TOO_LARGE,
    store_errors.OVERFLOW: DATA_OVERRUN,
    store_errors.SILENT: Silent,
    store_errors.MISMATCH: INVALID_HASH,
    store_errors.NO_IMAGE: NO_IMAGE,
    store_errors.BAD_OFFSET: INVALID_OFFSET,
    store_errors.FLASH: FLASH_WRITE_FAILED,
    store_errors.IN_USE: NO_FREE_SLOT,
}

_V1_CODES = {
    NO_IMAGE: ENOENT,
    NO_FREE_SLOT: EBADSTATE,
    INVALID_TLV: EINVAL,
    INVALID_SLOT: EINVAL,
    INVALID_OFFSET: EINVAL,
    INVALID_LENGTH: EINVAL,
    INVALID_IMAGE_HEADER: EINVAL,
    INVALID_HASH: EINVAL,
    IMAGE_TOO_LARGE: ENOMEM,
    DATA_OVERRUN: ENOMEM,
}

_SHA = const(32)  # octets


class ImageGroup:
    """store: an ImageStore. hub, the role's say in it:

    head_octets           of an upload's beginning, that check_head looks at
    may_upload()          raises SmpError while the store must stay as it is (a HAN transfer reads it)
    check_head(octets, size)  the upload's first head_octets (fewer if it is shorter) and its announced size:
                          raises SmpError for what is no image, before any room is reserved
    accept(upload)        all octets are there: returns the dict to keep with the image (or an awaitable
                          of it), or raises SmpError and the upload is dropped
    """

    def __init__(self, store, hub):
        self._store = store
        self._hub = hub
        self._upload = None  # the Upload that chunks go to
        self._head = None  # instead, while its head is not whole: what has come of it
        self._announced = (0, None)  # size and SHA-256 of the upload
        self._mute = False  # the store fell silent: so does the rest of the upload
        self._last = (None, None)  # the image sealed last, and what its client was told
        self.reads = {0: self._state, 6: self._slot_info}
        self.writes = {1: self._chunk, 5: self._erase}
        self.v1_codes = _V1_CODES

    def _state(self, request):
        reply = {"images": [_describe(image) for image in self._store.images()]}
        while size(reply) > REPLY_MAX - HEADER:
            reply["images"].pop()
        return reply

    def _slot_info(self, request):
        """The images' slots, and one more (0, which no image has) where an upload would go."""
        store = self._store
        room = store.largest()
        slots = [{"slot": 0, "size": room, "upload_image_id": 0}]
        slots += [{"slot": image.id, "size": image.size} for image in store.images()]
        reply = {"images": [{"image": 0, "slots": slots, "max_image_size": room}]}
        while size(reply) > REPLY_MAX - HEADER:
            slots.pop()
        return reply

    def _erase(self, request):
        slot = request.get("slot", 1)
        if not isinstance(slot, int) or slot < 0:
            raise SmpError(INVALID_SLOT, GROUP)
        self._hub.may_upload()
        image = self._store.find(id=slot)
        upload = self._store.upload
        try:
            if image:
                self._store.evict(image)
            elif upload and upload.id == slot:
                self._upload = None
                upload.drop()
            else:
                raise SmpError(NO_IMAGE, GROUP)
        except store_errors.StoreError as e:
            raise _refusal(e)

    def _chunk(self, request):
        """One chunk. Several may be under way: one that is not the next is not written, its answer
        says where to go on."""
        off = request.get("off")
        data = request.get("data", b"")
        if not isinstance(off, int) or off < 0:
            raise SmpError(INVALID_OFFSET, GROUP)
        if not isinstance(data, (bytes, memoryview)):
            raise SmpError(EINVAL)
        try:
            if off == 0:
                self._begin(request, data)
            elif self._mute:
                raise Silent
            elif self._head is not None:
                off, data = self._collect(off, data)
            if self._head is not None:
                return {"off": len(self._head)}
            upload = self._upload
            if upload is None:
                return self._nothing_open(off + len(data))
            if off == upload.offset and len(data) and upload.image is None:
                if off + len(data) > upload.size:
                    raise SmpError(DATA_OVERRUN, GROUP)
                self._write(upload, data)
            if upload.offset == upload.size:
                return self._finish(upload)
            return {"off": upload.offset}
        except store_errors.StoreError as e:
            raise _refusal(e)

    def _begin(self, request, data):
        """Start an upload, or take up the one of this size and SHA-256 where it stopped."""
        length = request.get("len")
        sha = request.get("sha")
        if not isinstance(length, int) or length < 1:
            raise SmpError(INVALID_LENGTH, GROUP)
        if sha is not None and (not isinstance(sha, (bytes, memoryview)) or len(sha) != _SHA):
            raise SmpError(INVALID_HASH, GROUP)
        self._hub.may_upload()
        self._upload = None
        self._mute = False
        self._announced = length, bytes(sha) if sha is not None else None
        if len(data) < min(length, self._hub.head_octets):
            self._head = bytes(data)  # a client with small messages
        else:
            self._open(data)

    def _collect(self, off, data):
        """Take what is still missing of the head; (offset, octets) of the rest of the chunk."""
        need = min(self._announced[0], self._hub.head_octets) - len(self._head)
        if off != len(self._head):
            return off, data
        self._head += bytes(data[:need])
        if len(data) < need:
            return off, data
        head = self._head
        self._open(head)
        if self._upload.offset == 0:
            self._write(self._upload, head)
        return len(head), data[need:]

    def _open(self, head):
        length, sha = self._announced
        self._head = None
        self._hub.check_head(head, length)
        self._upload = self._store.reserve(length, sha)

    def _write(self, upload, data):
        try:
            upload.write(data)
        except store_errors.StoreError as e:
            if e.kind != store_errors.FLASH:  # that one keeps the upload
                self._upload = None
            self._mute = e.kind == store_errors.SILENT
            raise

    async def _finish(self, upload):
        """All octets are there. The upload is over, one way or the other."""
        self._upload = None
        try:
            if upload.image is None:
                try:
                    info = self._hub.accept(upload)
                    if hasattr(info, "send"):
                        info = await info
                except SmpError:
                    upload.drop()
                    raise
                upload.seal(info)
        except store_errors.StoreError as e:
            raise _refusal(e)
        reply = {"off": upload.size}
        if upload.sha:
            reply["match"] = True
        self._last = (upload.image, reply)
        return reply

    def _nothing_open(self, end):
        """A chunk without an upload: perhaps the answer to the last one was lost."""
        image, reply = self._last
        if image and end == image.size and self._store.find(id=image.id):
            return reply
        return {"off": 0}


def _describe(image):
    """An image of the store as SMP's image state; flags that are false are left out."""
    state = {
        "slot": image.id,
        "image": 0,
        "version": image.info.get("version", ""),
        "hash": image.sha,
    }
    if image.state == RUNNING:
        state["bootable"] = state["confirmed"] = state["active"] = True
    return state


def _refusal(error):
    code = _CODES.get(error.kind, UNKNOWN)
    return Silent() if code is Silent else SmpError(code, GROUP)
