"""How the journal's values stand in its columns, and how they come back.

Owns the spelling of paths, identities and reasons. Opens no file and knows no SQL.
"""

from __future__ import annotations

import os
from pathlib import Path

from sorter.station.intake.reading import Identity

LONGEST_REASON = 500


def stored(path: Path) -> str | bytes:
    """A path as SQLite can hold it: text, or the raw bytes of a name that is no UTF-8."""
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
