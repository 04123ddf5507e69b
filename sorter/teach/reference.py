"""The old knowledge: features of photographs that the release was made with, never pictures.

Owns the file `reference.npz` of a bundle, and what stands in for it in a bundle without one: the
keys of its memory. Must not judge.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sorter.errors import BundleError
from sorter.files import write_whole
from sorter.teach.prior import MemoryArrays
from sorter.teach.site import Array
from sorter.vision.metadata import read_file

FILE = "reference.npz"
MAX_BYTES = 16 * 1024 * 1024
OF_KNOWN, OF_UNKNOWN = 1200, 250
"""Keys that stand in for photographs, at most, of the classes and of none."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Features (N, F) of old photographs and their classes (N,), −1 for none of them.

    `stored` is False where a memory's keys stand in for them.
    """

    features: Array
    labels: NDArray[np.int64]
    stored: bool

    @property
    def known(self) -> int:
        """How many are of a class."""
        return int((self.labels >= 0).sum())


def write_reference(folder: Path, features: Array, labels: NDArray[np.int64]) -> None:
    """Write `folder`/reference.npz: eight bits a feature, scaled for each photograph.

    Raises FolderError where the disk refuses.
    """
    scale = np.maximum(np.abs(features).max(1), 1e-12) / 127.0
    small = np.rint(features / scale[:, None]).astype(np.int8)
    stream = io.BytesIO()
    np.savez_compressed(
        stream, features=small, scale=scale.astype(np.float32), labels=labels.astype(np.int16)
    )
    write_whole(folder / FILE, stream.getvalue())


def read_reference(folder: Path, *, width: int, classes: int) -> Reference | None:
    """The reference of the bundle in `folder`; None where it has none. Raises BundleError."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        with np.load(io.BytesIO(read_file(file, MAX_BYTES)), allow_pickle=False) as content:
            small, scale, labels = (content[n] for n in ("features", "scale", "labels"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{file}: cannot be read; copy the bundle again") from error
    count = len(small)
    fits = (
        (small.dtype, scale.dtype, labels.dtype) == (np.int8, np.float32, np.int16)
        and (small.shape, scale.shape, labels.shape) == ((count, width), (count,), (count,))
        and bool(np.isfinite(scale).all())
        and bool(((labels >= -1) & (labels < classes)).all())
    )
    if not fits or not (labels >= 0).any():
        raise BundleError(f"{file}: does not fit the network beside it; copy the bundle again")
    return Reference(
        small.astype(np.float32) * scale[:, None], labels.astype(np.int64), stored=True
    )


def from_memory(memory: MemoryArrays, length: float) -> Reference:
    """Keys of `memory` as features of the usual `length`, as many of one class as of another."""
    owner = memory.values.argmax(0)
    classes = len(memory.values) - 1
    rows = []
    for label in range(classes + 1):
        mine = np.flatnonzero(owner == label)
        most = OF_UNKNOWN if label == classes else max(1, OF_KNOWN // classes)
        rows.append(mine[:: max(1, -(-len(mine) // most))])
    chosen = np.concatenate(rows)
    features = memory.keys[chosen] @ memory.basis
    features *= length / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    labels = np.where(owner[chosen] == classes, -1, owner[chosen])
    return Reference(features.astype(np.float32), labels.astype(np.int64), stored=False)
