"""Journals as earlier versions left them, made from one of today."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def make_old(journal: Path, version: int) -> None:
    """Take from a closed journal what came after `version` (1 or 2)."""
    with contextlib.closing(sqlite3.connect(journal)) as db:
        for trigger in ("come", "end", "audit"):
            db.execute(f"DROP TRIGGER items_tally_{trigger}")
        for table in ("hours", "hourly_classes", "hourly_moves"):
            db.execute(f"DROP TABLE {table}")
        for column in ("bin_decided", "why", "station", "audited"):
            db.execute(f"ALTER TABLE items DROP COLUMN {column}")
        if version == 1:
            for trigger in ("items_come", "items_go", "items_change"):
                db.execute(f"DROP TRIGGER {trigger}")
            db.execute("DROP TABLE totals")
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
