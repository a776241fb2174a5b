# The buffer-limited image store: firmware images in flash, under the byte budget of a Device Model
# (rules 3 to 5; without one, rule 9, only the flash limits). The budget is the store's, whatever
# device an image is for, so an image that is too large is so for the whole HAN (rules 4 and 34).
#
# Files in its folder: `journal` (see journal.py; its copy is in a folder beside it) and one `<id>.img` an
# image or upload. The journal decides what exists: it is written before a file goes and after a file is complete, so
# whatever the power does, a file it does not know is rubbish and is removed at the next start.
import binascii
import json
import os

from .errors import (
    BAD_OFFSET,
    FLASH,
    IN_USE,
    MISMATCH,
    NO_IMAGE,
    OVERFLOW,
    SILENT,
    TOO_LARGE,
    StoreError,
)
from .flash import block_size, blocks_for, free_blocks, octets_in, remove, sha256_of, size_of
from .journal import Journal
from .upload import Upload

__all__ = (
    "BAD_OFFSET",
    "BEHAVIOURS",
    "FLASH",
    "IN_USE",
    "MISMATCH",
    "NO_IMAGE",
    "OVERFLOW",
    "PREVIOUS",
    "RUNNING",
    "SILENT",
    "STORED",
    "TOO_LARGE",
    "Image",
    "ImageStore",
    "StoreError",
    "Upload",
)

# What a Device Model does with an image larger than its room (rule 6).
BEHAVIOURS = (
    "refuse",  # before the first octet
    "overflow",  # fails in mid-transfer
    "truncate",  # takes everything, the hash finds out
    "silent",  # stops answering in mid-transfer
)
STORED = "stored"
RUNNING = "running"
PREVIOUS = "previous"  # ran before the running one, which is still on trial

# An image on trial: it is to start for the first time; it has started, and has not confirmed yet.
_UNTRIED = 1
_STARTED = 2


class Image:
    """A sealed image. size: octets; sha: its SHA-256; state: STORED, RUNNING or PREVIOUS;
    info: dict."""

    def __init__(self, id, size, sha, state, info):
        self.id = id
        self.size = size
        self.sha = sha
        self.state = state
        self.info = info


