"""How good is a model: accuracy by class and by bin, calibration, coverage, unknown objects.

Arithmetic on labels and predictions, with numpy alone, so that an edge box can judge its own
model. The decision is `decide`'s, so that these figures are those of the rows a user gets. Must
not open pictures or run a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Category, Policy, Prediction, Reason, Status, Taxonomy
from sorter.vision.decide import decide

ECE_BINS = 15
"""Equal-width bins of the expected calibration error (Guo et al., 2017)."""

CURVE = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
"""The bin confidences at which coverage and wrong-bin rate are reported."""


@dataclass(frozen=True, slots=True)
class Group:
    """One class or one bin: `n` pictures of it; recall (accuracy on them), precision, F1."""

    name: str
    code: str
    n: int
    recall: float
    precision: float
    f1: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """`n` pictures of `truth` were called `called`."""

    truth: Category
    called: Category
    n: int


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Were `threshold` every bin's: the share sorted, and the share of those in a wrong bin.

    What passes for an unknown object is not sorted at any threshold.
    """

    threshold: float
    coverage: float
    wrong_bin_rate: float


@dataclass(frozen=True, slots=True)
class UnknownFigures:
    """On `n` pictures of no class: the share left unsure, and how well the score tells them.

    `auroc` is the chance that a picture of no class scores above one of a class.
    """

    n: int
    unsure: float
    auroc: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures on `n` labelled pictures, shares in [0, 1].

    `label_accuracy` counts the decision's label, `top1_accuracy` the likeliest class over all
    bins. `ece` is of the probabilities as they come, `ece_uncalibrated` of those before the
    usual temperature. `coverage` is the share sorted, `wrong_bin_rate` the share of those in a
    wrong bin.
    `confusion[t, p]` counts pictures of class t called p.
    """

    n: int
    label_accuracy: float
    top1_accuracy: float
    bin_accuracy: float
    macro_f1: float
    ece: float
    ece_uncalibrated: float
    coverage: float
    wrong_bin_rate: float
    by_class: tuple[Group, ...]
    by_bin: tuple[Group, ...]
    confused: tuple[Confusion, ...]
    curve: tuple[CurvePoint, ...]
    confusion: NDArray[np.int64]
    unknown: UnknownFigures | None = None


def evaluate(
    labels: Sequence[int],
    predictions: Sequence[Prediction],
    taxonomy: Taxonomy,
    policy: Policy,
    *,
    unknown: Sequence[Prediction] = (),
    temperature: float = 1.0,
) -> Evaluation:
    """Judge `predictions` of pictures whose classes, indices of categories, are `labels`.

    `unknown` holds predictions of pictures of no class, if there are any; `temperature` is what
    the model's scores were divided by. Raises ValueError for no pictures, or for lengths that
    differ.
    """
    if not labels or len(labels) != len(predictions):
        raise ValueError(f"{len(labels)} labels for {len(predictions)} predictions")
    decisions = [decide(p, taxonomy, policy) for p in predictions]
    position = {item.code: i for i, item in enumerate(taxonomy.categories)}
    bin_of = np.asarray(taxonomy.bin_indices())
    truth = np.asarray(labels, dtype=np.int64)
    called = np.array([position[d.label.code] for d in decisions], dtype=np.int64)
    placed = np.array([d.bin.number - 1 for d in decisions], dtype=np.int64)
    is_sorted = np.array([d.status is Status.SORTED for d in decisions])
    confidence = np.array([d.bin_confidence for d in decisions])
    familiar = np.array([d.reason is not Reason.UNKNOWN_OBJECT for d in decisions])
    probabilities = np.array([p.probabilities for p in predictions], dtype=np.float64)

    right_bin = placed == bin_of[truth]
    confusion = _count(truth, called, len(taxonomy.categories))
    by_class = _groups(confusion, [(i.name, i.code) for i in taxonomy.categories])
    in_bins = _count(bin_of[truth], placed, len(taxonomy.bins))
    return Evaluation(
        n=len(labels),
        label_accuracy=float((called == truth).mean()),
        top1_accuracy=float((probabilities.argmax(axis=1) == truth).mean()),
        bin_accuracy=float(right_bin.mean()),
        macro_f1=_mean([g.f1 for g, row in zip(by_class, confusion, strict=True) if row.any()]),
        ece=calibration_error(probabilities, truth),
        ece_uncalibrated=calibration_error(_without(temperature, probabilities), truth),
        coverage=float(is_sorted.mean()),
        wrong_bin_rate=_share(~right_bin, is_sorted),
        by_class=by_class,
        by_bin=_groups(in_bins, [(b.name, b.code) for b in taxonomy.bins]),
        confused=_most_confused(confusion, taxonomy),
        curve=tuple(_curve_point(t, familiar & (confidence >= t), ~right_bin) for t in CURVE),
        confusion=confusion,
        unknown=_judge_unknown(predictions, unknown, taxonomy, policy) if unknown else None,
    )


def calibration_error(probabilities: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> float:
    """Expected calibration error of the likeliest class, over `ECE_BINS` equal-width bins."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    slot = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    count = np.bincount(slot, minlength=ECE_BINS)
    gap = np.abs(
        np.bincount(slot, weights=confidence, minlength=ECE_BINS)
        - np.bincount(slot, weights=correct.astype(np.float64), minlength=ECE_BINS)
    )
    return float(gap.sum() / count.sum())


