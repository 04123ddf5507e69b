"""The folder of unsure pictures (`--keep-unsure`): the newest of them, kept for labelling.

Owns their names, written here and read here, and the sink that keeps them. It overwrites nothing of
others and raises nothing for what a disk can do: the record is durable by then, and the log says
what could not be kept.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from sorter.audit import AUDITED
from sorter.domain import Picture, Record, Status
from sorter.errors import FolderError, UsageError
from sorter.files import write_whole
from sorter.station.health.metrics import Metrics
from sorter.station.intake.reading import read_whole

log = logging.getLogger(__name__)

_NAME = re.compile(
    r"(?P<moment>\d{8}T\d{6}Z)_n(?P<n>\d+)_(?P<code>[\w.-]+)_(?P<score>\d{2,3})"
    r"(?P<audited>_audit)?(?P<suffix>\.[^.]+)"
)


@dataclass(frozen=True, slots=True, order=True)
class UnsureName:
    """What the name of a kept picture says; the order is that of age.

    `moment` is its arrival in UTC (`20261127T063000Z`), `n` its number in the journal, `code` its
    likeliest class, `score` that class's probability in per cent. `audited`: it was sorted, and is
    kept for a person to judge without knowing that.
    """

    moment: str
    n: int
    code: str
    score: int
    suffix: str
    audited: bool = False

    @classmethod
    def of(cls, record: Record) -> UnsureName:
        """The name for a record that has a decision."""
        assert record.decision is not None
        return cls(
            moment=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(record.picture.arrived_at)),
            n=record.n,
            # A taxonomy may be anybody's: its code never becomes a path.
            code=re.sub(r"[^\w.-]", "_", record.decision.label.code),
            score=round(record.decision.confidence * 100),
            suffix=record.picture.path.suffix.lower(),
            audited=record.decision.status is Status.SORTED,
        )

    @classmethod
    def read(cls, name: str) -> UnsureName | None:
        """What the file name `name` says; None where it is not one of ours."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        n, score = int(match["n"]), int(match["score"])
        audited = match["audited"] is not None
        read = cls(match["moment"], n, match["code"], score, match["suffix"], audited)
        return read if str(read) == name else None

    def __str__(self) -> str:
        mark = "_audit" if self.audited else ""
        return f"{self.moment}_n{self.n}_{self.code}_{self.score:02d}{mark}{self.suffix}"


class UnsureFolder:
    """Keeps the last `size` unsure pictures in `folder`, and as many audited ones.

    The oldest go first.
    Files of other names are not ours: never counted, never removed.
    """

    def __init__(self, folder: Path, size: int, *, meter: Metrics) -> None:
        if size < 1:
            raise UsageError(f"--keep-unsure-count {size}: give a number above 0")
        self._folder, self._size, self._meter = folder, size, meter

    def __call__(self, record: Record) -> None:
        """Keep a copy where the decision was unsure, and of an item that is audited."""
        decision = record.decision
        if decision is None or (decision.status is Status.SORTED and record.reason != AUDITED):
            return
        name = str(UnsureName.of(record))
        try:
            data = _bytes_of(record.picture)
            if data is None:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            # Not synced: what a power cut takes is one picture to label among hundreds.
            write_whole(self._folder / name, data, sync=False)
            self._forget()
        except (OSError, FolderError) as error:
            self._meter.count("sorter_faults_total", part="archive")
            log.error("n=%d not kept for labelling: %s", record.n, error)

    def _forget(self) -> None:
        kept = [name for path in self._folder.iterdir() if (name := UnsureName.read(path.name))]
        for audited in (False, True):  # many of one kind do not push out the other
            mine = sorted(name for name in kept if name.audited is audited)
            for old in mine[: -self._size]:
                (self._folder / str(old)).unlink(missing_ok=True)


def _bytes_of(picture: Picture) -> bytes | None:
    """The picture's bytes; read again where they were not held, None where it changed since."""
    if picture.data:
        return picture.data
    with contextlib.suppress(OverflowError):
        whole = read_whole(picture.path)
        if whole is not None and whole.sha256 == picture.sha256:
            return whole.data
    return None
