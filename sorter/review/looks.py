"""What the waiting pictures look like to the network: which are alike, and which teaches most.

Owns their features and the thread that reads them. Must not answer for a picture or write anything;
without it the queue goes by how sure the station was.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.6
"""The cosine of two pictures' features, less what all the waiting ones have in common, from which
on they are offered together."""
OFFERED = 11
"""Alike ones beside a picture, at most."""
MOST = 3000
"""Pictures that are looked at; more wait their turn by the station's own score."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture's content as SHA-256 and its features (F,)."""

    sha256: str
    features: Array


Read = Callable[[Path], Look | None]
"""None for a picture that cannot be read."""


class Looks:
    """The features of pictures, read one by one in a thread of their own. Safe to share."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._looks: dict[Path, Look] = {}
        self._answered: list[Array] = []
        self._asked: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._known: set[Path] = set()
        self._lock = threading.Lock()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many are read."""
        return len(self._looks)

    def add(self, paths: Iterable[Path]) -> None:
        """Begin to read these; returns at once."""
        for path in paths:
            if path not in self._known and len(self._known) < MOST:
                self._known.add(path)
                self._asked.put(path)

    def alike(self, path: Path, waiting: Sequence[Path]) -> list[tuple[Path, str]]:
        """Of `waiting`, what looks like `path`, nearest first, with each one's SHA-256."""
        with self._lock:
            here = [p for p in waiting if p in self._looks and p != path]
            if path not in self._looks or not here:
                return []
            units = _units([self._looks[p].features for p in (path, *here)])
            near = units[1:] @ units[0]
            order = np.argsort(-near, kind="stable")[:OFFERED]
            return [(here[i], self._looks[here[i]].sha256) for i in order if near[i] >= ALIKE]

    def best(self, waiting: Sequence[Path], doubts: Sequence[float]) -> int | None:
        """The place in `waiting` of what teaches most; None where nothing of it is read yet.

        `doubts` (n,) are how unsure the station was of each. What is doubted and like many others
        says something of all of them (information density, Settles and Craven, 2008); what is like
        a picture that has its answer says little more.
        """
        with self._lock:
            places = [i for i, path in enumerate(waiting) if path in self._looks]
            if not places:
                return None
            features = [self._looks[waiting[i]].features for i in places]
            units = _units([*features, *self._answered])
            here, told = units[: len(places)], units[len(places) :]
            density = np.maximum(here @ here.T, 0.0).mean(1)
            fresh = 1.0 - np.maximum(here @ told.T, 0.0).max(1, initial=0.0)
            value = np.array([doubts[i] for i in places]) * density * np.maximum(fresh, 0.05)
            return places[int(value.argmax())]

    def answered(self, path: Path) -> None:
        """A picture has its answer: what is like it teaches less."""
        with self._lock:
            look = self._looks.get(path)
            if look is not None:
                self._answered.append(look.features)

    def close(self) -> None:
        """End the thread after the picture in hand."""
        self._ending = True
        self._asked.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while (path := self._asked.get()) is not None and not self._ending:
            look = self._read(path)
            if look is not None:
                with self._lock:
                    self._looks[path] = look


def _units(features: Sequence[Array]) -> Array:
    """Unit features (n, F) less their mean: all of one camera have most of their length in
    common."""
    rows = np.stack(list(features))
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    rows = rows - rows.mean(0) if len(rows) > 2 else rows
    unit: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
