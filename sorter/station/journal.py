"""The station's memory: every picture's life in one SQLite file, one terminal record each.

Owns the writing. Every method that changes something is durable when it returns (WAL,
synchronous=FULL). One process and one thread write; readers use `history`. Decides nothing about
what a picture deserves.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sorter import __version__
from sorter.domain import Bin, Decision, ItemState
from sorter.errors import JournalError
from sorter.station.picture import Picture
from sorter.station.reserve import Reserve
from sorter.station.settle import Identity

MAX_N = 4_000_000_000
"""Numbers are 32 bits on the wire; past this a new journal (and sid) begins."""


class JournalStuckError(JournalError):
    """The disk takes no record now (full, failing, read-only); nothing was written. Try later."""


@dataclass(frozen=True, slots=True)
class Row:
    """An unfinished row, as recovery needs it."""

    n: int
    path: Path
    sha256: str
    state: ItemState
    bin_number: int | None
    boot: str


@dataclass(frozen=True, slots=True)
class Twin:
    """An earlier record of the same bytes."""

    n: int
    path: Path
    state: ItemState


class Journal:
    """An open journal. `warnings` says, once, what was found wrong while opening."""

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        lock: int,
        *,
        warnings: tuple[str, ...],
        wall: Callable[[], float],
        synchronous: str,
    ) -> None:
        self.path = path
        self.warnings = warnings
        self._db = db
        self._lock = lock
        self._wall = wall
        self._reserve = Reserve(path.with_name(path.name + ".reserve"))
        # FULL is the promise; the argument exists so that a test can show what NORMAL would do.
        db.execute(f"PRAGMA synchronous = {synchronous}")
        (self.sid,) = db.execute("SELECT value FROM meta WHERE key = 'sid'").fetchone()
        started = "INSERT INTO starts (started_at, version) VALUES (?, ?)"
        self._start = self._write(started, (wall(), __version__), urgent=True).lastrowid
        self._reserve.take()

    @property
    def next_n(self) -> int:
        """The number that the next item will get."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
        return int(row[0]) + 1 if row else 1

    @property
    def starts(self) -> int:
        """How often this journal was opened, this time included."""
        return int(self._db.execute("SELECT count(*) FROM starts").fetchone()[0])

    def recorded(self, path: Path, identity: Identity) -> bool:
        """True where the journal has this very file: the same path and the same identity."""
        rows = self._db.execute("SELECT identity FROM items WHERE path = ?", (_stored(path),))
        wanted = _identity(identity)
        return any(found == wanted for (found,) in rows)

    def same(self, path: Path, sha256: str) -> int | None:
        """The number of the record of these bytes at this path, if there is one."""
        row = self._db.execute(
            "SELECT n FROM items WHERE sha256 = ? AND path = ? LIMIT 1", (sha256, _stored(path))
        ).fetchone()
        return int(row[0]) if row else None

    def twin(self, sha256: str) -> Twin | None:
        """The first record of these bytes under any path, broken ones left aside."""
        row = self._db.execute(
            "SELECT n, path, state FROM items WHERE sha256 = ? AND state NOT IN (?, ?)"
            " ORDER BY n LIMIT 1",
            (sha256, ItemState.REJECTED, ItemState.DUPLICATE),
        ).fetchone()
        return Twin(int(row[0]), path_of(row[1]), ItemState(row[2])) if row else None

    def add(
        self,
        picture: Picture,
        state: ItemState,
        *,
        decision: Decision | None = None,
        bin_: Bin | None = None,
        reason: str = "",
        boot: str = "",
        model: str = "",
    ) -> int:
        """Record a new item in `state` and return its number, never used before.

        `bin_` is where it goes (the decision's bin where None). Raises JournalStuckError.
        """
        if not self._reserve.take():
            # A new item must not eat the space that the last words of the others need.
            raise JournalStuckError(f"{self.path}: the disk is full; free some space")
        now = self._wall()
        target = bin_ or (decision.bin if decision else None)
        cursor = self._write(
            "INSERT INTO items (path, sha256, identity, state, label, code, bin, bin_number,"
            " confidence, bin_confidence, reason, arrived_at, decided_at, sent_at, done_at,"
            " boot, model) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                _stored(picture.path),
                picture.sha256,
                _identity(picture.identity),
                state,
                decision.label.name if decision else "",
                decision.label.code if decision else "",
                target.key if target else "",
                target.number if target else None,
                decision.confidence if decision else None,
                decision.bin_confidence if decision else None,
                _clean(reason),
                picture.arrived_at,
                now if decision else None,
                now if state is ItemState.SENT else None,
                now if state.is_terminal else None,
                boot,
                model,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def decide(self, n: int, decision: Decision, *, bin_: Bin, model: str) -> None:
        """ARRIVED → DECIDED. Raises JournalStuckError."""
        self._change(
            "UPDATE items SET state = 'DECIDED', label = ?, code = ?, bin = ?, bin_number = ?,"
            " confidence = ?, bin_confidence = ?, reason = ?, decided_at = ?, model = ?"
            " WHERE n = ? AND state = 'ARRIVED'",
            (
                decision.label.name,
                decision.label.code,
                bin_.key,
                bin_.number,
                decision.confidence,
                decision.bin_confidence,
                decision.reason.value,
                self._wall(),
                model,
                n,
            ),
        )

    def sent(self, n: int, boot: str) -> None:
        """DECIDED → SENT, or the boot of a SENT that never left anew. Raises JournalStuckError."""
        self._change(
            "UPDATE items SET state = 'SENT', boot = ?, sent_at = ?"
            " WHERE n = ? AND state IN ('DECIDED', 'SENT')",
            (boot, self._wall(), n),
        )

    def finish(self, n: int, state: ItemState, reason: str = "", *, moved: bool = True) -> None:
        """Any open state → its one terminal record; an empty `reason` keeps the one there is.

        `moved` False takes back `sent_at`: nothing left the host. Raises JournalStuckError.
        """
        self._change(
            "UPDATE items SET state = ?, done_at = ?,"
            " reason = CASE WHEN ? = '' THEN reason ELSE ? END,"
            " sent_at = CASE WHEN ? THEN sent_at ELSE NULL END"
            " WHERE n = ? AND state IN ('ARRIVED', 'DECIDED', 'SENT')",
            (state, self._wall(), _clean(reason), _clean(reason), moved, n),
            urgent=True,
        )

    def unfinished(self) -> list[Row]:
        """Rows without a terminal record, oldest first."""
        rows = self._db.execute(
            "SELECT n, path, sha256, state, bin_number, boot FROM items"
            " WHERE state IN ('ARRIVED', 'DECIDED', 'SENT') ORDER BY n"
        )
        return [Row(n, path_of(p), sha, ItemState(s), b, boot) for n, p, sha, s, b, boot in rows]

    def prune(self, before: float, *, batch: int = 200) -> int:
        """Delete at most `batch` terminal rows done before Unix time `before`; how many went."""
        return self._write(
            "DELETE FROM items WHERE n IN (SELECT n FROM items WHERE done_at < ? AND state"
            " NOT IN ('ARRIVED', 'DECIDED', 'SENT') ORDER BY n LIMIT ?)",
            (before, batch),
        ).rowcount

    def close(self) -> None:
        """Note a clean stop, fold the log back into the file, let the lock go."""
        with contextlib.suppress(JournalError):
            stopped = "UPDATE starts SET stopped_at = ? WHERE id = ?"
            self._write(stopped, (self._wall(), self._start))
        self._db.close()
        os.close(self._lock)

    def _change(self, sql: str, values: tuple[object, ...], *, urgent: bool = False) -> None:
        if self._write(sql, values, urgent=urgent).rowcount != 1:
            raise RuntimeError(f"journal: no such open row: {sql.split(' WHERE ')[-1]} {values}")

    def _write(
        self, sql: str, values: tuple[object, ...], *, urgent: bool = False
    ) -> sqlite3.Cursor:
        """Run one statement as its own durable transaction (the connection autocommits).

        An `urgent` one is the last word on something that already happened: it may use the
        reserve of a full disk.
        """
        try:
            return self._db.execute(sql, values)
        except sqlite3.Error as error:
            failure = error
        if urgent and _is_stuck(failure) and self._reserve.give():
            try:
                return self._db.execute(sql, values)
            except sqlite3.Error as error:
                failure = error
        kind = JournalStuckError if _is_stuck(failure) else JournalError
        raise kind(f"{self.path}: cannot write the journal: {failure}; check the disk") from failure


def _is_stuck(error: sqlite3.Error) -> bool:
    """True for what a disk may recover from; a damaged file is another matter."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
    )


def _stored(path: Path) -> str | bytes:
    """A path as SQLite can hold it: text, or the raw bytes of a name that is no UTF-8."""
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return text


def path_of(stored: str | bytes) -> Path:
    """The path behind what `items.path` holds."""
    return Path(os.fsdecode(stored))


def _identity(identity: Identity) -> str:
    return f"{identity.inode}:{identity.size}:{identity.mtime_ns}:{identity.ctime_ns}"


def _clean(text: str) -> str:
    """One line that any column can hold."""
    line = " ".join(text.split())
    return line.encode("utf-8", "backslashreplace").decode("utf-8")[:500]
