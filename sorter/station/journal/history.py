"""Read a journal that a station may be writing: totals, last items, all rows.

Owns reading. Opens the file read-only and never blocks the writer.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sorter.audit import RIGHT, WRONG, Audit
from sorter.domain import Count, Counted, ItemState
from sorter.errors import JournalError
from sorter.station.health.status import live_path
from sorter.station.journal.schema import VERSION, path_of
from sorter.station.journal.tallies import (
    CLASSES,
    DERIVED,
    DERIVED_BEFORE,
    HOUR_S,
    HOURS,
    MOVES,
    SORTED,
    TALLIES,
)

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
    "bin_decided",
    "bin_moved",
    "why",
    "station",
    "audited",
)
"""What an exported row holds, in this order; times are ISO 8601 UTC."""

_TOTALS = "SELECT bin, state, items FROM totals WHERE items > 0"
_COUNTED = "SELECT bin, state, count(*) FROM items GROUP BY bin, state"
_TOTALS_SINCE = 2
_TALLIES_SINCE = 3

_TIMES = frozenset({"arrived_at", "decided_at", "sent_at", "done_at"})
_TEXTS = frozenset({"sha256", "state", "label", "code", "bin", "reason", "boot", "model"}) | set(
    DERIVED
)

_OPEN = frozenset(state.value for state in ItemState if not state.is_terminal)

RECENT = 200
"""Items that the pace is taken from, the newest."""

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How quick the newest items were: medians and the slowest, in seconds.

    `per_minute` counts records of the last minute (at most `RECENT`). `respond` is from arrival to
    the command, `move` from the command to the end; None where nothing moved lately.
    """

    per_minute: int
    respond: tuple[float, float] | None
    move: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A journal at a glance. `live` is what the running station says of itself, None if none runs.

    `counts` maps (bin key, state) to a number of items; `last` holds rows, newest first. `silent_s`
    is how long ago the running station last spoke. `audit` is what a person found of the items that
    were kept for that.
    """

    sid: str
    items: int
    counts: dict[tuple[str, str], int]
    last: list[dict[str, Any]]
    starts: int
    unclean: int
    live: dict[str, Any] | None
    silent_s: float
    pace: Pace
    audit: Audit


@dataclass(frozen=True, slots=True)
class Ended:
    """Records of journal `sid` that have ended, of those after some number.

    `rows` are as `COLUMNS`. Up to number `after` all was looked at; `waiting` are the open ones
    among them, and `is_all` says that the journal held no more.
    """

    sid: str
    rows: list[dict[str, Any]]
    after: int
    waiting: tuple[int, ...]
    is_all: bool


def summarise(journal: Path, *, last: int = 10, wall: Callable[[], float] = time.time) -> Summary:
    """Read the totals, the pace and the `last` newest items. Raises JournalError."""
    with _open(journal) as db:
        (sid,) = _first(db, "SELECT value FROM meta WHERE key = 'sid'", journal)
        (version,) = _first(db, "PRAGMA user_version", journal)
        counted = db.execute(_TOTALS if version >= _TOTALS_SINCE else _COUNTED)
        counts = {(_text(b), _text(s)): int(n) for b, s, n in counted}
        starts, stopped = _first(db, "SELECT count(*), count(stopped_at) FROM starts", journal)
        live = _live(journal)
        rows = list(_rows(db, "ORDER BY n DESC LIMIT ?", (min(last, 1 << 62),)))
        pace = _pace(db, wall())
        audit = _audit(db) if version >= _TALLIES_SINCE else Audit()
    return Summary(
        sid=_text(sid),
        items=sum(counts.values()),
        counts=counts,
        last=rows,
        starts=int(starts),
        unclean=max(0, int(starts) - int(stopped) - (1 if live else 0)),
        live=live,
        silent_s=max(0.0, wall() - float(live["at"])) if live else 0.0,
        pace=pace,
        audit=audit,
    )


def read_items(journal: Path) -> Iterator[dict[str, Any]]:
    """All items in the order of their numbers, as `COLUMNS`. Raises JournalError."""
    with _open(journal) as db:
        yield from _rows(db, "ORDER BY n", ())


def read_ended(journal: Path, after: int, *, waiting: Sequence[int], limit: int) -> Ended:
    """What has ended of the numbers in `waiting` and of the next `limit` after number `after`.

    Late ones come first, then the others in the order of their numbers. Raises JournalError.
    """
    with _open(journal) as db:
        (sid,) = _first(db, "SELECT value FROM meta WHERE key = 'sid'", journal)
        late = []
        for n in waiting:
            late += list(_rows(db, "WHERE n = ?", (n,)))
        rows = list(_rows(db, "WHERE n > ? ORDER BY n LIMIT ?", (after, limit)))
    found = [*late, *rows]
    return Ended(
        _text(sid),
        [row for row in found if row["state"] not in _OPEN],
        int(rows[-1]["n"]) if rows else after,
        tuple(int(row["n"]) for row in found if row["state"] in _OPEN),
        len(rows) < limit,
    )


def read_newest(journal: Path) -> tuple[str, int, tuple[int, ...]]:
    """The journal's id, its newest number, and the numbers that are still open. JournalError."""
    with _open(journal) as db:
        (sid,) = _first(db, "SELECT value FROM meta WHERE key = 'sid'", journal)
        (newest,) = db.execute("SELECT max(n) FROM items").fetchone()
        # In the words of the index of open rows, which is a handful.
        is_open = "state IN ('ARRIVED', 'DECIDED', 'SENT')"
        rows = db.execute(f"SELECT n FROM items WHERE {is_open} ORDER BY n").fetchall()
    return _text(sid), int(newest or 0), tuple(int(n) for (n,) in rows)


