"""Which pictures show the same photograph: equal bytes, equal looks, or matched keypoints.

A crop, a flip, a shear or a zoom of a photograph keeps its local features; so pictures of one
class are compared by SIFT keypoints (Lowe, 2004) of the picture and of its mirror image, and a
pair counts when one affine map explains enough of the matches (RANSAC). Pictures of different
classes are compared by bytes, by a difference hash and, where that agrees, by their pixels.
Owns the comparing; reads pictures, writes nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sorter.errors import ImageError
from sorter.vision import images

SIDE_PX = 256
"""Side at which pictures are compared."""

KEYPOINTS = 160
RATIO = 0.85
"""A match counts where the best is this much nearer than the second best (Lowe's ratio)."""

MIN_INLIERS = 12
MIN_SHARE = 0.35
HASH_SIDE = 16
HASH_BITS_APART = 14
"""Of 256 bits; photographs of different things differ in about half."""


SMALL_SIDE_PX = 24
PIXELS_APART = 0.08
"""Mean difference of a pair of two classes, in units of the brightness's spread: thin things on
white have equal hashes and 0.16 or more (493 pairs measured), one picture saved again 0.05 or
less."""


class Kind(StrEnum):
    """How a pair was found, surest first."""

    SAME_BYTES = "same_bytes"
    SAME_LOOK = "same_look"
    SAME_PHOTOGRAPH = "same_photograph"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two pictures, by their positions, that show one photograph; `score` grows with certainty."""

    first: int
    second: int
    kind: Kind
    score: float


@dataclass(frozen=True, slots=True)
class _Look:
    digest: str
    small: NDArray[np.float32]
    hash_: NDArray[np.bool_]
    mirrored: NDArray[np.bool_]
    points: NDArray[np.float32]
    features: NDArray[np.float32]
    mirror_points: NDArray[np.float32]
    mirror_features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """All links, the pictures that could not be read (position → why), and whether keypoints were
    compared (they need OpenCV, of the `train` extra)."""

    links: tuple[Duplicate, ...]
    unreadable: dict[int, str]
    keypoints: bool


def has_keypoints() -> bool:
    """True where OpenCV is installed."""
    return importlib.util.find_spec("cv2") is not None


def find_links(
    paths: Sequence[Path],
    labels: Sequence[int],
    *,
    keypoints: bool | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Found:
    """Compare all of `paths`; keypoints only among equal `labels`.

    `tick(done, total)` is told the progress. Unreadable pictures are compared with none.
    """
    use = has_keypoints() if keypoints is None else keypoints
    looks: dict[int, _Look] = {}
    unreadable: dict[int, str] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for i, look in enumerate(pool.map(lambda p: _look(p, use), paths)):
            if isinstance(look, str):
                unreadable[i] = look
            else:
                looks[i] = look
            if tick:
                tick(i + 1, 2 * len(paths))
    found: dict[tuple[int, int], Duplicate] = {}
    for link in (*_same_bytes(looks), *_same_look(looks, labels)):
        found.setdefault((link.first, link.second), link)
    if use:
        by_label: dict[int, list[int]] = defaultdict(list)
        for i in looks:
            by_label[labels[i]].append(i)
        done = len(paths)
        for members in by_label.values():
            for link in _same_photograph(members, looks):
                found.setdefault((link.first, link.second), link)
            done += len(members)
            if tick:
                tick(done, 2 * len(paths))
    return Found(tuple(sorted(found.values(), key=lambda x: (x.first, x.second))), unreadable, use)


def groups_of(count: int, links: Sequence[Duplicate]) -> list[int]:
    """For each of `count` pictures the number of its group: linked pictures share one."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for link in links:
        a, b = root(link.first), root(link.second)
        parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(count)]


