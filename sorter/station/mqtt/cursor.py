"""How far a journal has been told: a small file beside it.

Owns that file and what its numbers mean. Knows no broker.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sorter.files import write_whole


@dataclass(frozen=True, slots=True)
class Cursor:
    """Of journal `sid`, all records up to number `after` were told, but for `waiting`.

    Those had not ended when the others went past them: an interrupted item whose device is away,
    say, may take days.
    """

    sid: str
    after: int = 0
    waiting: tuple[int, ...] = ()


def cursor_path(journal: Path) -> Path:
    """Where the cursor of the journal at `journal` lies."""
    return journal.with_name(journal.name + ".mqtt")


def load(path: Path) -> Cursor | None:
    """The cursor that lies there; None where there is none that can be read."""
    try:
        return parsed(path.read_bytes())
    except OSError:
        return None


def parsed(text: bytes | None) -> Cursor | None:
    """The cursor in a JSON object that may hold more; None where there is none."""
    try:
        found = json.loads(text or b"")
        waiting = tuple(int(n) for n in found["waiting"])
        return Cursor(str(found["sid"]), int(found["after"]), waiting)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def further(one: Cursor | None, other: Cursor | None) -> Cursor | None:
    """The one that knows of more records told; of two journals the first."""
    if one is None or other is None:
        return one or other
    if one.sid != other.sid:
        return one
    # At the same number fewer wait than before.
    return max(one, other, key=lambda cursor: (cursor.after, -len(cursor.waiting)))


def save(path: Path, cursor: Cursor) -> None:
    """Replace what lies there. Raises FolderError.

    Not synced: that would compete with the journal for a slow card. What a power cut takes back,
    the broker's own copy of the last record brings again.
    """
    write_whole(path, json.dumps(asdict(cursor)), sync=False)
