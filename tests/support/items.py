"""An item as the station knows it: a settled picture and a decision, without any file."""

from __future__ import annotations

from pathlib import Path

from sorter.domain import Decision, Identity, Picture, Status
from tests.support.tiny import taxonomy3

TAXONOMY = taxonomy3()
CAN = TAXONOMY.categories[0]
DECISION = Decision(Status.SORTED, CAN, 0.9, TAXONOMY.bin_of(CAN), 0.95)


def picture(name: str = "a.jpg", sha: str = "aa") -> Picture:
    identity = Identity(inode=1, size=2, mtime_ns=3, ctime_ns=4)
    return Picture(
        Path("/camera") / name, b"", sha, identity, arrived=1.0, arrived_at=1_700_000_000
    )