def _look(path: Path, keypoints: bool) -> _Look | str:
    try:
        data = images.read(path)
        pixels = images.decode(data, SIDE_PX).pixels
    except ImageError as error:
        return str(error)
    grey = (pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    none = np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    here, mirror = (_sift(grey), _sift(grey[:, ::-1])) if keypoints else (none, none)
    digest = hashlib.sha256(data).hexdigest()
    return _Look(digest, _small(pixels), _hash(grey), _hash(grey[:, ::-1]), *here, *mirror)


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    from PIL import Image

    image = Image.fromarray(pixels).resize((SMALL_SIDE_PX, SMALL_SIDE_PX), Image.Resampling.BOX)
    return np.asarray(image).astype(np.float32)


def _same_pixels(a: _Look, b: _Look) -> bool:
    spread = max(float(a.small.std()), float(b.small.std()), 1e-6)
    apart = min(np.abs(a.small - other).mean() for other in (b.small, b.small[:, ::-1]))
    return float(apart) <= PIXELS_APART * spread


def _hash(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Does brightness grow from one cell to the next? 16 × 16 bits."""
    from PIL import Image

    small = Image.fromarray(np.ascontiguousarray(grey)).resize((HASH_SIDE + 1, HASH_SIDE))
    cells = np.asarray(small).astype(np.int16)
    return (cells[:, 1:] > cells[:, :-1] + 1).ravel()


def _sift(grey: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    cv2: Any = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    finder = cv2.SIFT_create(nfeatures=KEYPOINTS, contrastThreshold=0.02)
    points, features = finder.detectAndCompute(np.ascontiguousarray(grey), None)
    if features is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    points, features = points[:KEYPOINTS], features[:KEYPOINTS]
    # Root-SIFT (Arandjelović and Zisserman, 2012): dot products become a better likeness.
    features = np.sqrt(features / np.maximum(features.sum(1, keepdims=True), 1e-9))
    return np.array([p.pt for p in points], np.float32), features.astype(np.float32)


def _same_bytes(looks: dict[int, _Look]) -> list[Duplicate]:
    by_digest: dict[str, list[int]] = defaultdict(list)
    for i, look in looks.items():
        by_digest[look.digest].append(i)
    return [
        Duplicate(same[0], other, Kind.SAME_BYTES, 1.0)
        for same in by_digest.values()
        for other in same[1:]
    ]


def _same_look(looks: dict[int, _Look], labels: Sequence[int]) -> list[Duplicate]:
    order = list(looks)
    if len(order) < 2:
        return []
    # Bits as ±1: the dot product counts agreements minus disagreements.
    here = np.stack([looks[i].hash_ for i in order]).astype(np.float32) * 2 - 1
    mirror = np.stack([looks[i].mirrored for i in order]).astype(np.float32) * 2 - 1
    busy = np.abs(here.mean(1)) < 0.8  # A blank picture looks like every other blank one.
    bits = HASH_SIDE * HASH_SIDE
    links = []
    for at in range(0, len(order), 1024):
        block = here[at : at + 1024]
        apart = (bits - np.maximum(block @ here.T, block @ mirror.T)) / 2
        for a, b in np.argwhere(apart <= HASH_BITS_APART):
            first, second = int(at + a), int(b)
            if first < second and busy[first] and busy[second]:
                i, j = order[first], order[second]
                if labels[i] == labels[j] or _same_pixels(looks[i], looks[j]):
                    score = 1.0 - float(apart[a, b]) / bits
                    links.append(Duplicate(i, j, Kind.SAME_LOOK, score))
    return links


def _same_photograph(members: Sequence[int], looks: dict[int, _Look]) -> list[Duplicate]:
    """Pairs among `members` whose keypoints one affine map explains."""
    count = len(members)
    table = np.zeros((count, KEYPOINTS, 128), np.float32)
    for k, i in enumerate(members):
        table[k, : len(looks[i].features)] = looks[i].features
    links = []
    for k, i in enumerate(members[:-1]):
        look, others = looks[i], table[k + 1 :]
        best: dict[int, float] = {}
        for points, features in (
            (look.points, look.features),
            (look.mirror_points, look.mirror_features),
        ):
            if len(features) < MIN_INLIERS:
                continue
            for j, score in _match(points, features, others, members[k + 1 :], looks):
                best[j] = max(score, best.get(j, 0.0))
        links += [Duplicate(i, j, Kind.SAME_PHOTOGRAPH, score) for j, score in best.items()]
    return links


def _match(
    points: NDArray[np.float32],
    features: NDArray[np.float32],
    others: NDArray[np.float32],
    names: Sequence[int],
    looks: dict[int, _Look],
) -> list[tuple[int, float]]:
    """(other, inliers) for those of `others` (n, KEYPOINTS, 128) that match."""
    likeness = others.reshape(-1, 128) @ features.T
    likeness = likeness.reshape(len(others), KEYPOINTS, len(features))
    nearest = likeness.argmax(1)
    two = np.partition(likeness, KEYPOINTS - 2, axis=1)[:, -2:, :]
    # On the unit sphere the squared distance is 2 − 2·likeness.
    far, near = np.sqrt(np.clip(2 - 2 * two, 0, None)).transpose(1, 0, 2)
    good = near < RATIO * far
    matches = []
    for k in np.flatnonzero(good.sum(1) >= MIN_INLIERS):
        mine = np.flatnonzero(good[k])
        theirs = nearest[k, mine]
        # One keypoint of theirs, one of ours: the nearest.
        keep = np.unique(theirs[np.argsort(near[k, mine], kind="stable")], return_index=True)[1]
        mine = mine[np.argsort(near[k, mine], kind="stable")][keep]
        theirs = nearest[k, mine]
        if len(mine) < MIN_INLIERS:
            continue
        inliers = _explained(points[mine], looks[names[int(k)]].points[theirs])
        if inliers >= MIN_INLIERS and inliers >= MIN_SHARE * len(mine):
            matches.append((names[int(k)], float(inliers)))
    return matches


def _explained(here: NDArray[np.float32], there: NDArray[np.float32]) -> int:
    """How many pairs of points one plausible affine map explains."""
    cv2: Any = importlib.import_module("cv2")
    cv2.setRNGSeed(0)
    matrix, inside = cv2.estimateAffine2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=4.0, maxIters=500
    )
    if matrix is None:
        return 0
    sizes = np.linalg.svd(matrix[:, :2], compute_uv=False)
    # A zoom beyond four times, or a picture squeezed flat, is a chance agreement.
    if sizes[1] < 0.25 or sizes[0] > 4.0 or sizes[0] / sizes[1] > 3.0:
        return 0
    spread = here[inside.ravel() == 1]
    distinct = np.unique(np.round(spread / 6), axis=0)
    return min(len(distinct), int(inside.sum()))
