"""Open a journal, or say in one line why not; set a damaged one aside and begin anew.

Owns the lock, the checks before the first read, and the moving aside. What is written into the
journal belongs to `journal`.

The lock is the kernel's, on the database file itself (`flock`): whatever name led to it, a symbolic
link or a hard one, two stations meet at the same inode, and there is no lock file that could be
removed. SQLite's own locks on that file are of another kind (POSIX), which `flock` neither sees nor
disturbs on a local disk. They fall when a process closes *any* descriptor of the file, so ours is
closed after SQLite's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from sorter.errors import JournalError
from sorter.files import begins, make_durable, refuse_foreign, refuse_picture_name
from sorter.host.mounts import NETWORK, file_system
from sorter.station.journal.journal import (
    MAX_N,
    Journal,
    JournalDamagedError,
    reserve_of,
    unsound_mark,
)
from sorter.station.journal.schema import VERSION, migrate, one_line

CHECK_BYTES = 64 * 1024 * 1024
"""A larger file is not read whole at start: on an SD card that would take minutes. Of those the
small tables and the newest records are, and damage that shows later sets it aside then."""

NEWEST = 200
"""Records of a large journal that are read at start, each by both of its indexes too."""

FULL_BYTES = 256 * 1024
"""With less room than this SQLite cannot begin; it would call that a disk I/O error."""

SIDE_FILES = ("-wal", "-shm")

DAMAGED = ".damaged-"
"""In the name of a journal that was set aside."""

_ODD_ROWS = """
SELECT n FROM items WHERE state IN ('ARRIVED', 'DECIDED', 'SENT') AND (
    typeof(path) NOT IN ('text', 'blob') OR typeof(sha256) != 'text' OR typeof(boot) != 'text'
    OR typeof(bin_number) NOT IN ('integer', 'null')
) LIMIT 1
"""


class _DamagedError(Exception):
    """This file is not a journal any more."""


def open_journal(
    path: Path, *, wall: Callable[[], float] = time.time, synchronous: str = "FULL"
) -> Journal:
    """Open or create the journal at `path`.

    A damaged one is renamed aside and a new one, with a new sid, takes its place; the returned
    journal's `warnings` say so, and its `predecessor` names the file as long as it lies there.
    Raises JournalError where there can be no journal: a network file system, no permission, a full
    disk, another station's lock, a newer version.
    """
    refuse_folder(path)
    path = Path(os.path.realpath(path))  # As SQLite does: side files lie beside the real one.
    _refuse_foreign(path)
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
    lock, is_new = _hold(path)
    warnings: tuple[str, ...] = ()
    try:
        while True:
            try:
                return _open_held(
                    path, lock, is_new, warnings=warnings, wall=wall, synchronous=synchronous
                )
            except (_DamagedError, JournalDamagedError) as damage:
                if warnings:
                    raise JournalError(
                        f"{path}: {damage}, twice in a row; check the disk"
                    ) from damage
                aside = _set_aside(path, wall)
                why = str(damage).removeprefix(f"{path}: ")
                warnings = (
                    f"{path}: {why}; set aside as {aside.name}, a new journal with a new id begins",
                )
            held, (lock, is_new) = lock, _hold(path)
            os.close(held)
    except sqlite3.Error as error:
        os.close(lock)
        raise JournalError(f"{path}: cannot open the journal: {_why(error, folder)}") from error
    except OSError as error:
        os.close(lock)
        raise JournalError(
            f"{path}: cannot open the journal: {error.strerror}; check the disk"
        ) from error
    except BaseException:
        os.close(lock)
        raise


def _open_held(
    path: Path,
    lock: int,
    is_new: bool,
    *,
    warnings: tuple[str, ...],
    wall: Callable[[], float],
    synchronous: str,
) -> Journal:
    """The journal behind a lock that is ours. Raises as `_connect`."""
    db = _connect(path, is_new=is_new)
    try:
        make_durable(path.parent)
        return Journal(
            path,
            db,
            lock,
            warnings=warnings,
            predecessor=_predecessor(path),
            wall=wall,
            synchronous=synchronous,
        )
    except BaseException:
        db.close()
        raise


def refuse_folder(path: Path) -> None:
    """Raise JournalError where `path` can only be a folder: nothing can lie beside it."""
    if not path.name or path.is_dir():
        raise JournalError(f"{path}: is a folder; name the journal's file with --journal")


def _refuse_foreign(path: Path) -> None:
    """Raise UsageError for a file that never was a journal; a damaged journal does not count as
    one.

    It is known by what a database begins with, or, where that is damaged, by its name or by the
    files that a station leaves beside it.
    """
    refuse_picture_name(path, option="--journal")
    beside = (*(path.with_name(path.name + end) for end in SIDE_FILES), reserve_of(path))
    named = path.suffix in (".sqlite", ".sqlite3", ".db")
    if not named and not any(file.exists() for file in beside):
        refuse_foreign(path, begins(b"SQLite format 3\0"), option="--journal")


def _hold(path: Path) -> tuple[int, bool]:
    """Lock the file for this process; a descriptor that holds the lock, and whether we made it.

    The kernel lets go when the process ends, however.
    """
    while True:
        try:
            is_new = not path.exists()
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(
                f"{path}: cannot be written: {error.strerror}; change its permissions, or name "
                "another journal with --journal"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(handle)
            os.close(handle)
            raise JournalError(
                f"{path}: another station (process {owner}) uses this journal; "
                "stop it or give this one its own --journal"
            ) from error
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle, is_new
        os.close(handle)  # Set aside by another station in the very moment before.


def _owner(handle: int) -> str:
    """The process that locked this file, as far as the kernel tells."""
    inode = f":{os.fstat(handle).st_ino} "
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if "FLOCK" in fields and inode in f"{line} ":
                return fields[fields.index("WRITE") + 1] if "WRITE" in fields else "unknown"
    return "unknown"


def _predecessor(path: Path) -> str:
    """The newest journal that was set aside here and still lies there; "" for none."""
    names = [
        name
        for name in os.listdir(path.parent)  # noqa: PTH208 - only names.
        if name.startswith(path.name + DAMAGED) and not name.endswith(SIDE_FILES)
    ]
    return max(names, default="")


def _why(error: sqlite3.Error, folder: Path) -> str:
    """What a disk said, and what to do; a full one in its own words."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or shutil.disk_usage(folder).free < FULL_BYTES:
        return "the disk is full; free some space"
    return f"{error}; name another with --journal"


