# One image on its way into the store: octets go straight to flash, never to RAM.
from micropython import const

from .errors import BAD_OFFSET, FLASH, MISMATCH, NO_IMAGE, OVERFLOW, SILENT, StoreError
from .flash import blocks_for, octets_in, sha256_of, size_of

_CHECKPOINT = const(16384)  # octets that a power cut may cost


class Upload:
    """Made by ImageStore.reserve. size: octets announced; sha: SHA-256 announced or None;
    offset: where to go on; image: the Image once it is sealed."""

    def __init__(self, store, id, size, sha, offset=0, image=None):
        self.id = id
        self.size = size
        self.sha = sha
        self.offset = offset
        self.image = image
        self._store = store
        self._file = None
        self._at(offset)

    def write(self, buf):
        """Append. OVERFLOW or SILENT when the budget is full (the partial is then gone), BAD_OFFSET
        for octets past the announced size, FLASH when flash fails: offset is then back at what is
        safe."""
        self._check_live()
        end = self.offset + len(buf)
        if end > self.size:
            raise StoreError(BAD_OFFSET, end, self.size)
        room = self._store.room
        if room is not None and self.kept + len(buf) > room:
            if self._store.behaviour != "truncate":
                self.drop()
                kind = SILENT if self._store.behaviour == "silent" else OVERFLOW
                raise StoreError(kind, self.size, room)
            buf = memoryview(buf)[: max(0, room - self.kept)]
        if len(buf):
            self._append(buf)
        self.offset = end

    def seal(self, info=None):
        """Prove what lies in flash and make it an Image; info: a small JSON-able dict kept with it.

        MISMATCH drops the partial; BAD_OFFSET (octets are still missing) and FLASH keep it.
        """
        if self.image:
            return self.image
        self._check_live()
        if self.offset != self.size:
            raise StoreError(BAD_OFFSET, self.size, self.offset)
        path = self._store.path(self.id)
        try:
            self.close()
            # Read back from flash: this also proves the octets from before a power cut.
            sha = sha256_of(path) if size_of(path) == self.size else None
        except OSError:
            self._fall_back()
            raise StoreError(FLASH)
        if sha is None or (self.sha and self.sha != sha):
            self.drop()
            if sha is None:  # truncated: say by how much
                raise StoreError(MISMATCH, self.size, self.kept)
            raise StoreError(MISMATCH)
        self.image = self._store.keep(self, sha, info or {})
        return self.image

    def read(self, offset, buf):
        """Fill buf from what has been written so far, read back from flash; how many octets there were.
        For a look at the image before seal()."""
        self._check_live()
        try:
            self.close()
            with open(self._store.path(self.id), "rb") as f:
                f.seek(offset)
                return f.readinto(buf)
        except OSError:
            raise StoreError(FLASH)

    def digest(self, start, end):
        """SHA-256 of octets start..end of what has been written so far, read back from flash."""
        self._check_live()
        try:
            self.close()
            return sha256_of(self._store.path(self.id), start, end)
        except OSError:
            raise StoreError(FLASH)

    def drop(self):
        """Give the upload up: nothing of it stays. One that is sealed or gone is left as it is."""
        self._store.forget(self)

    def is_open(self):
        return self._file is not None

    def close(self):
        """Close the file, if it is open. The upload goes on with the next write."""
        f, self._file = self._file, None
        if f:
            f.close()
            self._safe = self.kept

    def _at(self, kept):
        self.kept = kept  # octets in the file; behind offset once "truncate" swallows
        self._safe = kept  # ... of them recorded by littlefs
        block = self._store.block
        # Checkpoints lie on whole blocks: littlefs would copy a begun block into a fresh one after
        # each, an erase for nothing.
        self._mark = octets_in(blocks_for(kept + 1, block) - 1 + _step(block), block)

    def _append(self, buf):
        try:
            if not self._file:
                self._file = open(self._store.path(self.id), "ab")
            start, n = 0, len(buf)
            while self.kept + n - start >= self._mark:
                cut = start + self._mark - self.kept
                self._file.write(memoryview(buf)[start:cut])
                self._file.flush()  # before this the octets do not outlive a power cut
                self._at(self._mark)
                start = cut
            if start < n:
                self._file.write(memoryview(buf)[start:] if start else buf)
                self.kept += n - start
        except OSError:
            self._fall_back()
            raise StoreError(FLASH)

    def _fall_back(self):
        """After a flash error only what littlefs has recorded counts."""
        safe = self._safe  # close() may not fail, though nothing more is recorded
        try:
            self.close()
        except OSError:
            pass
        try:
            self.offset = size_of(self._store.path(self.id)) or 0
        except OSError:
            self.offset = safe
        self._at(self.offset)

    def _check_live(self):
        if self._store.upload is not self and not self.image:
            raise StoreError(NO_IMAGE)


def _step(block):
    return max(1, _CHECKPOINT // block)
