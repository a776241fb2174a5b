# What the store must know about littlefs: how many octets go into a block, and file work that
# survives a power cut at any point.
import errno
import hashlib
import os

from micropython import const

# Blocks that image data may never take: littlefs needs room to copy a directory (2 blocks for each
# split), the store for a new journal beside two old ones, the rest of the board for its settings.
_SLACK = const(8)
_BUFFER = const(1024)


def octets_in(blocks, block):
    """How many octets of a file exactly `blocks` littlefs blocks hold.

    A littlefs file is a skip list: its block i > 0 begins with one pointer of 4 octets, and one
    more for each time that 2 divides i.
    """
    if blocks < 1:
        return 0
    last = blocks - 1
    return blocks * block - 4 * (2 * last - bin(last).count("1"))


def blocks_for(octets, block):
    """How many littlefs blocks a file of this many octets takes."""
    blocks = octets // (block - 8) + 1  # 8: two pointers, the mean; so at most one too many
    while blocks and octets_in(blocks - 1, block) >= octets:
        blocks -= 1
    return blocks


def block_size(folder):
    return os.statvfs(folder)[0]


def free_blocks(folder):
    """Blocks that image files may still take; negative when the slack is already eaten into.

    Only true while no file is open for writing: littlefs counts the blocks of such a file twice,
    once as recorded and once as open.
    """
    status = os.statvfs(folder)
    free = status[3]
    if free > status[2]:
        free = 0  # more was counted than there is: the difference wrapped (a 32-bit VM: negative)
    return free - _SLACK


def size_of(path):
    """The file's octets, None if there is no such file. OSError: flash does not say."""
    try:
        return os.stat(path)[6]
    except OSError as e:
        if e.errno == errno.ENOENT:
            return None
        raise


def remove(path):
    """Remove a file that the journal no longer knows. A failure costs room until the next start."""
    try:
        os.remove(path)
    except OSError:
        pass


def sha256_of(path, start=0, end=None):
    """SHA-256 of octets start..end of a file (end None: all), through 1 KiB of RAM."""
    digest = hashlib.sha256()
    buf = memoryview(bytearray(_BUFFER))
    with open(path, "rb") as f:
        f.seek(start)
        left = size_of(path) - start if end is None else end - start
        while left > 0:
            n = f.readinto(buf if left >= _BUFFER else buf[:left])
            if not n:
                break
            digest.update(buf[:n])
            left -= n
    return digest.digest()
