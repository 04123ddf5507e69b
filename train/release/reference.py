"""What a release takes along of the photographs it knows, for `sorter teach` to be judged by.

Owns which photographs those are. Features only, never pictures (`sorter.teach.reference`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sorter.errors import BundleError
from sorter.teach.features import FeatureReader
from sorter.teach.reference import write_reference
from sorter.vision.bundle import MODEL_FILES
from train.data.corpus import Corpus
from train.data.sampling import random_stream

OF_KNOWN, OF_UNKNOWN = 1000, 200
"""Photographs of the classes and pictures of none, at most: a file of about a megabyte."""


def reference_rows(corpus: Corpus, seed: int) -> NDArray[np.int64]:
    """One picture of each photograph of DATA, validation first, and a few of each unknown source.

    Where DATA has fewer photographs than `OF_KNOWN`, the extra sources fill up.
    """
    stream = random_stream(seed, 6)
    chosen: list[int] = []
    seen: set[str] = set()
    for role in ("val", "train", "extra"):
        for row in stream.permutation(corpus.rows(role)).tolist():
            group = corpus.examples[row].group
            if len(chosen) < OF_KNOWN and not (group and group in seen):
                seen.add(group)
                chosen.append(row)
    unknown = stream.permutation(corpus.rows("unknown")).tolist()
    sources = len({corpus.examples[row].source for row in unknown})
    share = max(1, -(-OF_UNKNOWN // max(1, sources)))
    count: Counter[str] = Counter()
    few = []
    for row in unknown:
        source = corpus.examples[row].source
        count[source] += 1
        if count[source] <= share:
            few.append(row)
    return np.array([*chosen, *few[:OF_UNKNOWN]], np.int64)


def add_reference(
    folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, classes: int
) -> int:
    """Write the reference of the bundle in `folder`; how many pictures it is of.

    0, and nothing is written, for a network that cannot be taught.
    """
    names = [n for n in (MODEL_FILES["int8"], MODEL_FILES["fp16"]) if (folder / n).is_file()]
    if not (labels >= 0).any():
        return 0
    try:
        reader = FeatureReader(folder / names[0], classes)
    except BundleError:
        return 0
    write_reference(folder, np.stack([reader.of_pixels(p) for p in pixels]), labels)
    return len(labels)