def _connect(path: Path, *, is_new: bool) -> sqlite3.Connection:
    """Connect, check and migrate. Raises _DamagedError, JournalError, sqlite3.Error."""
    if unsound_mark(path).exists():
        raise _DamagedError("the journal was found damaged while in use")
    left = path.with_name(path.name + "-wal").exists() or reserve_of(path).exists()
    if is_new and left:
        raise _DamagedError("the journal was lost, only its side files are left")
    if not is_new and left and path.stat().st_size == 0:
        # SQLite would take it for a new one, and numbers would begin again under an old device.
        # Without side files it is one whose station ended before its first byte: renaming it would
        # let whoever looks into it take the next one's side files for its own.
        raise _DamagedError("the journal is empty, as after a power cut")
    db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    try:
        _check(path, db, is_new=path.stat().st_size == 0)
    except sqlite3.DatabaseError as error:
        db.close()
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            raise _DamagedError(f"the journal is damaged ({error})") from error
        raise
    except (UnicodeDecodeError, TypeError, ValueError) as error:  # no usable name or value
        db.close()
        raise _DamagedError("the journal is damaged (names that are not text)") from error
    except BaseException:
        db.close()
        raise
    return db


def _check(path: Path, db: sqlite3.Connection, *, is_new: bool) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    if version == 0 and tables and not tables & {"items", "meta"}:
        raise JournalError(f"{path}: is another program's database; name another with --journal")
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(f"{path}: this file system cannot keep a write-ahead log; use another")
    if version > VERSION:
        raise JournalError(
            f"{path}: written by a newer sorter (version {version}); upgrade sorter or use another"
        )
    is_large = path.stat().st_size > CHECK_BYTES
    if not is_large:
        _quick_check(db, "1")
    if version < 0 or (version == 0 and tables):
        raise _DamagedError("the journal has lost its version")
    if version == 0 and not is_new:
        raise _DamagedError("the journal has lost its write-ahead log")
    if migrate(db) < VERSION:
        # A young journal must not live in its log alone, which a copy of the file may lack.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if is_large:
        _sample(db)
    sids = [sid for (sid,) in db.execute("SELECT value FROM meta WHERE key = 'sid'")]
    if len(sids) != 1 or not isinstance(sids[0], str) or not sids[0].isalnum():
        raise _DamagedError("the journal has lost its id")
    (last,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone() or (0,)
    if not isinstance(last, int) or not 0 <= last < MAX_N:
        raise _DamagedError("the journal has used up its numbers")
    # What recovery is about to read; quick_check does not look at the kind of each value.
    if db.execute(_ODD_ROWS).fetchone():
        raise _DamagedError("the journal is damaged (an open row that no station wrote)")


def _quick_check(db: sqlite3.Connection, what: str) -> None:
    (verdict,) = db.execute(f"PRAGMA quick_check({what})").fetchone()
    if verdict != "ok":
        raise _DamagedError(f"the journal is damaged ({one_line(verdict)})")


def _sample(db: sqlite3.Connection) -> None:
    """Of a large journal: the small tables whole, the newest records by every way to them."""
    for table in ("meta", "starts", "totals"):
        _quick_check(db, table)
    newest = db.execute("SELECT * FROM items ORDER BY n DESC LIMIT ?", (NEWEST,)).fetchall()
    for n, path, sha256, *_ in newest:
        for index, column, value in (("path", "path", path), ("sha256", "sha256", sha256)):
            by = f"SELECT 1 FROM items INDEXED BY items_{index} WHERE {column} = ? AND n = ?"
            if db.execute(by, (value, n)).fetchone() is None:
                raise _DamagedError(f"the journal is damaged (n={n} is not in its index)")


def _set_aside(path: Path, wall: Callable[[], float]) -> Path:
    """Rename the journal and its side files; an older casualty is never overwritten."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall()))
    for attempt in range(1000):
        tail = f"-{attempt}" if attempt else ""
        aside = path.with_name(f"{path.name}{DAMAGED}{stamp}{tail}")
        if not aside.exists():
            break
    for suffix in ("", *SIDE_FILES):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    for trace in (unsound_mark(path), reserve_of(path)):
        trace.unlink(missing_ok=True)
    return aside
