"""The station's memory: every picture's life in one SQLite file, one terminal record each.

Owns the writing. Every method that changes something is durable when it returns (WAL,
synchronous=FULL). One process and one thread write; readers use `history`. Decides nothing about
what a picture deserves.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sorter import __version__
from sorter.domain import Bin, Decision, ItemState
from sorter.errors import JournalError
from sorter.station.intake.reading import Identity, Picture
from sorter.station.journal.cells import identity_cell, one_line, path_of, stored
from sorter.station.journal.reserve import Reserve
from sorter.station.journal.stuck import is_stuck

NEWEST_SAME_NAME = 8
"""A file that lies there now is among the newest records of its name; a camera may use one name
for years, and reading all of them would take longer every day."""

NEWEST_SAME_BYTES = 1_000
"""Likewise for a camera that sends one frozen frame under ever new names."""

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


class Journal:
    """An open journal. `warnings` says, once, what was found wrong while opening.

    `starts` is how often it was opened, this time included.
    """

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
        self._file = path.stat()
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
        self.starts = int(self._fetch("SELECT count(*) FROM starts")[0][0])
        self._reserve.take()

    @property
    def next_n(self) -> int:
        """The number that the next item will get."""
        rows = self._fetch("SELECT seq FROM sqlite_sequence WHERE name = 'items'")
        return int(rows[0][0]) + 1 if rows else 1

    def recorded(self, path: Path, identity: Identity) -> bool:
        """True where the journal has this very file: the same path and the same identity.

        Where the disk does not answer the file counts as new: `same` finds its bytes again.
        """
        try:
            rows = self._fetch(
                "SELECT identity FROM items WHERE path = ? ORDER BY n DESC LIMIT ?",
                (stored(path), NEWEST_SAME_NAME),
            )
        except JournalStuckError:
            return False
        wanted = identity_cell(identity)
        return any(found == wanted for (found,) in rows)

    def same(self, path: Path, sha256: str) -> int | None:
        """The number of the record of these bytes at this path, if there is one."""
        rows = self._fetch(
            "SELECT n FROM (SELECT n, path FROM items INDEXED BY items_sha256 WHERE sha256 = ?"
            " ORDER BY n DESC LIMIT ?) WHERE path = ? LIMIT 1",
            (sha256, NEWEST_SAME_BYTES, stored(path)),
        )
        return int(rows[0][0]) if rows else None

    def twin(self, sha256: str) -> int | None:
        """The number of the first record of these bytes under any path, broken ones left aside."""
        rows = self._fetch(
            "SELECT n FROM items WHERE sha256 = ? AND state NOT IN (?, ?) ORDER BY n LIMIT 1",
            (sha256, ItemState.REJECTED, ItemState.DUPLICATE),
        )
        return int(rows[0][0]) if rows else None

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
                stored(picture.path),
                picture.sha256,
                identity_cell(picture.identity),
                state,
                decision.label.name if decision else "",
                decision.label.code if decision else "",
                target.key if target else "",
                target.number if target else None,
                decision.confidence if decision else None,
                decision.bin_confidence if decision else None,
                one_line(reason),
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
            (state, self._wall(), one_line(reason), one_line(reason), moved, n),
            urgent=True,
        )

    def unfinished(self) -> list[Row]:
        """Rows without a terminal record, oldest first."""
        rows = self._fetch(
            "SELECT n, path, sha256, state, bin_number, boot FROM items"
            " WHERE state IN ('ARRIVED', 'DECIDED', 'SENT') ORDER BY n"
        )
        return [Row(n, path_of(p), sha, ItemState(s), b, boot) for n, p, sha, s, b, boot in rows]

    def done_before(self, before: float, *, after: int, limit: int) -> list[tuple[int, Path]]:
        """Number and path of the next terminal records above number `after`, at most `limit`.

        Ends before the first that was done at Unix time `before` or later, or is still open.
        """
        rows = self._fetch(
            "SELECT n, path, state, done_at FROM items WHERE n > ? ORDER BY n LIMIT ?",
            (after, limit),
        )
        old: list[tuple[int, Path]] = []
        for n, path, state, done_at in rows:
            if not ItemState(state).is_terminal or done_at is None or done_at >= before:
                break
            old.append((n, path_of(path)))
        return old

    def forget(self, numbers: Sequence[int]) -> None:
        """Delete terminal records; their numbers stay used. Raises JournalStuckError."""
        marks = ", ".join("?" * len(numbers))
        self._write(
            f"DELETE FROM items WHERE n IN ({marks})"
            " AND state NOT IN ('ARRIVED', 'DECIDED', 'SENT')",
            tuple(numbers),
        )

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

    def _check_place(self) -> None:
        """SQLite goes on writing into a file that was removed, and nobody would ever read it."""
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
            kind = JournalStuckError if is_stuck(error) else JournalError
            raise kind(f"{self.path}: cannot read the journal: {error}; check the disk") from error

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
        if urgent and is_stuck(failure) and self._reserve.give():
            try:
                return self._db.execute(sql, values)
            except sqlite3.Error as error:
                failure = error
        kind = JournalStuckError if is_stuck(failure) else JournalError
        raise kind(f"{self.path}: cannot write the journal: {failure}; check the disk") from failure
