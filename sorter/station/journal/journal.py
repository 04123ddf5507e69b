"""The station's memory: every picture's life in one SQLite file, one terminal record each.

Owns the writing, and the patience with a disk that does not answer: a station lends it a way to
wait, and from then on a record is tried until it stands. Every method that changes something is
durable when it returns (WAL, synchronous=FULL). One process and one thread write; readers use
`history`. Decides nothing about what a picture deserves.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sorter import __version__
from sorter.audit import AUDITED, WAITING
from sorter.domain import Identity, ItemState, Record
from sorter.errors import JournalError
from sorter.station.health.metrics import Metrics
from sorter.station.journal.schema import identity_cell, one_line, path_of, stored
from sorter.station.journal.tallies import SORTED

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

RETRY_S = 0.5
"""Between two tries of a stuck journal."""

RESERVE_BYTES = 1024 * 1024
"""Room for some hundred records with their write-ahead log."""

NEWEST_SAME_NAME = 8
"""A file that lies there now is among the newest records of its name; a camera may use one name
for years, and reading all of them would take longer every day."""

NEWEST_SAME_BYTES = 1_000
"""Likewise for a camera that sends one frozen frame under ever new names."""

MAX_N = 4_000_000_000
"""Numbers are 32 bits on the wire; past this a new journal (and sid) begins."""


class JournalStuckError(JournalError):
    """The disk takes no record now (full, failing, read-only); nothing was written. Try later."""


class JournalDamagedError(JournalError):
    """The file does not hold what was written into it. The next opening sets it aside."""


class StoppedError(Exception):
    """The station stops and the journal still takes no record; the next start completes it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a station waits for its disk: `pause(seconds)` stays alive, `stopping` ends it."""

    pause: Callable[[float], None]
    stopping: Callable[[], bool]
    meter: Metrics


@dataclass(frozen=True, slots=True)
class Row:
    """An unfinished row, as recovery needs it."""

    n: int
    state: ItemState
    boot: str


def _patient(
    method: Callable[Concatenate[Journal, _P], _T],
) -> Callable[Concatenate[Journal, _P], _T]:
    """Try until the disk answers. StoppedError where the station stops before that.

    Without `Journal.patience` JournalStuckError comes through at once.
    """

    @functools.wraps(method)
    def insist(self: Journal, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        while True:
            try:
                result = method(self, *args, **kwargs)
            except JournalStuckError as error:
                self.wait_for_disk(error)
            else:
                if self.problem:
                    log.warning("the journal takes records again")
                    self.problem = ""
                return result

    return insist


class Journal:
    """An open journal. `warnings` says, once, what was found wrong while opening.

    `predecessor` is the name of a journal that was set aside here, "" where there is none: pictures
    that this one does not know may have moved under that one. `starts` is how often it was opened,
    this time included. `station` is the name that every new record carries. `problem` says why the
    disk takes no record now, "" where it does. Once `patience` is set, what a station reads and
    writes is tried until the disk answers, and raises StoppedError instead of JournalStuckError.
    """

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        lock: int,
        *,
        warnings: tuple[str, ...],
        predecessor: str = "",
        wall: Callable[[], float],
        synchronous: str,
    ) -> None:
        self.path = path
        self._file = path.stat()
        self.warnings = warnings
        self.predecessor = predecessor
        self._db = db
        self._lock = lock
        self._wall = wall
        self._reserve = Reserve(reserve_of(path))
        self.patience: Patience | None = None
        self.problem = ""
        self.station = ""
        # FULL is the promise; the argument exists so that a test can show what NORMAL would do.
        db.execute(f"PRAGMA synchronous = {synchronous}")
        (self.sid,) = db.execute("SELECT value FROM meta WHERE key = 'sid'").fetchone()
        started = "INSERT INTO starts (started_at, version) VALUES (?, ?)"
        self._start = self._write(started, (wall(), __version__), urgent=True).lastrowid
        self.starts = int(self._fetch("SELECT count(*) FROM starts")[0][0])
        self._reserve.take()

    @property
    @_patient
    def next_n(self) -> int:
        """The number that the next item will get."""
        rows = self._fetch("SELECT seq FROM sqlite_sequence WHERE name = 'items'")
        return int(rows[0][0]) + 1 if rows else 1

    def recorded(self, path: Path, identity: Identity) -> bool:
        """True where the journal has this very file: the same path and the same identity.

        One whose bytes could not be read is known by all but its ctime: mended rights do not make a
        new picture. Where the disk does not answer the file counts as new: `same` finds its bytes.
        """
        try:
            rows = self._fetch(
                "SELECT identity, sha256 FROM items WHERE path = ? ORDER BY n DESC LIMIT ?",
                (stored(path), NEWEST_SAME_NAME),
            )
        except JournalStuckError:
            return False
        wanted = identity_cell(identity)
        without_ctime = wanted.rpartition(":")[0]
        return any(
            found == wanted or (not sha256 and str(found).rpartition(":")[0] == without_ctime)
            for found, sha256 in rows
        )

    @_patient
    def same(self, path: Path, sha256: str) -> int | None:
        """The number of the record of these bytes at this path, if there is one."""
        rows = self._fetch(
            "SELECT n FROM (SELECT n, path FROM items INDEXED BY items_sha256 WHERE sha256 = ?"
            " ORDER BY n DESC LIMIT ?) WHERE path = ? LIMIT 1",
            (sha256, NEWEST_SAME_BYTES, stored(path)),
        )
        return int(rows[0][0]) if rows else None

    @_patient
    def twin(self, sha256: str) -> int | None:
        """The number of the first record of these bytes under any path, broken ones left aside.

        A picture that joined a burst is DUPLICATE and the only record of its bytes.
        """
        rows = self._fetch(
            "SELECT n FROM items WHERE sha256 = ? AND state != ? ORDER BY n LIMIT 1",
            (sha256, ItemState.REJECTED),
        )
        return int(rows[0][0]) if rows else None

    @_patient
    def add(self, record: Record) -> int:
        """Take in a new item and return its number, never used before.

        The bin is where it goes, or the decision's where nothing moves. Raises JournalStuckError.
        """
        if not self._reserve.take():
            # A new item must not eat the space that the last words of the others need.
            raise JournalStuckError(f"{self.path}: the disk is full; free some space")
        picture, state, now = record.picture, record.state, self._wall()
        judged = _judged(record)
        cursor = self._write(
            "INSERT INTO items (path, sha256, identity, state, label, code, bin, bin_number,"
            " confidence, bin_confidence, reason, model, bin_decided, why, audited, decided_at,"
            " arrived_at, sent_at, done_at, boot, station)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                stored(picture.path),
                picture.sha256,
                identity_cell(picture.identity),
                state,
                *judged,
                now if record.decision else None,
                picture.arrived_at,
                now if state is ItemState.SENT else None,
                now if state.is_terminal else None,
                record.boot,
                self.station,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    @_patient
    def decide(self, record: Record) -> None:
        """ARRIVED → DECIDED. Raises JournalStuckError."""
        self._change(
            "UPDATE items SET state = 'DECIDED', label = ?, code = ?, bin = ?, bin_number = ?,"
            " confidence = ?, bin_confidence = ?, reason = ?, model = ?, bin_decided = ?, why = ?,"
            " audited = ?, decided_at = ?"
            " WHERE n = ? AND state = 'ARRIVED'",
            (*_judged(record), self._wall(), record.n),
        )

    @_patient
    def sent(self, n: int, boot: str) -> None:
        """DECIDED → SENT, or the boot of a SENT that never left anew. Raises JournalStuckError."""
        self._change(
            "UPDATE items SET state = 'SENT', boot = ?, sent_at = ?"
            " WHERE n = ? AND state IN ('DECIDED', 'SENT')",
            (boot, self._wall(), n),
        )

    @_patient
    def finish(self, n: int, state: ItemState, reason: str = "", *, moved: bool = True) -> None:
        """Any open state → its one terminal record; an empty `reason` keeps the one there is.

        `moved` False takes back `sent_at`: nothing left the host. Raises JournalStuckError.
        """
        self._change(
            "UPDATE items SET state = ?, done_at = ?,"
            " reason = CASE WHEN ? = '' THEN reason ELSE ? END,"
            " sent_at = CASE WHEN ? THEN sent_at ELSE NULL END"
            " WHERE n = ? AND state IN ('ARRIVED', 'DECIDED', 'SENT')",
            (state, self._wall(), one_line(reason), one_line(reason), moved, n),
            urgent=True,
        )

    def end(self, record: Record, *, moved: bool = False) -> Record:
        """Write `record`, terminal, as the item's one end, whether or not it has a row already."""
        if not record.n:
            return replace(record, n=self.add(record))
        self.finish(record.n, record.state, record.reason, moved=moved)
        return record

    @_patient
    def unfinished(self) -> list[Row]:
        """Rows without a terminal record, oldest first."""
        rows = self._fetch(
            "SELECT n, state, boot FROM items"
            " WHERE state IN ('ARRIVED', 'DECIDED', 'SENT') ORDER BY n"
        )
        try:
            return [Row(n, ItemState(state), boot) for n, state, boot in rows]
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def done_before(self, before: float, *, after: int, limit: int) -> list[tuple[int, Path]]:
        """Number and path of the next terminal records above number `after`, at most `limit`.

        Ends before the first that was done at Unix time `before` or later, or is still open.
        """
        rows = self._fetch(
            "SELECT n, path, state, done_at FROM items WHERE n > ? ORDER BY n LIMIT ?",
            (after, limit),
        )
        old: list[tuple[int, Path]] = []
        try:
            for n, path, state, done_at in rows:
                if not ItemState(state).is_terminal or done_at is None or done_at >= before:
                    break
                old.append((n, path_of(path)))
        except (TypeError, ValueError) as error:
            raise self._damaged(str(error)) from error
        return old

    def forget(self, numbers: Sequence[int]) -> None:
        """Delete terminal records; their numbers stay used. Raises JournalStuckError."""
        marks = ", ".join("?" * len(numbers))
        self._write(
            f"DELETE FROM items WHERE n IN ({marks})"
            " AND state NOT IN ('ARRIVED', 'DECIDED', 'SENT')",
            tuple(numbers),
        )

    def wait_for_disk(self, error: JournalStuckError) -> None:
        """Let the station's patience pass once; raise where there is none, or no more of it."""
        patience = self.patience
        if patience is None:
            raise error
        if not self.problem:
            log.error("%s", error)
            patience.meter.count("sorter_faults_total", part="journal")
        self.problem = str(error)
        if patience.stopping():
            raise StoppedError from error
        patience.pause(RETRY_S)

    def close(self) -> None:
        """Note a clean stop, fold the log back into the file, let the lock go."""
        with contextlib.suppress(JournalError):
            stopped = "UPDATE starts SET stopped_at = ? WHERE id = ?"
            self._write(stopped, (self._wall(), self._start))
        self._db.close()
        os.close(self._lock)

    def _change(self, sql: str, values: tuple[object, ...], *, urgent: bool = False) -> None:
        if self._write(sql, values, urgent=urgent).rowcount != 1:
            raise self._damaged(f"no such open row: {sql.split(' WHERE ')[-1]} {values}")

    def _check_place(self) -> None:
        """SQLite goes on writing into a file that was removed and can never be read."""
        try:
            now = self.path.stat()
        except FileNotFoundError as error:
            raise JournalError(f"{self.path}: was removed while in use; start again") from error
        except OSError:
            return  # The disk does not answer; the write says so better.
        if (now.st_dev, now.st_ino) != (self._file.st_dev, self._file.st_ino):
            raise JournalError(f"{self.path}: was replaced while in use; start again")

    def _fetch(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed("read", error) from error

    def _write(
        self, sql: str, values: tuple[object, ...], *, urgent: bool = False
    ) -> sqlite3.Cursor:
        """Run one statement as its own durable transaction (the connection autocommits).

        An `urgent` one is the last word on something that already happened: it may use the
        reserve of a full disk.
        """
        self._check_place()
        try:
            return self._db.execute(sql, values)
        except sqlite3.Error as error:
            failure = error
        if urgent and _is_stuck(failure) and self._reserve.give():
            try:
                return self._db.execute(sql, values)
            except sqlite3.Error as error:
                failure = error
        raise self._failed("write", failure) from failure

    def _failed(self, what: str, error: sqlite3.Error) -> JournalError:
        if isinstance(error, sqlite3.ProgrammingError):
            raise error  # A fault of ours, not of the file.
        if _is_stuck(error):
            return JournalStuckError(
                f"{self.path}: cannot {what} the journal: {error}; check the disk"
            )
        return self._damaged(str(error))

    def _damaged(self, why: str) -> JournalDamagedError:
        """Leave a mark for the next opening, whose own checks may not meet this damage."""
        with contextlib.suppress(OSError):
            unsound_mark(self.path).touch()
        return JournalDamagedError(
            f"{self.path}: the journal is damaged ({why}); the next start sets it aside"
        )


def reserve_of(path: Path) -> Path:
    """The file that holds disk space for the journal at `path`."""
    return path.with_name(path.name + ".reserve")


def unsound_mark(path: Path) -> Path:
    """The file whose being there says that the journal at `path` was found damaged in use."""
    return path.with_name(path.name + ".unsound")


def _judged(record: Record) -> tuple[object, ...]:
    """What the columns label … bin_confidence, reason … audited hold of `record`, in this order."""
    decision = record.decision
    bin_ = record.bin or (decision.bin if decision else None)
    return (
        decision.label.name if decision else "",
        decision.label.code if decision else "",
        bin_.key if bin_ else "",
        bin_.number if bin_ else None,
        decision.confidence if decision else None,
        decision.bin_confidence if decision else None,
        one_line(record.reason),
        record.model,
        decision.bin.key if decision else "",
        (decision.reason.value or SORTED) if decision else "",
        WAITING if record.reason == AUDITED else "",
    )


class Reserve:
    """A file that holds disk space, given up so that a full disk takes the last records.

    All methods are harmless when repeated.
    """

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def held(self) -> bool:
        """True where the space is set aside now."""
        try:
            return self._path.stat().st_size >= self._size_bytes
        except OSError:
            return False

    def take(self) -> bool:
        """Set the space aside, where the disk has twice of it free; True if it is held now."""
        if self.held:
            return True
        try:
            if shutil.disk_usage(self._path.parent).free < 2 * self._size_bytes:
                return False
            handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                # Allocated, not sparse: a hole would give nothing back.
                os.posix_fallocate(handle, 0, self._size_bytes)
            finally:
                os.close(handle)
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            return False
        return True

    def give(self) -> bool:
        """Give the space back to the disk; True if there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


_PASSING = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
    }
)


def _is_stuck(error: sqlite3.Error) -> bool:
    """True for what may pass; a damaged file is another matter."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _PASSING
