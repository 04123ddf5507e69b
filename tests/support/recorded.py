"""A picture on the disk and the record that a station would have of it."""

from __future__ import annotations

from pathlib import Path

from sorter.domain import Decision, ItemState, Picture, Reason, Record, Status
from sorter.station.intake.reading import read_whole
from tests.support.tiny import taxonomy3

TAXONOMY = taxonomy3()
CAN = TAXONOMY.categories[0]
UNSURE = Decision(Status.UNSURE, CAN, 0.4, TAXONOMY.bin_of(CAN), 0.5, Reason.LOW_CONFIDENCE)


def record(path: Path, n: int, *, held: bool = True) -> Record:
    """An unsure item at `path`, its bytes in hand or not."""
    whole = read_whole(path)
    assert whole is not None
    data = whole.data if held else b""
    picture = Picture(path, data, whole.sha256, whole.identity, 1.0, 1_700_000_000.0 + n)
    bin_ = TAXONOMY.bin_of(CAN)
    return Record(picture, ItemState.DONE, n, UNSURE, bin_, "low_confidence", model="m", age_s=0.1)


def camera(folder: Path, name: str, data: bytes = b"picture") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path
