"""A computer whose power can fail: what SQLite has written and not synced is gone.

A VFS between SQLite and its own one, in this process: each `xSync` of a file is noted with what the file
holds at that moment, and `lose_power` makes the files that are left after a cut.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_void_p
from pathlib import Path
from typing import Any, Final

_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
_METHODS: Final = 19
"""Pointers in sqlite3_io_methods, its version (an int, padded) counted as one."""
_SYNC: Final = 5
"""xSync's place among them: after the version, xClose, xRead, xWrite and xTruncate."""


class _Vfs(ctypes.Structure):
    """sqlite3_vfs as far as xOpen, and the rest as it is."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_name", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("rest", c_void_p * 16),
    )


class _File(ctypes.Structure):
    _fields_ = (("methods", c_void_p),)


def sqlite() -> Any:
    """The very library that Python's sqlite3 uses; None: it cannot be reached here."""
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    return library if hasattr(library, "sqlite3_vfs_find") else None


class Disk:
    """What is on the disk for certain, by the files' names."""

    def __init__(self) -> None:
        self.synced: dict[str, bytes] = {}
        self.syncs = 0
        """How often SQLite has waited for the disk."""
        self._left: set[Path] = set()

    def lose_power(self, folder: Path) -> None:
        """Make in `folder` what is left of the files: what nobody synced never came to the disk.

        A file that was deleted is taken as gone.
        """
        folder.mkdir()
        self._left.add(folder)
        for name, octets in self.synced.items():
            if Path(name).exists() and Path(name).parent not in self._left:
                (folder / Path(name).name).write_bytes(octets)


@contextmanager
def power() -> Iterator[Disk]:
    """Everything that SQLite opens within is on a disk that forgets what is not synced."""
    library = sqlite()
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    library.sqlite3_vfs_register.argtypes = (c_void_p, c_int)
    library.sqlite3_vfs_unregister.argtypes = (c_void_p,)
    below = library.sqlite3_vfs_find(None)
    disk = Disk()
    names: dict[int, str] = {}
    kept: list[object] = []  # what C still points to
    true_sync: dict[int, Callable[[int, int], int]] = {}

    # `name` stays a pointer: SQLite's own VFS keeps it as long as the file is open
    def open_(vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        code: int = _Open(below.contents.open)(
            ctypes.cast(below, c_void_p).value or 0, name, file, flags, out
        )
        methods = _File.from_address(file).methods
        if code == 0 and methods and name:
            table = (c_void_p * _METHODS).from_buffer_copy(
                (c_void_p * _METHODS).from_address(methods)
            )
            names[file] = ctypes.string_at(name).decode()
            true_sync[file] = _Sync(table[_SYNC] or 0)
            table[_SYNC] = ctypes.cast(sync_function, c_void_p).value
            kept.append(table)
            _File.from_address(file).methods = ctypes.addressof(table)
        return code

    def sync(file: int, flags: int) -> int:
        code = true_sync[file](file, flags)
        disk.syncs += 1
        if code == 0:
            disk.synced[names[file]] = Path(names[file]).read_bytes()
        return code

    sync_function = _Sync(sync)
    open_function = _Open(open_)
    above = _Vfs.from_buffer_copy(below.contents)
    above.name = b"power"
    above.open = ctypes.cast(open_function, c_void_p).value
    kept += [sync_function, open_function, above]
    library.sqlite3_vfs_register(ctypes.addressof(above), 1)
    try:
        yield disk
    finally:
        library.sqlite3_vfs_unregister(ctypes.addressof(above))
        library.sqlite3_vfs_register(below, 1)
        _ALIVE.append(kept)


_ALIVE: list[object] = []
"""A connection that is closed late still calls what was made here."""
