"""The decision, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sorter.domain import Policy, Prediction, Reason, Status
from sorter.errors import UsageError
from sorter.vision.decide import average, decide, with_min_confidence
from tests.support.tiny import taxonomy3

TAXONOMY = taxonomy3()  # can → metal; peel, pill → rest
POLICY = Policy((0.7, 0.6), unknown_threshold=0.5)


def test_a_bin_is_the_sum_of_its_classes() -> None:
    """The likeliest class alone is a can, but peel and pill together outweigh it."""
    found = decide(Prediction((0.4, 0.32, 0.28)), TAXONOMY, POLICY)
    assert (found.bin.key, found.label.code, found.status) == ("rest", "0101", Status.SORTED)
    assert found.confidence == 0.32
    assert found.bin_confidence == pytest.approx(0.6)
    assert [item.code for item, _ in found.top] == ["0001", "0101", "0102"]


def test_each_bin_has_its_own_threshold() -> None:
    unsure = decide(Prediction((0.65, 0.2, 0.15)), TAXONOMY, POLICY)
    assert (unsure.status, unsure.reason) == (Status.UNSURE, Reason.LOW_CONFIDENCE)
    assert unsure.bin.key == "metal"
    sure = decide(Prediction((0.35, 0.4, 0.25)), TAXONOMY, POLICY)
    assert sure.status is Status.SORTED


@pytest.mark.parametrize("score", [0.51, 1.0, math.nan])
def test_a_unknown_object_is_unsure_however_sure_the_softmax(score: float) -> None:
    found = decide(Prediction((1.0, 0.0, 0.0), score), TAXONOMY, POLICY)
    assert (found.status, found.reason) == (Status.UNSURE, Reason.UNKNOWN_OBJECT)


def test_an_empty_tray_is_told_before_a_unknown_object() -> None:
    policy = Policy((0.7, 0.6), unknown_threshold=0.5, empty_threshold=0.9)
    empty = Prediction((1.0, 0.0, 0.0), unknown=0.9, empty=0.95)
    assert decide(empty, TAXONOMY, policy).reason is Reason.EMPTY
    assert decide(empty, TAXONOMY, POLICY).reason is Reason.UNKNOWN_OBJECT  # Nobody taught it.
    unknown = Prediction((1.0, 0.0, 0.0), unknown=0.9, empty=0.9)
    assert decide(unknown, TAXONOMY, policy).reason is Reason.UNKNOWN_OBJECT


def test_a_score_at_the_threshold_is_enough() -> None:
    policy = Policy((0.75, 0.5), unknown_threshold=0.5)
    assert decide(Prediction((0.75, 0.25, 0.0), 0.5), TAXONOMY, policy).status is Status.SORTED


def test_a_burst_is_the_mean_of_its_pictures() -> None:
    mean = average([Prediction((1.0, 0.0, 0.0), 0.2), Prediction((0.0, 0.5, 0.5), 0.4)])
    assert mean.probabilities == (0.5, 0.25, 0.25)
    assert mean.unknown == pytest.approx(0.3)
    with pytest.raises(ValueError, match="no predictions"):
        average([])


def test_lengths_must_fit() -> None:
    with pytest.raises(ValueError, match="2 probabilities for 3 classes"):
        decide(Prediction((0.5, 0.5)), TAXONOMY, POLICY)


def test_a_users_confidence_replaces_every_threshold() -> None:
    assert with_min_confidence(POLICY, 0.3).bin_thresholds == (0.3, 0.3)
    with pytest.raises(UsageError, match="--min-confidence"):
        with_min_confidence(POLICY, 1.5)


def test_a_risky_bin_lowers_the_score_of_the_others_and_says_so() -> None:
    risky = replace(TAXONOMY, bins=(TAXONOMY.bins[0], replace(TAXONOMY.bins[1], risk=5.0)))
    prediction, policy = Prediction((0.97, 0.03, 0.0)), Policy((0.9, 0.9), 1.0)
    assert decide(prediction, TAXONOMY, policy).status is Status.SORTED
    held = decide(prediction, risky, policy)  # 0.97 − 0.03 · 4 = 0.85
    assert (held.status, held.reason, held.bin_confidence) == (Status.UNSURE, Reason.RISK, 0.97)
    # The risky bin itself loses nothing by it.
    assert decide(Prediction((0.03, 0.97, 0.0)), risky, policy).status is Status.SORTED
