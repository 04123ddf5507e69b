"""What a run says of its progress: a line per epoch, and one every half minute of anything long."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from train.config import Config


@dataclass(frozen=True, slots=True)
class Epoch:
    """How a finished epoch, counted from 1, went: a row of history.csv.

    `rate` is the learning rate of its last step; `val_top1` and `val_bin` are the shares of
    validation pictures with the right class and bin, None where there are no such pictures.
    """

    epoch: int
    loss: float
    rate: float
    pictures_per_s: float
    val_top1: float | None = None
    val_bin: float | None = None

    def line(self, seconds: float, config: Config) -> str:
        """As a person reads it; `seconds` is what all epochs so far took."""
        left = (config.epochs - self.epoch) * seconds / self.epoch
        text = f"epoch {self.epoch}/{config.epochs}  loss {self.loss:.4f}"
        if self.val_top1 is not None and self.val_bin is not None:
            text += f"  val label {self.val_top1:.2%} bin {self.val_bin:.2%}"
        return f"{text}  {self.pictures_per_s:.0f} pictures/s  about {left / 60:.0f} min left"


class Steps:
    """Says how far a long stage is, at most every `every_s` seconds; `first` were done before."""

    def __init__(
        self,
        say: Callable[[str], None],
        what: str,
        unit: str,
        *,
        first: int = 0,
        every_s: float = 30.0,
    ) -> None:
        self._say, self._what, self._unit, self._every_s = say, what, unit, every_s
        self._begun = time.perf_counter()
        self._next = self._begun + every_s
        self._first = first

    def show(self, done: int, total: int, *, note: Callable[[], str] = str) -> None:
        """`done` of `total` are done. `note` is what else to say, asked only when a line is due."""
        now = time.perf_counter()
        if now < self._next or done <= self._first:
            return
        self._next = now + self._every_s
        speed = (done - self._first) / (now - self._begun)
        self._say(
            f"{self._what}: {done}/{total}  {note()}{speed:.0f} {self._unit}/s  "
            f"about {(total - done) / speed:.0f} s left"
        )


class Log:
    """Says a line on stderr and keeps it in the run's log; silent in all but the first process."""

    def __init__(self, folder: Path, *, rank: int) -> None:
        self._file = folder / "log.txt" if rank == 0 else None
        self._begun = time.monotonic()

    def __call__(self, line: str) -> None:
        if self._file is None:
            return
        text = f"[{time.monotonic() - self._begun:7.1f} s] {line}\n"
        sys.stderr.write(text)
        sys.stderr.flush()
        with (  # a full disk must not end a run whose checkpoints it still takes
            contextlib.suppress(OSError),
            self._file.open("a", encoding="utf-8", errors="replace") as stream,
        ):
            stream.write(text)
