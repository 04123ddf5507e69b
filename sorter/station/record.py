"""What the station tells the world when a picture's story ends.

Owns the value only.
"""

from __future__ import annotations

from dataclasses import dataclass

from sorter.domain import Bin, Decision, ItemState
from sorter.station.intake.reading import Picture


@dataclass(frozen=True, slots=True)
class Record:
    """One terminal record as it was just written. `age_s` is from arrival to this record."""

    n: int
    picture: Picture
    state: ItemState
    decision: Decision | None
    bin: Bin | None
    reason: str
    age_s: float
    model: str
