"""Probabilities become a decision: sum by bin, take the largest, compare with its threshold.

Pure: no clock, no file, no array library.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace

from sorter.domain import Decision, Policy, Prediction, Reason, Status, Taxonomy
from sorter.errors import UsageError


def decide(prediction: Prediction, taxonomy: Taxonomy, policy: Policy) -> Decision:
    """The bin with the largest summed probability, and the likeliest class inside it.

    `sorted` where the bin's sum, less what the other bins' risk adds to a mistake, reaches its
    threshold and neither the out-of-distribution score nor that of an empty tray passes its own;
    `unsure` otherwise, for the first reason that holds: the empty tray (a unknown sight too), the
    unknown object, the score. Equal scores go to the earlier bin or class.

    Raises ValueError where the lengths of probabilities, classes, bins and thresholds differ.

    >>> from sorter.taxonomy import default_taxonomy
    >>> likely = Prediction((0.5, 0.46) + (0.04,) + (0.0,) * 23)  # bottle, hats, newspaper
    >>> made = decide(likely, default_taxonomy(), Policy((0.9,) * 4))
    >>> made.status, made.label.name, made.confidence, made.bin.name, made.bin_confidence
    (<Status.SORTED: 'sorted'>, 'Plastic Bottle', 0.5, 'Recyclable', 1.0)
    """
    scores = prediction.probabilities
    if len(scores) != len(taxonomy.categories) or len(policy.bin_thresholds) != len(taxonomy.bins):
        raise ValueError(
            f"{len(scores)} probabilities for {len(taxonomy.categories)} classes, "
            f"{len(policy.bin_thresholds)} thresholds for {len(taxonomy.bins)} bins"
        )
    bin_of = taxonomy.bin_indices()
    sums = [0.0] * len(taxonomy.bins)
    for position, score in zip(bin_of, scores, strict=True):
        sums[position] += score
    # A bin without a class sums to 0 and must not win a tie: only bins of some class are asked.
    winner = max(sorted(set(bin_of)), key=sums.__getitem__)
    members = [i for i, position in enumerate(bin_of) if position == winner]
    label = max(members, key=scores.__getitem__)
    bin_score = min(sums[winner], 1.0)  # floats may sum to a hair above 1
    reason = Reason.NONE
    if prediction.empty > policy.empty_threshold:
        reason = Reason.EMPTY
    elif not prediction.unknown <= policy.unknown_threshold:  # so that NaN is unknown too
        reason = Reason.UNKNOWN_OBJECT
    elif not bin_score >= policy.bin_thresholds[winner]:
        reason = Reason.LOW_CONFIDENCE
    elif not bin_score - _extra_risk(sums, taxonomy, winner) >= policy.bin_thresholds[winner]:
        reason = Reason.RISK
    best = heapq.nsmallest(policy.top, range(len(scores)), key=lambda i: (-scores[i], i))
    return Decision(
        status=Status.SORTED if reason is Reason.NONE else Status.UNSURE,
        label=taxonomy.categories[label],
        confidence=scores[label],
        bin=taxonomy.bins[winner],
        bin_confidence=bin_score,
        reason=reason,
        unknown=prediction.unknown,
        top=tuple((taxonomy.categories[i], scores[i]) for i in best),
    )


def _extra_risk(sums: Sequence[float], taxonomy: Taxonomy, winner: int) -> float:
    """The expected cost of this bin beyond 1 per mistake: 0 where every bin's risk is 1."""
    others = (i for i in range(len(sums)) if i != winner)
    return sum(sums[i] * (taxonomy.bins[i].risk - 1.0) for i in others)


def average(predictions: Sequence[Prediction]) -> Prediction:
    """The mean of several pictures of one item, class by class, the other scores included.

    Raises ValueError for no pictures or for pictures of different models.
    """
    if not predictions:
        raise ValueError("no predictions to average")
    if len(predictions) == 1:
        return predictions[0]
    count = len(predictions)
    columns = zip(*(p.probabilities for p in predictions), strict=True)
    return Prediction(
        probabilities=tuple(sum(column) / count for column in columns),
        unknown=sum(p.unknown for p in predictions) / count,
        empty=sum(p.empty for p in predictions) / count,
    )


def with_min_confidence(policy: Policy, p: float) -> Policy:
    """`policy` with `p` as every bin's threshold. Raises UsageError unless 0 ≤ p ≤ 1."""
    if not 0.0 <= p <= 1.0:
        raise UsageError(f"--min-confidence {p}: must be from 0 to 1")
    return replace(policy, bin_thresholds=(p,) * len(policy.bin_thresholds))
