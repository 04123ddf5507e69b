"""From scores on pictures never trained on: temperature, thresholds, the out-of-distribution score.

Arithmetic with numpy alone. Must not train or open pictures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Policy, Taxonomy
from sorter.errors import ModelError
from sorter.vision.metadata import MAX_TEMPERATURE
from train.config import Config
from train.data.corpus import UNKNOWN

Array = NDArray[np.float64]

UNKNOWN_WEIGHTS = 6
"""Numbers in `Calibration.unknown`."""
SLOPE_WEIGHTS = 4
"""Numbers in `Calibration.slope`."""
MAX_OFFSET = 1.0
"""A picture's temperature is at most e times the usual one, and at least an e-th of it."""
_SMALL_SITE = 20
_DOUBT = 3.0
"""About how many pictures it takes to trust a slope; with few there is none."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a release carries beside its weights.

    `temperature` is the usual one. A picture's own is that times the exponential of `slope` on (1,
    the memory's evidence for any class, and for none, log of the largest probability): one number
    does not suit both a picture like those learnt from and one unlike them.

    `unknown` weighs (1, own score, log-sum-exp, log of the largest probability, the memory's
    evidence for any class, and for none) of the raw scores; a logistic function of the sum is the
    out-of-distribution score.
    """

    temperature: float
    bin_thresholds: tuple[float, ...]
    unknown_threshold: float
    unknown: tuple[float, ...]
    slope: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    @property
    def policy(self) -> Policy:
        """The thresholds as the edge knows them."""
        return Policy(self.bin_thresholds, self.unknown_threshold)


def calibrate(
    scores: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    taxonomy: Taxonomy,
    config: Config,
    *,
    sites: Sequence[str] = (),
) -> Calibration:
    """Fit everything to raw scores (N, C, C + 1 or C + 3), `labels` with `UNKNOWN` for no class.

    `sites` says where each picture comes from. Every site then counts the same, however many
    pictures it has: the promise is made to the next site, not to the next picture of a large one.
    Raises ModelError for scores that no temperature of a bundle makes probabilities of.
    """
    values: Array = np.asarray(scores, np.float64)
    classes = len(taxonomy.categories)
    known = labels != UNKNOWN
    weight = site_weights(sites or [""] * len(labels))
    start = fit_temperature(values[known, :classes], labels[known], weight[known])
    temperature, slope = _fit_slope(values[known], labels[known], classes, start, weight[known])
    if not 0.0 < temperature <= MAX_TEMPERATURE:  # nor is nan
        raise ModelError(
            f"the training diverged: scores of up to {np.abs(values).max():.0e} make no "
            f"probabilities; begin again with a lower --lr (it is {config.lr:g})"
        )
    unknown = _fit_unknown(values, known, classes, weight)
    scores_unknown = unknown_score(values, classes, unknown)
    probabilities = calibrated(values, classes, temperature, slope)
    limit = _quantile(scores_unknown[known], 1.0 - config.known_lost, weight[known])
    limit = min(1.0, limit + 1e-6)
    thresholds = bin_thresholds(
        probabilities[known],
        labels[known],
        scores_unknown[known] <= limit,
        taxonomy,
        config,
        weight=weight[known],
    )
    return Calibration(temperature, thresholds, limit, unknown, slope)


def site_weights(sites: Sequence[str]) -> Array:
    """What each picture counts so that every site counts the same; 1 on average.

    A site of few pictures counts as if it had `_SMALL_SITE`, lest one of them decide alone.
    """
    _, place, count = np.unique(np.asarray(sites), return_inverse=True, return_counts=True)
    weight = 1.0 / np.maximum(count, _SMALL_SITE)[place]
    return cast(Array, weight / weight.mean())


def calibrated(
    scores: NDArray[np.floating[Any]], classes: int, temperature: float, slope: tuple[float, ...]
) -> Array:
    """Probabilities (N, C) of raw scores, each row at its own temperature."""
    offset = np.clip(_slope_features(scores, classes) @ np.array(slope), -MAX_OFFSET, MAX_OFFSET)
    inside = np.asarray(scores[:, :classes], np.float64)
    return softmax(inside / (temperature * np.exp(offset))[:, None])


