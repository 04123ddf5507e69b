"""Folders of answered pictures become lessons; what cannot be one says why.

Owns which pictures count: whole ones, each content once, under one answer. Must not learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sorter.dataset.layout import UNKNOWN, read_answered, read_unknown
from sorter.domain import Taxonomy
from sorter.errors import DataError
from sorter.teach.features import FeatureReader
from sorter.teach.lessons import MAX_LESSONS
from sorter.teach.site import Lesson, LessonKind
from sorter.text import escape
from sorter.vision.quality import BLURRED

COPY = 0.9995
"""The cosine of two pictures' features from which on one is a copy of the other."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A picture that is no lesson, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """One picture's file and its answer."""

    path: Path
    kind: LessonKind
    code: str = ""


def find_answered(
    corrected: Iterable[Path],
    empty: Iterable[Path],
    unknown: Iterable[Path],
    taxonomy: Taxonomy,
) -> list[Answered]:
    """The pictures of `corrected` (a folder per class) and of the other folders.

    Raises DataError for a folder that is no class, for none at all, and for too many.
    """
    found = [
        Answered(sample.path, LessonKind.ITEM, taxonomy.categories[sample.index].code)
        if sample.index != UNKNOWN
        else Answered(sample.path, LessonKind(sample.source))
        for root in corrected
        for sample in read_answered(root, taxonomy)
    ]
    for kind, roots in ((LessonKind.EMPTY, empty), (LessonKind.UNKNOWN, unknown)):
        found += [Answered(s.path, kind) for root in roots for s in read_unknown(root)]
    if len(found) > MAX_LESSONS:
        raise DataError(
            f"{len(found):,} pictures are more than the {MAX_LESSONS:,} that a head can be taught; "
            "take a few dozen of each class, or train with sorter train"
        )
    return found


@dataclass(frozen=True, slots=True)
class Read:
    """Lessons, what was left out, the copies dropped, and which of the pictures are blurred."""

    lessons: tuple[Lesson, ...]
    left_out: tuple[LeftOut, ...]
    copies: int
    blurred: tuple[Path, ...]


def read_lessons(answered: Sequence[Answered], reader: FeatureReader) -> Read:
    """The lessons of these pictures.

    Raises DataError where one content has two answers, naming both files.
    """
    lessons: dict[str, Lesson] = {}
    paths: dict[str, Answered] = {}
    left_out: list[LeftOut] = []
    blurred: list[Path] = []
    copies = 0
    for one, shot in zip(answered, reader.of_files(a.path for a in answered), strict=True):
        if shot.features is None:
            left_out.append(LeftOut(one.path, shot.error))
            continue
        before = paths.get(shot.sha256)
        if before is not None and (before.kind, before.code) != (one.kind, one.code):
            raise DataError(
                f"{escape(str(one.path))}: is the same picture as {escape(str(before.path))}, "
                "which has another answer; remove the wrong one"
            )
        if before is not None:
            copies += 1
            continue
        paths[shot.sha256] = one
        if shot.blur > BLURRED:
            blurred.append(one.path)
        # As they are stored, so that what is learnt now is what is learnt from the file.
        features = shot.features.astype(np.float16).astype(np.float32)
        lessons[shot.sha256] = Lesson(shot.sha256, one.kind, one.code, features, one.path.name)
    kept = _without_copies(list(lessons.values()))
    copies += len(lessons) - len(kept)
    return Read(tuple(kept), tuple(left_out), copies, tuple(blurred))


def _without_copies(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Less those that look the same as an earlier one of the same answer, by content's order."""
    kept: list[Lesson] = []
    for one in sorted(lessons, key=lambda one: one.sha256):
        alike = [k for k in kept if (k.kind, k.code) == (one.kind, one.code)]
        if alike:
            units = np.stack([k.features for k in alike])
            lengths = np.linalg.norm(units, axis=1) * np.linalg.norm(one.features)
            if float((units @ one.features / np.maximum(lengths, 1e-12)).max()) > COPY:
                continue
        kept.append(one)
    return kept
