"""What a person found of audited items, written into the journal of a station that may be running.

Owns that one column, `audited`. A second writer beside the station's, for as long as one row takes;
it never makes, checks or repairs a journal.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from sorter.audit import RIGHT, WAITING, WRONG
from sorter.errors import JournalError

BUSY_S = 2.0
"""How long a row that the station is writing is waited for: the person at the page waits too."""
_SINCE = 3
"""The journal's version that first had the column."""


def write_verdict(journal: Path, n: int, sha256: str, verdict: str) -> bool:
    """Record `verdict` (`audit.RIGHT`, `WRONG`, or "" to take it back) of item `n`, audited.

    False where the journal has no such item: the picture is another station's, or too old. Raises
    JournalError where it cannot be written.
    """
    if verdict not in ("", RIGHT, WRONG):
        raise ValueError(f"a verdict {verdict!r}")
    try:
        with contextlib.closing(
            sqlite3.connect(
                f"{journal.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S,
                isolation_level=None,
            )
        ) as db:  # fmt: skip
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version < _SINCE:
                return False
            done = db.execute(
                "UPDATE items SET audited = ? WHERE n = ? AND sha256 = ? AND audited != ''",
                (verdict or WAITING, n, sha256),
            )
            return done.rowcount > 0
    except sqlite3.Error as error:
        raise JournalError(
            f"{journal}: what was found of n={n} cannot be recorded: {error}; the answer itself is "
            "kept"
        ) from error
