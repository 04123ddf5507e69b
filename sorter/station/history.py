"""Read a journal that a station may be writing: totals, last items, all rows.

Owns reading. Opens the file read-only and never blocks the writer.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sorter.errors import JournalError
from sorter.station.journal import path_of
from sorter.station.pulse import live_path
from sorter.station.schema import VERSION

COLUMNS = (
    "n",
    "path",
    "sha256",
    "state",
    "label",
    "code",
    "bin",
    "confidence",
    "bin_confidence",
    "reason",
    "arrived_at",
    "decided_at",
    "sent_at",
    "done_at",
    "boot",
    "model",
)
"""What an exported row holds, in this order; times are ISO 8601 UTC."""

_TIMES = frozenset({"arrived_at", "decided_at", "sent_at", "done_at"})


@dataclass(frozen=True, slots=True)
class Summary:
    """A journal at a glance. `live` is what the running station says of itself, None if none runs.

    `counts` maps (bin key, state) to a number of items; `last` holds rows, newest first.
    """

    sid: str
    items: int
    counts: dict[tuple[str, str], int]
    last: list[dict[str, Any]]
    starts: int
    unclean: int
    live: dict[str, Any] | None


def summarise(journal: Path, *, last: int = 10) -> Summary:
    """Read the totals and the `last` newest items. Raises JournalError."""
    with _open(journal) as db:
        (sid,) = db.execute("SELECT value FROM meta WHERE key = 'sid'").fetchone()
        counted = db.execute("SELECT bin, state, count(*) FROM items GROUP BY bin, state")
        counts = {(str(b), str(s)): int(n) for b, s, n in counted}
        starts, stopped = db.execute("SELECT count(*), count(stopped_at) FROM starts").fetchone()
        live = _live(journal)
        rows = list(_rows(db, "ORDER BY n DESC LIMIT ?", (last,)))
    unclean = int(starts) - int(stopped) - (1 if live else 0)
    return Summary(str(sid), sum(counts.values()), counts, rows, int(starts), max(0, unclean), live)


def read_items(journal: Path) -> Iterator[dict[str, Any]]:
    """All items in the order of their numbers, as `COLUMNS`. Raises JournalError."""
    with _open(journal) as db:
        yield from _rows(db, "ORDER BY n", ())


@contextlib.contextmanager
def _open(journal: Path) -> Iterator[sqlite3.Connection]:
    if not journal.is_file():
        raise JournalError(f"{journal}: no journal there; name it with --journal")
    try:
        # A reader of a WAL file must be able to write its index beside it; query_only keeps the
        # data itself safe.
        db = sqlite3.connect(journal, isolation_level=None, timeout=5.0)
    except sqlite3.Error as error:
        raise JournalError(f"{journal}: cannot open: {error}") from error
    try:
        db.execute("PRAGMA query_only = ON")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise JournalError(f"{journal}: written by a newer sorter (version {version})")
        if version < 1:
            raise JournalError(f"{journal}: not a journal of sorter")
        yield db
    except sqlite3.Error as error:
        raise JournalError(f"{journal}: cannot read the journal: {error}") from error
    finally:
        db.close()


def _rows(
    db: sqlite3.Connection, tail: str, values: tuple[object, ...]
) -> Iterator[dict[str, Any]]:
    cursor = db.execute(f"SELECT {', '.join(COLUMNS)} FROM items {tail}", values)
    for found in cursor:
        row = dict(zip(COLUMNS, found, strict=True))
        row["path"] = str(path_of(row["path"]))
        for name in _TIMES:
            row[name] = _iso(row[name])
        yield row


def _iso(moment: float | None) -> str:
    if moment is None:
        return ""
    try:
        text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return ""
    return text.replace("+00:00", "Z")


def _live(journal: Path) -> dict[str, Any] | None:
    """The running station's own words; None where the file is stale or its process is gone."""
    try:
        found = json.loads(live_path(journal).read_text(encoding="utf-8"))
        pid = int(found["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if Path(f"/proc/{pid}").exists() else None
