"""The journal's tables and columns: their versions, and how values stand in them.

Owns the SQL that shapes the file, and the spelling of paths, identities and reasons. Opens no file
and says nothing about what rows mean.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sorter.domain import Identity
from sorter.station.journal.tallies import STEP

VERSION = 3
"""Written as `user_version`; a file with a larger one belongs to a newer sorter."""

LONGEST_REASON = 500

_ITEMS = """
CREATE TABLE items (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    path NOT NULL,
    sha256 TEXT NOT NULL,
    identity TEXT NOT NULL,
    state TEXT NOT NULL,
    label TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT '',
    bin TEXT NOT NULL DEFAULT '',
    bin_number INTEGER,
    confidence REAL,
    bin_confidence REAL,
    reason TEXT NOT NULL DEFAULT '',
    arrived_at REAL NOT NULL,
    decided_at REAL,
    sent_at REAL,
    done_at REAL,
    boot TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT ''
)
"""

_UP = """
INSERT INTO totals VALUES (new.bin, new.state, 1)
    ON CONFLICT (bin, state) DO UPDATE SET items = items + 1;
"""

_DOWN = "UPDATE totals SET items = items - 1 WHERE bin = old.bin AND state = old.state;"

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        _ITEMS,
        "CREATE INDEX items_path ON items (path)",
        "CREATE INDEX items_sha256 ON items (sha256)",
        # Only the few open rows: recovery must not read the whole history.
        "CREATE INDEX items_open ON items (state) WHERE state IN ('ARRIVED', 'DECIDED', 'SENT')",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE starts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            started_at REAL NOT NULL,
            stopped_at REAL,
            version TEXT NOT NULL
        )""",
    ),
    # Counting a year of items anew takes minutes on a small box, so they are counted as they come.
    (
        """CREATE TABLE totals (
            bin TEXT NOT NULL,
            state TEXT NOT NULL,
            items INTEGER NOT NULL,
            PRIMARY KEY (bin, state)
        ) WITHOUT ROWID""",
        "INSERT INTO totals SELECT bin, state, count(*) FROM items GROUP BY bin, state",
        f"CREATE TRIGGER items_come AFTER INSERT ON items BEGIN {_UP} END",
        f"CREATE TRIGGER items_go AFTER DELETE ON items BEGIN {_DOWN} END",
        f"CREATE TRIGGER items_change AFTER UPDATE OF bin, state ON items BEGIN {_DOWN} {_UP} END",
    ),
    STEP,
)
"""One entry a version: the statements that lead from the version before to it."""


def new_sid() -> str:
    """A random journal id: eight hex digits, as WS1 carries it."""
    return secrets.token_hex(4)


def migrate(db: sqlite3.Connection, sid: Callable[[], str] = new_sid) -> int:
    """Bring `db` to VERSION in one transaction a step; returns the version it had."""
    (had,) = db.execute("PRAGMA user_version").fetchone()
    for version in range(int(had), VERSION):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in _STEPS[version]:
                db.execute(statement)
            if version == 0:
                db.execute("INSERT INTO meta VALUES ('sid', ?)", (sid(),))
            db.execute(f"PRAGMA user_version = {version + 1}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    return int(had)


def stored(path: Path) -> str | bytes:
    """A path as SQLite can hold it: text, or the raw bytes of a name that is not UTF-8."""
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return text


def path_of(cell: str | bytes) -> Path:
    """The path behind what `items.path` holds."""
    return Path(os.fsdecode(cell))


def identity_cell(identity: Identity) -> str:
    """An identity as one text."""
    return f"{identity.inode}:{identity.size}:{identity.mtime_ns}:{identity.ctime_ns}"


def one_line(text: str) -> str:
    """A reason as one line that any column can hold."""
    line = " ".join(text.split())
    return line.encode("utf-8", "backslashreplace").decode("utf-8")[:LONGEST_REASON]
