"""What a site taught, as values: the pictures' features with their answers, and what was learnt.

Owns the vocabulary of this folder. Numpy only; must not open files or networks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Category

SHARPNESS = 40.0
"""Of the kernel around a taught key."""
WEIGHT = 0.5
"""Of what the taught keys say beside the scores, at most."""
NONE_ODDS = -4.0
"""Logarithm of the odds of an empty tray, and of a new class, before any was shown."""
EMPTY_THRESHOLD = 0.5
FLOOR = 1e-15
"""Keeps a logarithm finite where no key is near."""

Array = NDArray[np.float32]


class LessonKind(StrEnum):
    """What a taught picture shows: an item of a class, an empty tray, or something of no class."""

    ITEM = "item"
    EMPTY = "empty"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One taught picture: its SHA-256, what it shows, and its features (F,).

    `code` is the class's, "" unless `kind` is ITEM. `name` is the file's, for messages. `audited`:
    the station sorted it and a person judged that blindly, so that it stands for others.
    """

    sha256: str
    kind: LessonKind
    code: str
    features: Array
    name: str = ""
    audited: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """The whole of what a bundle was taught, in order of content, and the classes it got anew.

    `base` is the digest of the released bundle whose features these are.
    """

    base: str
    lessons: tuple[Lesson, ...] = ()
    categories: tuple[Category, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """What was learnt, ready to join a network of C classes, C' with the new ones.

    `move` (C', F), `unknown` (F,) and `empty` (F,) act on unit features; `bias` (C',) is 0 for a
    class that the release has, and `empty` None where no empty tray was shown. `keys` (n, D) lie in
    the memory's space, `values` (C, n) is what each counts for each class, and `weight` how much of
    what they say is added.
    """

    move: Array
    bias: Array
    unknown: Array
    empty: Array | None = None
    keys: Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    values: Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    weight: float = WEIGHT
