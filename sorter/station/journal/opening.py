"""Open a journal, or say in one line why not; set a damaged one aside and begin anew.

Owns the lock, the checks before the first read, and the moving aside. What is written into the
journal belongs to `journal`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from sorter.errors import JournalError
from sorter.host.mounts import NETWORK, file_system
from sorter.station.journal.journal import MAX_N, Journal
from sorter.station.journal.schema import VERSION, migrate

CHECK_BYTES = 64 * 1024 * 1024
"""A larger file is not read whole at start: on an SD card that would take minutes."""

SIDE_FILES = ("-wal", "-shm")


_ODD_ROWS = """
SELECT n FROM items WHERE state IN ('ARRIVED', 'DECIDED', 'SENT') AND (
    typeof(path) NOT IN ('text', 'blob') OR typeof(sha256) != 'text' OR typeof(boot) != 'text'
    OR typeof(bin_number) NOT IN ('integer', 'null')
) LIMIT 1
"""


class _DamagedError(Exception):
    """This file is no journal any more."""


def open_journal(
    path: Path, *, wall: Callable[[], float] = time.time, synchronous: str = "FULL"
) -> Journal:
    """Open or create the journal at `path`.

    A damaged one is renamed aside and a new one, with a new sid, takes its place; the returned
    journal's `warnings` say so. Raises JournalError where there can be no journal: a network file
    system, no permission, another station's lock, a newer version.
    """
    refuse_folder(path)
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(
            f"{folder}: cannot make the journal's folder: {error.strerror}; name another "
            "journal with --journal"
        ) from error
    kind = file_system(folder)
    if kind in NETWORK:
        raise JournalError(
            f"{path}: a journal on {kind} would not survive a power cut; "
            "use a local disk (--journal)"
        )
    lock = _lock(path)
    try:
        warnings: tuple[str, ...] = ()
        try:
            db = _connect(path)
        except _DamagedError as damage:
            aside = _set_aside(path, wall)
            warnings = (
                f"{path}: {damage}; set aside as {aside.name}, a new journal with a new id begins",
            )
            db = _connect(path)
        try:
            _sync_folder(folder)
            return Journal(path, db, lock, warnings=warnings, wall=wall, synchronous=synchronous)
        except BaseException:
            db.close()
            raise
    except _DamagedError as damage:
        os.close(lock)
        raise JournalError(f"{path}: {damage}, twice in a row; check the disk") from damage
    except sqlite3.Error as error:
        os.close(lock)
        raise JournalError(
            f"{path}: cannot open the journal: {error}; name another with --journal"
        ) from error
    except BaseException:
        os.close(lock)
        raise


def refuse_folder(path: Path) -> None:
    """Raise JournalError where `path` can only be a folder: nothing can lie beside it."""
    if not path.name or path.is_dir():
        raise JournalError(f"{path}: is a folder; name the journal's file with --journal")


def _lock(path: Path) -> int:
    """Hold the journal for this process; the kernel lets go when the process ends, however."""
    name = path.with_name(path.name + ".lock")
    try:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise JournalError(
            f"{name}: cannot be written: {error.strerror}; change its permissions, or name "
            "another journal with --journal"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise JournalError(
            f"{path}: another station (process {owner}) uses this journal; "
            "stop it or give this one its own --journal"
        ) from error
    with contextlib.suppress(OSError):  # Only a courtesy to who comes next; the disk may be full.
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _connect(path: Path) -> sqlite3.Connection:
    """Connect, check and migrate. Raises _DamagedError, JournalError, sqlite3.Error."""
    if (
        path.exists()
        and path.stat().st_size == 0
        and not path.with_name(path.name + "-wal").exists()
    ):
        # SQLite would take it for a new one, and numbers would begin again under an old device.
        raise _DamagedError("the journal is empty, as after a power cut")
    db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    try:
        _check(path, db)
    except sqlite3.DatabaseError as error:
        db.close()
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            raise _DamagedError(f"the journal is damaged ({error})") from error
        raise
    except UnicodeDecodeError as error:  # of sqlite3's own message about a damaged name
        db.close()
        raise _DamagedError("the journal is damaged (names that are no text)") from error
    except BaseException:
        db.close()
        raise
    return db


def _check(path: Path, db: sqlite3.Connection) -> None:
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(f"{path}: this file system cannot keep a write-ahead log; use another")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise JournalError(
            f"{path}: written by a newer sorter (version {version}); upgrade sorter or use another"
        )
    if path.stat().st_size <= CHECK_BYTES:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _DamagedError(f"the journal is damaged ({verdict})")
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if version < 0 or (version == 0 and tables):
        raise _DamagedError("the file is another program's database")
    migrate(db)
    sids = [sid for (sid,) in db.execute("SELECT value FROM meta WHERE key = 'sid'")]
    if len(sids) != 1 or not isinstance(sids[0], str) or not sids[0].isalnum():
        raise _DamagedError("the journal has lost its id")
    (last,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone() or (0,)
    if not isinstance(last, int) or not 0 <= last < MAX_N:
        raise _DamagedError("the journal has used up its numbers")
    # What recovery is about to read; quick_check does not look at the kind of each value.
    if db.execute(_ODD_ROWS).fetchone():
        raise _DamagedError("the journal is damaged (an open row that no station wrote)")


def _set_aside(path: Path, wall: Callable[[], float]) -> Path:
    """Rename the journal and its side files; an older casualty is never overwritten."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall()))
    for attempt in range(1000):
        aside = path.with_name(f"{path.name}.damaged-{stamp}" + (f"-{attempt}" if attempt else ""))
        if not aside.exists():
            break
    for suffix in ("", *SIDE_FILES):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _sync_folder(folder: Path) -> None:
    """Make the journal's own directory entry durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