def fit_temperature(scores: Array, labels: NDArray[np.int64], weight: Array | None = None) -> float:
    """The temperature of least negative log-likelihood (Guo et al., 2017), by golden section."""
    rows = np.arange(len(labels))

    def cost(log_t: float) -> float:
        scaled = scores / np.exp(log_t)
        return float(np.average(_log_sum_exp(scaled) - scaled[rows, labels], weights=weight))

    low, high, ratio = np.log(0.1), np.log(10.0), (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(60):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if cost(a) < cost(b):
            high = b
        else:
            low = a
    return float(np.exp((low + high) / 2))


def bin_thresholds(
    probabilities: Array,
    labels: NDArray[np.int64],
    eligible: NDArray[np.bool_],
    taxonomy: Taxonomy,
    config: Config,
    *,
    weight: Array | None = None,
) -> tuple[float, ...]:
    """For each bin the lowest score above which mistakes cost at most `wrong_bin_rate` a picture.

    A mistake costs the risk of the bin that the item belongs to. `eligible` pictures are those
    the out-of-distribution score would let pass, `weight` (N,) what each counts. A bin that cannot
    be told keeps a threshold that only its surest tenth passes.
    """
    bin_of = np.asarray(taxonomy.bin_indices())
    risk = np.array([b.risk for b in taxonomy.bins])
    weight = np.ones(len(labels)) if weight is None else weight
    in_bins = np.stack([probabilities[:, bin_of == b].sum(1) for b in range(len(taxonomy.bins))], 1)
    placed = in_bins.argmax(1)
    # As `sorter.vision.decide` does: what a mistake would cost beyond 1 lowers the score.
    extra = (in_bins * (risk - 1.0)).sum(1) - in_bins.max(1) * (risk - 1.0)[placed]
    score = in_bins.max(1) - extra
    result = []
    for b in range(len(taxonomy.bins)):
        mine = (placed == b) & eligible
        if not mine.any():
            result.append(max(config.min_threshold, 0.9))
            continue
        order = np.argsort(-score[mine], kind="stable")
        sure = score[mine][order]
        truth, counts = bin_of[labels[mine][order]], weight[mine][order]
        rates = np.cumsum((truth != b) * risk[truth] * counts) / np.cumsum(counts)
        fine = np.flatnonzero(rates <= config.wrong_bin_rate)
        last = int(fine[-1]) if len(fine) else max(0, len(sure) // 10 - 1)
        below = sure[last + 1] if last + 1 < len(sure) else 0.0
        result.append(float(np.clip((sure[last] + below) / 2, config.min_threshold, 0.9999)))
    return tuple(result)


def unknown_score(
    scores: NDArray[np.floating[Any]], classes: int, weights: tuple[float, ...]
) -> Array:
    """The out-of-distribution score in [0, 1] of each row of raw scores."""
    return cast(
        Array, 1.0 / (1.0 + np.exp(-_unknown_features(scores, classes) @ np.array(weights)))
    )


def softmax(scores: Array) -> Array:
    """Along the last axis."""
    return cast(Array, np.exp(scores - _log_sum_exp(scores)[:, None]))


def from_json(text: str) -> Calibration:
    """Read what `to_json` wrote."""
    document = json.loads(text)
    unknown = [float(w) for w in document["unknown"]]
    slope = [float(w) for w in document.get("slope", (0.0,) * SLOPE_WEIGHTS)]
    if len(unknown) == 4:  # checkpoints from before there was a memory
        unknown += [0.0, 0.0]
    if (len(unknown), len(slope)) != (UNKNOWN_WEIGHTS, SLOPE_WEIGHTS):
        raise ValueError(f"a calibration of {len(unknown)} and {len(slope)} weights")
    return Calibration(
        float(document["temperature"]),
        tuple(float(t) for t in document["bin_thresholds"]),
        float(document["unknown_threshold"]),
        tuple(unknown),
        tuple(slope),
    )


def to_json(calibration: Calibration) -> str:
    """The values as JSON text."""
    return json.dumps(asdict(calibration))


def _slope_features(scores: NDArray[np.floating[Any]], classes: int) -> Array:
    return _unknown_features(scores, classes)[:, [0, 4, 5, 3]]


def _fit_slope(
    scores: Array, labels: NDArray[np.int64], classes: int, start: float, weight: Array
) -> tuple[float, tuple[float, ...]]:
    """Least negative log-likelihood over the slope: Newton's steps from one temperature for all.

    The curvature is that of the likelihood where the labels are as the probabilities say, which
    is never negative.
    """
    features = _slope_features(scores, classes)
    middle, spread = features.mean(0), features.std(0)
    middle[0], spread[0] = 0.0, 1.0
    spread[spread < 1e-9] = np.inf  # a score that this network does not give
    x = (features - middle) / spread
    rows, inside = np.arange(len(labels)), scores[:, :classes]
    w, ridge, share = np.zeros(SLOPE_WEIGHTS), _DOUBT / len(labels), weight / weight.sum()

    def scale(w: Array) -> Array:
        offset = np.clip(x[:, 1:] @ w[1:], -MAX_OFFSET, MAX_OFFSET)
        heat = start * np.exp(w[0] + offset)
        return cast(Array, inside / heat[:, None])

    def cost(w: Array) -> float:
        scaled = scale(w)
        loss = np.average(_log_sum_exp(scaled) - scaled[rows, labels], weights=weight)
        return float(loss + ridge * w @ w / 2)

    for _ in range(50):
        scaled = scale(w)
        p = softmax(scaled)
        mean = (p * scaled).sum(1)
        gradient = x.T @ (share * (scaled[rows, labels] - mean)) + ridge * w
        variance = (p * np.square(scaled - mean[:, None])).sum(1)
        curvature = (x * (share * variance)[:, None]).T @ x + ridge * np.eye(SLOPE_WEIGHTS)
        step = np.clip(np.linalg.solve(curvature, gradient), -0.5, 0.5)
        now = cost(w)
        while cost(w - step) > now and np.abs(step).max() > 1e-6:
            step /= 2
        w = w - step
    slope = w / spread
    slope[0] = -float((slope[1:] * middle[1:]).sum())
    return start * float(np.exp(w[0])), tuple(slope.tolist())


def _unknown_features(scores: NDArray[np.floating[Any]], classes: int) -> Array:
    inside = np.asarray(scores[:, :classes], np.float64)
    whole = _log_sum_exp(inside)
    rest = np.zeros((len(scores), 3))
    rest[:, : scores.shape[1] - classes] = scores[:, classes:]
    columns = [
        np.ones(len(scores)),
        rest[:, 0],
        whole,
        inside.max(1) - whole,
        rest[:, 1],
        rest[:, 2],
    ]
    return np.stack(columns, 1)


def _quantile(values: Array, share: float, weight: Array) -> float:
    """The value that `share` of the weight lies at or below."""
    order = np.argsort(values)
    passed = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(passed, share)), len(values) - 1)])