def read_counts(
    journal: Path,
    begin: Callable[[int], int],
    *,
    since: float = 0.0,
    station: str | None = None,
) -> Counted:
    """What ended of all that arrived from the hour of Unix time `since` on, of one station or all.

    `begin` says when the period of an hour began; both in Unix time. Raises JournalError.
    """
    with _open(journal) as db:
        (version,) = _first(db, "PRAGMA user_version", journal)
        of = {t: t.name if version >= _TALLIES_SINCE else t.counted() for t in TALLIES}
        where = "WHERE hour >= ? AND (? IS NULL OR station = ?)"
        values = (int(since // HOUR_S), station, station)
        first, last = db.execute(
            f"SELECT min(hour), max(hour) FROM {of[HOURS]} {where}", values
        ).fetchone()
        keys = "station, model, state, why, bin_decided, bin_moved, audited"
        counts = []
        # A period at a time: the key begins with the hour, and no sort is larger than a period.
        for start, begun, over in _periods(begin, first, last):
            found = db.execute(
                f"SELECT {keys}, sum(items), sum(score) FROM {of[HOURS]} {where} AND items > 0"
                f" AND hour BETWEEN ? AND ? GROUP BY {keys}",
                (*values, begun, over),
            )
            counts += [Count(start, *_texts(row[:7]), *row[7:]) for row in found]
        classes = db.execute(
            f"SELECT code, label, sum(items) FROM {of[CLASSES]} {where} AND why = '{SORTED}'"
            " GROUP BY code, label ORDER BY sum(items) DESC, code",
            values,
        )
        moves = db.execute(
            f"SELECT ms, sum(items) FROM {of[MOVES]} {where} GROUP BY ms ORDER BY ms", values
        )
        return Counted(
            tuple(counts),
            tuple((_text(code), _text(label), int(n)) for code, label, n in classes),
            tuple((int(ms), int(n)) for ms, n in moves),
        )


def _periods(
    begin: Callable[[int], int], first: int | None, last: int | None
) -> Iterator[tuple[int, int, int]]:
    """Each period's start in Unix time, and its first and last hour, numbered."""
    if first is None or last is None:
        return
    begun, start = first, begin(first * HOUR_S)
    for hour in range(first + 1, last + 2):
        following = begin(hour * HOUR_S)
        if following != start or hour > last:
            yield start, begun, hour - 1
            begun, start = hour, following


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
        db.text_factory = lambda data: data.decode("utf-8", "replace")  # a damaged text is shown
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise JournalError(
                f"{journal}: written by a newer sorter (version {version}); upgrade this one"
            )
        if version < 1:
            raise JournalError(f"{journal}: not a journal of sorter; name it with --journal")
        yield db
    except (sqlite3.Error, UnicodeDecodeError) as error:  # of sqlite3's message about a name
        reason = error if isinstance(error, sqlite3.Error) else "damaged"
        raise JournalError(
            f"{journal}: cannot read the journal: {reason}; name another with --journal"
        ) from error
    finally:
        db.close()


def _first(db: sqlite3.Connection, sql: str, journal: Path) -> tuple[Any, ...]:
    row = db.execute(sql).fetchone()
    if row is None:
        raise JournalError(f"{journal}: has lost its id; the station will set it aside")
    return tuple(row)


def _audit(db: sqlite3.Connection) -> Audit:
    query = f"SELECT audited, sum(items) FROM {HOURS.name} WHERE audited IN (?, ?) GROUP BY audited"
    found = {_text(verdict): int(n) for verdict, n in db.execute(query, (RIGHT, WRONG))}
    wrong = found.get(WRONG, 0)
    return Audit(found.get(RIGHT, 0) + wrong, wrong)


def _pace(db: sqlite3.Connection, now: float) -> Pace:
    rows = db.execute(
        "SELECT arrived_at, sent_at, done_at FROM items ORDER BY n DESC LIMIT ?", (RECENT,)
    ).fetchall()
    rows = [tuple(t if _is_number(t) else None for t in row) for row in rows]
    sent = [(a, s, d) for a, s, d in rows if None not in (a, s, d)]
    return Pace(
        per_minute=sum(1 for _, _, d in rows if d is not None and now - d <= MINUTE_S),
        respond=_middle_and_worst([s - a for a, s, _ in sent]),
        move=_middle_and_worst([d - s for _, s, d in sent]),
    )


def _middle_and_worst(seconds: list[float]) -> tuple[float, float] | None:
    return (statistics.median(seconds), max(seconds)) if seconds else None


def _rows(
    db: sqlite3.Connection, tail: str, values: tuple[object, ...]
) -> Iterator[dict[str, Any]]:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    derived = DERIVED if version >= _TALLIES_SINCE else DERIVED_BEFORE
    columns = ", ".join(derived.get(name, name).replace("@", "") for name in COLUMNS)
    cursor = db.execute(f"SELECT {columns} FROM items {tail}", values)
    for found in cursor:
        row = dict(zip(COLUMNS, found, strict=True))
        path = row["path"]
        row["path"] = str(path_of(path if isinstance(path, str | bytes) else str(path)))
        for name in _TIMES:
            row[name] = _iso(row[name])
        for name in _TEXTS:
            row[name] = _text(row[name])
        yield row


def _text(value: object) -> str:
    """A text, whatever a damaged row holds in its place."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _texts(values: tuple[object, ...]) -> tuple[str, str, str, str, str, str, str]:
    station, model, state, why, decided, moved, audited = map(_text, values)
    return station, model, state, why, decided, moved, audited


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _iso(moment: Any) -> str:
    if not _is_number(moment):
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
        pid, _ = int(found["pid"]), float(found["at"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return found if Path(f"/proc/{pid}").exists() else None