class ImageStore:
    """folder: path on a mounted littlefs; capacity: octets, None for no published limit."""

    def __init__(self, folder, capacity=None, size_behaviour="refuse"):
        if size_behaviour not in BEHAVIOURS:
            raise ValueError("size behaviour: " + " | ".join(BEHAVIOURS))
        self.folder = folder
        self.capacity = capacity
        self.behaviour = size_behaviour
        self.upload = None  # the one unfinished Upload
        self.room = capacity  # octets that an upload may fill; None: no budget
        self.block = 4096  # octets; littlefs tells the true figure
        self._blocks = 0  # see _free_blocks
        self._usable = False  # what is in flash could be read; else nothing there may be touched
        self.trial = 0  # of the running image; 0: it has confirmed
        self.recovered = ""  # what was put right at the start, in words; empty: all was well
        self._images = []
        self._next = 1
        self._reader = None  # the one file that read() keeps open
        self._reading = None  # ... and its image's id
        self._journal = Journal(folder)
        self._recover()

    # -- what is there ----------------------------------------------------------------

    def images(self):
        return list(self._images)

    def find(self, sha=None, id=None):
        """The image with this sha, or this id; None if there is none."""
        for image in self._images:
            if image.id == id or (sha is not None and image.sha == sha):
                return image
        return None

    def running(self):
        return self._in_state(RUNNING)

    def report(self):
        """Octets. A running image is program memory, not store."""
        used = self._used(self._images)
        upload = self.upload
        reserved = upload.size if upload else 0
        if self.capacity is None:
            blocks = self._free_blocks() - blocks_for(reserved, self.block)
            free = octets_in(blocks, self.block)
        else:
            free = self.capacity - used - reserved
        return {
            "capacity": self.capacity,
            "used": used,
            "reserved": reserved,
            "free": max(0, free),
            "behaviour": self.behaviour,
        }

    def largest(self):
        """Octets of the largest image that fits: an upload of one takes the place of an unfinished one."""
        free = octets_in(self._free_blocks(), self.block)
        return free if self.room is None else min(self.room, free)

    # -- in ---------------------------------------------------------------------------

    def reserve(self, size, sha=None):
        """Room for `size` octets before its first octet. -> Upload: go on at its offset.

        The unfinished upload of the same size and sha is resumed (without a sha nothing tells that
        it is the same file), any other is dropped. An image that is already here comes back as a
        complete Upload. A refusal (TOO_LARGE) changes nothing.
        """
        if size < 1:
            raise StoreError(NO_IMAGE)
        if sha is not None:
            sha = bytes(sha)
            if len(sha) != 32:
                raise StoreError(MISMATCH)
            image = self.find(sha)
            if image and image.size == size:
                return Upload(self, image.id, size, sha, size, image)
        room = self.room
        if self.behaviour == "refuse" and room is not None and size > room:
            raise StoreError(TOO_LARGE, size, room)
        old = self.upload
        if old and sha and old.sha == sha and old.size == size:
            return old
        self._check_flash(size if room is None else min(size, room))
        upload = Upload(self, self._next, size, sha)
        self._commit(self._images, upload)
        self._next += 1
        if old:
            self._discard(old)
        return upload

    # -- out --------------------------------------------------------------------------

    def read(self, image, offset, buf):
        """Fill buf from the image's octets at offset; how many there were (0 at the end)."""
        left = image.size - offset
        if offset < 0 or left < 0:
            raise StoreError(BAD_OFFSET, offset, image.size)
        try:
            if self._reading != image.id:
                self._own(image)
                self._close_reader()
                self._reader = open(self.path(image.id), "rb")
                self._reading = image.id
            if self._reader.tell() != offset:
                self._reader.seek(offset)
            return self._reader.readinto(buf if left >= len(buf) else memoryview(buf)[:left])
        except OSError:
            self._close_reader()
            raise StoreError(FLASH)

    def digest(self, image, start=0, end=None):
        """SHA-256 of octets start..end of the image, read from flash."""
        self._own(image)
        if end is None:
            end = image.size
        if not 0 <= start <= end <= image.size:
            raise StoreError(BAD_OFFSET, end, image.size)
        try:
            return sha256_of(self.path(image.id), start, end)
        except OSError:
            raise StoreError(FLASH)

    # -- changes ----------------------------------------------------------------------

    def evict(self, image):
        """Give a stored image's room back. IN_USE for the running one and the one before it."""
        image = self._own(image)
        if image.state != STORED:
            raise StoreError(IN_USE)
        self._commit([i for i in self._images if i is not image], self.upload)
        self._remove(image)

    def run(self, image):
        """Activation, in one step: the image becomes the running one, on trial; the one before it is kept."""
        image = self._own(image)
        if image.state == RUNNING:
            return
        self._change(
            {image: RUNNING, self.running(): PREVIOUS, self._in_state(PREVIOUS): None}, _UNTRIED
        )

    def boot(self, keep=False):
        """Called once when the board starts. A new image that has started before and never confirmed is
        given up: the one before it runs again. The image given up, or None; keep: it stays, as a stored one."""
        if self.trial == _UNTRIED:
            self._change({}, _STARTED)
        elif self.trial:
            failed = self.running()
            self._change({failed: STORED if keep else None, self._in_state(PREVIOUS): RUNNING}, 0)
            return failed
        return None

    def confirm(self):
        """The running image works: its trial is over, and the one before it goes."""
        if self.trial:
            self._change({self._in_state(PREVIOUS): None}, 0)

    def note(self, image, info):
        """Keep other info with an image, in one journal step."""
        own = self._own(image)
        before, own.info = own.info, info
        try:
            self._commit(self._images, self.upload)
        except StoreError:
            own.info = before
            raise

    # -- for Upload -------------------------------------------------------------------

    def path(self, id):
        return "{}/{}.img".format(self.folder, id)

    def keep(self, upload, sha, info):
        """Seal: the upload's file becomes an image."""
        info = json.loads(json.dumps(info))  # as it will be after a reboot
        same = self.find(sha)  # sent without a sha, but already here: one copy is enough
        if same:
            before, same.info = same.info, dict(same.info)
            same.info.update(info)  # what note() has put there stays
            try:
                self._commit(self._images, None)
            except StoreError:
                same.info = before
                raise
            remove(self.path(upload.id))
            return same
        image = Image(upload.id, upload.size, sha, STORED, info)
        self._commit(self._images + [image], None)
        return image

    def forget(self, upload):
        if self.upload is upload:
            self._commit(self._images, None)
            self._discard(upload)

    # -- inside -----------------------------------------------------------------------

    def _in_state(self, state):
        for image in self._images:
            if image.state == state:
                return image
        return None

    def _change(self, states, trial):
        """Give images new states (None: it goes), all in one journal step."""
        before = [(image, image.state) for image in self._images]
        was, self.trial = self.trial, trial
        for image in states:
            if image:
                image.state = states[image]
        try:
            self._commit([i for i in self._images if i.state], self.upload)
        except StoreError:
            self.trial = was
            for image, state in before:
                image.state = state
            raise
        for image, _ in before:
            if not image.state:
                self._remove(image)

    def _own(self, image):
        own = self.find(id=image.id)
        if not own:
            raise StoreError(NO_IMAGE)
        return own

    def _used(self, images):
        return sum(i.size for i in images if i.state == STORED)

    def _check_flash(self, octets):
        """The budget is one limit, the flash another: TOO_LARGE under every size behaviour."""
        free = octets_in(self._free_blocks(), self.block)
        if octets > free:
            raise StoreError(TOO_LARGE, octets, free)

    def _free_blocks(self):
        """Flash blocks for images, those of the unfinished upload among them."""
        upload = self.upload
        if not (upload and upload.is_open()):  # else flash cannot tell, but the last figure holds
            try:
                self._blocks = free_blocks(self.folder)
            except OSError:
                raise StoreError(FLASH)
            if upload:
                self._blocks += blocks_for(upload.kept, self.block)
        return self._blocks

    def _commit(self, images, upload):
        """The next state: in flash first, then here. FLASH: the state before still holds."""
        if not self._usable:
            raise StoreError(FLASH)
        try:
            self._journal.write(self._encode(images, upload))
        except OSError:
            raise StoreError(FLASH)
        self._images = images
        self.upload = upload
        self._count_room()

    def _count_room(self):
        if self.capacity is not None:
            self.room = max(0, self.capacity - self._used(self._images))

    def _discard(self, upload):
        """The file of an upload that the journal has forgotten."""
        try:
            upload.close()
        except OSError:
            pass
        remove(self.path(upload.id))

    def _remove(self, image):
        """The file of an image that the journal has forgotten."""
        if self._reading == image.id:
            self._close_reader()
        remove(self.path(image.id))
        self._blocks += blocks_for(image.size, self.block)

    def _close_reader(self):
        f, self._reader, self._reading = self._reader, None, None
        if f:
            try:
                f.close()
            except OSError:
                pass  # nothing was written to it

    # -- the journal's content --------------------------------------------------------

    def _encode(self, images, upload):
        next_id = self._next
        rows = [[i.id, i.size, _hex(i.sha), i.state, i.info] for i in images]
        row = None
        if upload:
            row = [upload.id, upload.size, upload.sha and _hex(upload.sha)]
            next_id = max(next_id, upload.id + 1)
        return {"next": next_id, "images": rows, "upload": row, "trial": self.trial}

    def _parse(self, state):
        images = []
        for id, size, sha, kept_state, info in state["images"]:
            if kept_state not in (STORED, RUNNING, PREVIOUS):
                raise ValueError
            images.append(Image(int(id), int(size), _sha(sha), kept_state, dict(info)))
        row = state["upload"]
        if row:
            id, size, sha = row
            row = int(id), int(size), sha and _sha(sha)
        return int(state["next"]), images, row, int(state.get("trial", 0))

    # -- start ------------------------------------------------------------------------

    def _recover(self):
        """Journal and files must tell the same story; what cannot be proved goes. Never raises."""
        try:
            self._open()
        except (OSError, StoreError):
            self._note("flash error")

    def _open(self):
        try:
            os.mkdir(self.folder)
        except OSError:
            pass  # it is there; if not, the next line says so
        self.block = block_size(self.folder)
        state = self._journal.load(self._parse)
        self._note(self._journal.problem)
        self._next, known, row, self.trial = state or (1, [], None, 0)
        if self._journal.fallback and self.trial:
            self.trial = _UNTRIED  # it may have confirmed in the step that is not known any more
        changed = self._journal.fallback or (state is None and self._journal.problem)

        images = []
        for image in known:
            if self._proved(image):
                images.append(image)
            else:
                changed = True
                self._note("image {} lost".format(image.id))
        upload = None
        if row:
            id, size, sha = row
            kept = size_of(self.path(id))
            if kept is not None and kept <= size:
                upload = Upload(self, id, size, sha, kept)
            else:
                changed = True  # power went before its first checkpoint
        self._images = images
        self.upload = upload
        if self.trial and not self.running():  # the new image is lost: the one before it runs again
            changed = True
            self.trial = 0
            before = self._in_state(PREVIOUS)
            if before:
                before.state = RUNNING
        self._count_room()
        self._usable = True
        self._sweep([i.id for i in images] + ([upload.id] if upload else []))
        if changed:
            self._commit(images, upload)
        self._free_blocks()

    def _proved(self, image):
        """The file is there and complete; under an older journal its hash counts too."""
        path = self.path(image.id)
        if size_of(path) != image.size:
            return False
        try:
            return not self._journal.fallback or sha256_of(path) == image.sha
        except OSError:
            return False

    def _sweep(self, known):
        """Remove image files that the journal does not know, and never give their ids again."""
        unknown = []
        for entry in os.ilistdir(self.folder):
            name = entry[0]
            if name.endswith(".img") and name[:-4].isdigit() and int(name[:-4]) not in known:
                unknown.append(int(name[:-4]))
        for id in unknown:
            remove(self.path(id))
            self._next = max(self._next, id + 1)
        if unknown:
            self._note("{} unknown file(s) removed".format(len(unknown)))

    def _note(self, text):
        if text:
            self.recovered += ("; " if self.recovered else "") + text


def _hex(octets):
    return binascii.hexlify(octets).decode()


def _sha(text):
    sha = binascii.unhexlify(text)
    if len(sha) != 32:
        raise ValueError
    return sha