def _fit_unknown(
    scores: Array, known: NDArray[np.bool_], classes: int, pictures: Array
) -> tuple[float, ...]:
    """Logistic regression, both kinds weighing the same; without unknown pictures, an energy."""
    features = _unknown_features(scores, classes)
    if known.all():
        energy = features[:, 2]
        middle, spread = float(energy.mean()), float(energy.std()) or 1.0
        # Two spreads below a usual picture's energy is even chance (Liu et al., 2020).
        return ((middle - 2.0 * spread) / spread, 0.0, -1.0 / spread, 0.0, 0.0, 0.0)
    mean, std = features.mean(0), features.std(0)
    mean[0], std[0] = 0.0, 1.0
    std[std < 1e-9] = 1.0
    x = (features - mean) / std
    y = (~known).astype(np.float64)
    share = pictures[known].sum() / pictures.sum()
    weight = pictures / pictures.mean() * np.where(known, 0.5 / share, 0.5 / (1.0 - share))
    w = np.zeros(UNKNOWN_WEIGHTS)
    for _ in range(50):  # Newton's steps
        p = 1.0 / (1.0 + np.exp(-x @ w))
        gradient = x.T @ (weight * (p - y)) / len(y) + 1e-3 * w
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x / len(y) + 1e-3 * np.eye(
            UNKNOWN_WEIGHTS
        )
        w -= np.linalg.solve(curvature, gradient)
    slope = w / std
    slope[0] = w[0] - float((w[1:] * mean[1:] / std[1:]).sum())
    return tuple(slope.tolist())


def _log_sum_exp(scores: Array) -> Array:
    top = scores.max(1)
    return cast(Array, top + np.log(np.exp(scores - top[:, None]).sum(1)))
