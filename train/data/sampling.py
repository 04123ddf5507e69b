"""Which pictures an epoch shows, how often, in which order: a function of seed and epoch alone.

Owns balance between classes, sources and photograph groups. Must not open pictures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sorter.errors import UsageError
from train.config import Config
from train.data.corpus import UNKNOWN, Example

Rows = NDArray[np.int64]
_K = TypeVar("_K")


def random_stream(*key: int) -> np.random.Generator:
    """A generator that depends on `key` only, so that any step can be redone exactly."""
    return np.random.default_rng(np.random.SeedSequence(list(key)))


def weights(examples: Sequence[Example], config: Config) -> NDArray[np.float64]:
    """How many times an epoch should show each labelled example, before any rounding.

    A group of n pictures counts n, √n or 1. Within that, classes and sources are drawn towards
    equal shares: a share s becomes s^(1 − balance). `data_share` then gives DATA's own pictures
    that share of each class that other sources have too; 0 leaves them as they are.
    """
    size = Counter((e.label, e.group) for e in examples)
    power = {"all": 0.0, "sqrt": 0.5, "one": 1.0}[config.group_weight]
    base = np.array([size[e.label, e.group] ** -power for e in examples])
    total = base.sum()
    by_class: dict[int, float] = defaultdict(float)
    by_source: dict[tuple[int, str], float] = defaultdict(float)
    for example, weight in zip(examples, base, strict=True):
        by_class[example.label] += weight
        by_source[example.label, example.source] += weight
    class_share = _soften(by_class, config.balance_class)
    share = np.empty(len(examples))
    for label, whole in class_share.items():
        inside = _soften(
            {k: v for k, v in by_source.items() if k[0] == label}, config.balance_source
        )
        inside = _favour(inside, (label, ""), config.data_share)
        for i, example in enumerate(examples):
            if example.label == label:
                key = (label, example.source)
                share[i] = base[i] / by_source[key] * inside[key] * whole
    return np.asarray(share * total, np.float64)


def draw(weight: NDArray[np.float64], count: int, stream: np.random.Generator) -> Rows:
    """`count` positions, each within one of its expected number (systematic sampling), shuffled."""
    if not count:
        return np.zeros(0, np.int64)
    edges = np.cumsum(weight / weight.sum()) * count
    edges[-1] = count
    chosen = np.searchsorted(edges, np.arange(count) + stream.random(), side="right")
    return stream.permutation(np.minimum(chosen, len(weight) - 1)).astype(np.int64)


def even_rows(labels: Rows, rows: Rows, config: Config) -> Rows:
    """About `calibration_size` of `rows`, for INT8 ranges: as many of each class as can be."""
    stream = random_stream(config.seed, 5)
    kinds = sorted(set(labels[rows].tolist()))
    each = max(1, config.calibration_size // max(1, len(kinds)))
    return np.concatenate([stream.permutation(rows[labels[rows] == k])[:each] for k in kinds])


def epoch_rows(examples: Sequence[Example], rows: Rows, config: Config, epoch: int) -> Rows:
    """The rows (of those in `rows`) that epoch number `epoch` shows, in order."""
    stream = random_stream(config.seed, 1, epoch)
    known = np.array([r for r in rows if examples[r].label != UNKNOWN], np.int64)
    unknown = np.array([r for r in rows if examples[r].label == UNKNOWN], np.int64)
    weight = weights([examples[r] for r in known], config)
    # Members of a group lie together, in a fresh order, so that drawing takes turns among them.
    names = [f"{examples[r].label} {examples[r].group}" for r in known]
    ids = np.unique(names, return_inverse=True)[1]
    turn = stream.permutation(len(known))
    order = turn[np.argsort(ids[turn], kind="stable")]
    count = config.epoch_size or max(1, round(float(weight.sum())))
    chosen = known[order][draw(weight[order], count, stream)]
    if len(unknown) and config.unknown_share:
        extra = round(count * config.unknown_share / max(1e-6, 1 - config.unknown_share))
        plain = weights([examples[r] for r in unknown], config)
        chosen = np.concatenate([chosen, unknown[draw(plain, extra, stream)]])
        chosen = stream.permutation(chosen)
    return chosen


def epoch_batches(
    examples: Sequence[Example], rows: Rows, config: Config, epoch: int, *, world: int = 1
) -> list[Rows]:
    """The epoch's rows step by step, enough in each for `world` processes.

    Batch norm cannot learn from one picture: a small rest is left out. Raises UsageError where
    every step is too small.
    """
    shown = epoch_rows(examples, rows, config, epoch)
    parts = [shown[i : i + config.batch] for i in range(0, len(shown), config.batch)]
    least = 2 * world
    if len(parts) > 1 and len(parts[-1]) < max(least, config.batch // 4):
        parts = parts[:-1]
    if len(parts[-1]) < least:
        raise UsageError(
            f"a step has {len(parts[-1])} pictures and needs {least}; raise --batch, or epoch_size "
            "where that is set"
        )
    return parts


def _soften(mass: dict[_K, float], balance: float) -> dict[_K, float]:
    """Shares that sum to 1, drawn towards equality by `balance`."""
    total = sum(mass.values())
    soft = {key: (value / total) ** (1.0 - balance) for key, value in mass.items()}
    whole = sum(soft.values())
    return {key: value / whole for key, value in soft.items()}


def _favour(shares: dict[_K, float], key: _K, share: float) -> dict[_K, float]:
    """`shares` with `share` for `key` and the rest scaled to what is left."""
    rest = sum(v for k, v in shares.items() if k != key)
    if not share or key not in shares or not rest:
        return shares
    return {k: share if k == key else v / rest * (1.0 - share) for k, v in shares.items()}
