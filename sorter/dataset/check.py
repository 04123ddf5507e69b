"""Is this data fit to train on: what cannot be read, what is there twice, what leaks, what is rare.

Owns the findings; the comparing of pictures is `duplicates`'s, the layout `layout`'s. Writes
nothing.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sorter.dataset.duplicates import Kind, find_links, groups_of
from sorter.dataset.layout import HELD_OUT, Sample
from sorter.domain import Taxonomy
from sorter.errors import DataError

RARE = 0.2
"""A class with less than this share of the median class's pictures is rare."""

DOUBTFUL = 0.05
"""A label that the out-of-fold model gives less than this probability is doubtful."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of one photograph, how they were found, and how surely."""

    first: Path
    second: Path
    kind: Kind
    score: float


@dataclass(frozen=True, slots=True)
class Doubt:
    """A picture whose label a model that never saw it does not believe."""

    path: Path
    label: str
    probability: float
    likelier: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. `leaks` link a held-out split to any other, `conflicts` two classes.

    `leaked` are the held-out pictures with a sibling in another split or in the extra ones;
    `groups` gives each picture the name of its photograph.
    """

    pictures: int
    unreadable: tuple[tuple[Path, str], ...]
    leaks: tuple[Pair, ...]
    leaked: tuple[Path, ...]
    conflicts: tuple[Pair, ...]
    duplicates: tuple[Pair, ...]
    counts: dict[str, dict[str, int]]
    rare: tuple[str, ...]
    missing: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    groups: dict[Path, str]
    keypoints: bool

    @property
    def is_clean(self) -> bool:
        """True where nothing was found that makes a figure dishonest or a picture useless."""
        return not (self.unreadable or self.leaks or self.conflicts)


def check(
    samples: Sequence[Sample],
    taxonomy: Taxonomy,
    *,
    predictions: Path | None = None,
    keypoints: bool | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Report:
    """Look at labelled `samples`. `predictions` is an out-of-fold file of a training run.

    Raises DataError for a predictions file that cannot be used.
    """
    paths = [s.path for s in samples]
    found = find_links(paths, [s.index for s in samples], keypoints=keypoints, tick=tick)

    leaks, conflicts, duplicates = [], [], []
    leaked: set[Path] = set()
    for link in found.links:
        a, b = samples[link.first], samples[link.second]
        pair = Pair(a.path, b.path, link.kind, link.score)
        held_out = [s.path for s in (a, b) if s.split in HELD_OUT]
        if a.split != b.split and held_out:  # extra pictures are trained on as well
            leaks.append(pair)
            leaked.update(held_out)
        elif a.index == b.index and link.kind is not Kind.SAME_PHOTOGRAPH:
            duplicates.append(pair)
        if a.index != b.index:  # found by bytes or by looks: across classes nothing else is asked
            conflicts.append(pair)

    counts = _counts(samples, taxonomy)
    totals = {name: sum(part.values()) for name, part in counts.items()}
    present = [n for n in totals.values() if n]
    middle = float(np.median(present)) if present else 0.0
    return Report(
        pictures=len(samples),
        unreadable=tuple((paths[i], why) for i, why in sorted(found.unreadable.items())),
        leaks=tuple(leaks),
        leaked=tuple(sorted(leaked)),
        conflicts=tuple(conflicts),
        duplicates=tuple(duplicates),
        counts=counts,
        rare=tuple(name for name, n in totals.items() if 0 < n < RARE * middle),
        missing=tuple(name for name, n in totals.items() if not n),
        doubts=_doubts(samples, taxonomy, predictions) if predictions else (),
        groups=_names(samples, taxonomy, groups_of(len(samples), found.links)),
        keypoints=found.keypoints,
    )


def _counts(samples: Sequence[Sample], taxonomy: Taxonomy) -> dict[str, dict[str, int]]:
    seen = Counter((s.index, s.split or "all") for s in samples)
    splits = sorted({split for _, split in seen})
    return {
        item.code: {split: seen[i, split] for split in splits}
        for i, item in enumerate(taxonomy.categories)
    }


def _names(samples: Sequence[Sample], taxonomy: Taxonomy, roots: list[int]) -> dict[Path, str]:
    """Group names such as `00_03_g017`, numbered in the order of their first picture."""
    numbers: dict[int, str] = {}
    seen: Counter[int] = Counter()
    for root in roots:
        if root not in numbers:
            index = samples[root].index
            numbers[root] = f"{taxonomy.categories[index].code}_g{seen[index]:03d}"
            seen[index] += 1
    return {s.path: numbers[root] for s, root in zip(samples, roots, strict=True)}


def _doubts(samples: Sequence[Sample], taxonomy: Taxonomy, file: Path) -> tuple[Doubt, ...]:
    """Labels that an out-of-fold model does not believe, the most doubtful first."""
    import hashlib

    try:
        # Opened here, because np.load leaves a file that it refuses open.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            digests = [str(d) for d in stored["digests"]]
            scores = np.asarray(stored["scores"], np.float64)
    # A file of another kind fails in many ways: no zip, no such array, one number, a pickle.
    except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "not an out-of-fold file"
        raise DataError(f"{file}: {reason}; name the oof.npz of a run with --folds") from error
    classes = len(taxonomy.categories)
    if scores.ndim != 2 or scores.shape[0] != len(digests) or scores.shape[1] < classes:
        raise DataError(f"{file}: holds scores for other classes; name the run's own --taxonomy")
    scores = scores[:, :classes] - scores[:, :classes].max(1, keepdims=True)
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    known = dict(zip(digests, chances, strict=True))
    doubts = []
    for sample in samples:
        try:
            digest = hashlib.sha256(sample.path.read_bytes()).hexdigest()
        except OSError:
            continue
        chance = known.get(digest)
        if chance is not None and chance[sample.index] < DOUBTFUL:
            label = taxonomy.categories[sample.index].code
            likelier = taxonomy.categories[int(chance.argmax())].code
            doubts.append(Doubt(sample.path, label, float(chance[sample.index]), likelier))
    return tuple(sorted(doubts, key=lambda d: d.probability))
