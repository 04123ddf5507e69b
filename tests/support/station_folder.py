"""What a station left under `tmp_path/state`: its records, and what it says of itself."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path


def live(tmp_path: Path) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((tmp_path / "state" / "journal.sqlite.live.json").read_text())
        assert isinstance(found, dict)
        return found
    return {}


def states(tmp_path: Path) -> list[tuple[str, str, str]]:
    """(name, state, bin) of every record, in order."""
    file = tmp_path / "state" / "journal.sqlite"
    if not file.exists():
        return []
    with contextlib.closing(sqlite3.connect(file)) as db:
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            return []  # It is being made.
        rows = db.execute("SELECT path, state, bin FROM items ORDER BY n").fetchall()
    return [(Path(path).name, state, bin_) for path, state, bin_ in rows]
