"""What the watcher hands over: one settled file.

Owns the value only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sorter.station.intake.reading import Identity


@dataclass(frozen=True, slots=True)
class Picture:
    """A settled file and its bytes.

    `arrived` is when the file became whole, on the monotonic clock, `arrived_at` the same moment
    in Unix time. `backlog` says it was there before the station. `final` says that it has been
    unchanged so long that, if it is broken, it stays broken; where `unreadable` says why its bytes
    cannot be had, `data` and `sha256` are empty and it is final too.
    """

    path: Path
    data: bytes
    sha256: str
    identity: Identity
    arrived: float
    arrived_at: float
    backlog: bool = False
    final: bool = False
    unreadable: str = ""
