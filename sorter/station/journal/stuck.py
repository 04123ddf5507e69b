"""Which of SQLite's complaints a disk may recover from, and which mean a damaged file.

Owns that one question.
"""

from __future__ import annotations

import sqlite3

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


def is_stuck(error: sqlite3.Error) -> bool:
    """True for what may pass; a damaged file is another matter."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _PASSING