def auroc(positive: NDArray[np.floating[Any]], negative: NDArray[np.floating[Any]]) -> float:
    """The chance that a positive scores above a negative, ties counted half (Mann–Whitney U)."""
    scores = np.concatenate([positive, negative])
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # equal scores share their middle rank
    n = len(positive)
    above = float(rank[:n].sum()) - n * (n + 1) / 2
    return above / (n * len(negative))


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The figures as JSON values, rounded to six places; `unknown` only where it was judged."""
    document: dict[str, Any] = _plain(evaluation)
    return {name: value for name, value in document.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Category):
        return value.name
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _without(temperature: float, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The softmax of the scores themselves: dividing by T took the T-th root of it."""
    powers = probabilities**temperature
    return cast(NDArray[np.float64], powers / powers.sum(axis=1, keepdims=True))


def _curve_point(
    threshold: float, passes: NDArray[np.bool_], wrong: NDArray[np.bool_]
) -> CurvePoint:
    return CurvePoint(threshold, float(passes.mean()), _share(wrong, passes))


def _count(truth: NDArray[Any], called: NDArray[Any], size: int) -> NDArray[np.int64]:
    table = np.zeros((size, size), np.int64)
    np.add.at(table, (truth, called), 1)
    return table


def _groups(table: NDArray[np.int64], names: Sequence[tuple[str, str]]) -> tuple[Group, ...]:
    groups = []
    for i, (name, code) in enumerate(names):
        hit, n, named = int(table[i, i]), int(table[i].sum()), int(table[:, i].sum())
        groups.append(
            Group(
                name=name,
                code=code,
                n=n,
                recall=hit / n if n else 0.0,
                precision=hit / named if named else 0.0,
                f1=2 * hit / (n + named) if n + named else 0.0,
            )
        )
    return tuple(groups)


def _most_confused(
    table: NDArray[np.int64], taxonomy: Taxonomy, limit: int = 10
) -> tuple[Confusion, ...]:
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)]
    return tuple(
        Confusion(taxonomy.categories[i], taxonomy.categories[j], int(wrong[i, j]))
        for i, j in pairs
        if wrong[i, j]
    )


def _judge_unknown(
    known: Sequence[Prediction],
    unknown: Sequence[Prediction],
    taxonomy: Taxonomy,
    policy: Policy,
) -> UnknownFigures:
    unsure = sum(decide(p, taxonomy, policy).status is Status.UNSURE for p in unknown)
    return UnknownFigures(
        n=len(unknown),
        unsure=unsure / len(unknown),
        auroc=auroc(np.array([p.unknown for p in unknown]), np.array([p.unknown for p in known])),
    )


def _share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """The share of `among` that are `hits` as well; 0 among none."""
    return float(hits[among].mean()) if among.any() else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
