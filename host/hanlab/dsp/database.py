"""The DSP's memory: one SQLite file with the CPL, the SMI, requests, deliveries and the audit log.

Write-ahead logging, each commit on the disk before it is spoken of (`synchronous = FULL`): what an I99
promised is there after the process is killed, and after the computer's own power cut.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from hanlab.dsp.schema import MIGRATIONS, SCHEMA, VERSION
from hanlab.errors import UsageError
from hanlab.files import settle


class DatabaseTrouble(UsageError):
    """SQLite could not do it; `name` is its own name for why, e.g. SQLITE_FULL."""

    def __init__(self, name: str, what: str, *, next_step: str) -> None:
        super().__init__(what, next_step=next_step)
        self.name = name


_KEEP: Final = "keep it with its -wal and -shm files: they belong together"
_TROUBLES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "SQLITE_NOTADB",
        "is no database of hanlab's",
        "look what it is; moved aside, together with any -wal and -shm beside it, it is not in the way "
        "and nothing of it is lost",
    ),
    (
        "SQLITE_CORRUPT",
        "is damaged",
        f"{_KEEP}; copy all three before anything else, `sqlite3 FILE .recover` reads what is left",
    ),
    ("SQLITE_FULL", "cannot grow: the disk is full", "make room on its disk and run it again"),
    (
        "SQLITE_IOERR",
        "cannot be read or written",
        f"check its disk (room, health, quota) and run it again; {_KEEP}",
    ),
    ("SQLITE_BUSY", "is in use by another program", "wait for it to end, and run it again"),
    ("SQLITE_LOCKED", "is in use by another program", "wait for it to end, and run it again"),
    ("SQLITE_READONLY", "may not be written", "give yourself the right to write it and its folder"),
    ("SQLITE_PERM", "may not be opened", "give yourself the right to read and write it"),
    (
        "SQLITE_CANTOPEN",
        "cannot be opened",
        "check that it is a file, that its folder is there and that you may write to both",
    ),
)
"""By the beginning of SQLite's own name: what is so, and a next step that loses nothing."""


def trouble(path: Path | None, error: sqlite3.Error) -> DatabaseTrouble:
    """What one of SQLite's errors means for its user, with SQLite's own name and words."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    what, next_step = next(
        ((w, n) for begin, w, n in _TROUBLES if name.startswith(begin)),
        ("cannot be used", f"run it again; {_KEEP}"),
    )
    return DatabaseTrouble(
        name, f"{path or 'memory'} {what} ({name}: {error})", next_step=next_step
    )


class _Connection(sqlite3.Connection):
    """Its errors say which file and what to do; those of a statement itself stay SQLite's own."""

    path: Path | None = None

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with self._explained():
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        with self._explained():
            return super().executemany(*arguments)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as e:
            if _is_of_the_statement(e):
                raise
            raise trouble(self.path, e) from e


def _is_of_the_statement(error: sqlite3.DatabaseError) -> bool:
    own = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
    return isinstance(error, own) or getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR"


class Database:
    """The file `path`, made if it is not there; None: one in memory. Threads may share it.

    Raises:
        DatabaseTrouble: SQLite cannot use the file; says why, as every later statement does.
        UsageError: a newer hanlab made it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._one_at_a_time = threading.RLock()
        is_new = path is not None and not path.exists()
        try:
            self.sql = sqlite3.connect(
                path or ":memory:",
                isolation_level=None,
                timeout=10,
                check_same_thread=False,
                factory=_Connection,
            )
        except sqlite3.Error as e:
            raise trouble(path, e) from e
        self.sql.path = path
        try:
            self.sql.execute("PRAGMA journal_mode = WAL")
            self.sql.execute("PRAGMA synchronous = FULL")
            with self.transaction():
                self._bring_up_to_date()
        except BaseException:
            self.sql.close()
            raise
        if is_new and path:
            settle(path.parent)  # SQLite cares for its own files only
            settle(path.parent.parent)

    def _bring_up_to_date(self) -> None:
        (version,) = self.sql.execute("PRAGMA user_version").fetchone()
        if version not in range(VERSION + 1):
            raise UsageError(
                f"{self.path} has schema {version}, this hanlab knows {VERSION}",
                next_step="use the hanlab that made it; it stays as it is",
            )
        if version == 0 and self.sql.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise UsageError(
                f"{self.path} is a database of another program",
                next_step="move it aside with its -wal and -shm files; nothing of it is lost then",
            )
        scripts = [SCHEMA] if version == 0 else [MIGRATIONS[n] for n in range(version, VERSION)]
        for script in scripts:
            for statement in _statements(script):
                self.sql.execute(statement)
        if version != VERSION:
            self.sql.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def transaction(self, *, lasting: bool = True) -> Iterator[None]:
        """All of it or nothing; one within another belongs to the outer one.

        `lasting`: it is on the disk at the end. Without it a power cut of the computer may take it
        back, which is for what is done again or is in the next one that lasts.

        Raises:
            DatabaseTrouble: it could not be committed, and nothing of it is there.
        """
        with self._one_at_a_time:
            if self.sql.in_transaction:
                yield
                return
            if not lasting:
                self.sql.execute("PRAGMA synchronous = NORMAL")
            try:
                self.sql.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self.sql.execute("COMMIT")
                except BaseException:
                    if self.sql.in_transaction:  # a full disk may have ended it already
                        with suppress(DatabaseTrouble):
                            self.sql.execute("ROLLBACK")
                    raise
            finally:
                if not lasting:
                    self.sql.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def committed(self) -> Iterator[None]:
        """What is read within has been committed: no other thread is in a transaction meanwhile."""
        with self._one_at_a_time:
            yield

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of a transaction: if it fails, all of it is taken back, and what was before it stays.

        Where SQLite has ended the transaction itself, as on a full disk, nothing of that is there either
        (`sql.in_transaction` is False then).
        """
        self.sql.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self.sql.in_transaction:
                self.sql.execute("ROLLBACK TO part")
                self.sql.execute("RELEASE part")
            raise
        self.sql.execute("RELEASE part")

    def close(self) -> None:
        self.sql.close()


def _statements(script: str) -> Iterator[str]:
    """One at a time: `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
