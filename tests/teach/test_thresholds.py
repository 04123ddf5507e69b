"""Thresholds rise where audited items prove them too low, and never fall."""

from __future__ import annotations

import pytest

from sorter.audit import lower_bound
from sorter.domain import Decision, Policy, Reason, Status
from sorter.teach.thresholds import PROMISED, raise_thresholds
from tests.support.tiny import taxonomy3

WORDS = taxonomy3()
CAN = WORDS.categories[0]
POLICY = Policy(tuple(0.6 for _ in WORDS.bins))


def sorted_as_can(*scores: float) -> list[Decision]:
    bin_ = WORDS.bin_of(CAN)
    return [Decision(Status.SORTED, CAN, s, bin_, s, Reason.NONE) for s in scores]


@pytest.mark.parametrize(
    ("right", "wrong", "after"),
    [
        ([0.9] * 40, [], 0.6),
        ([0.9] * 40, [0.7], 0.6),  # one alone shows nothing
        ([0.9] * 40, [0.7, 0.71, 0.72], 0.7),
        ([0.9] * 400, [0.7, 0.71, 0.72], 0.6),  # no more than was promised
        ([], [0.99999] * 9, 0.9999),
    ],
)
def test_they_rise_as_far_as_what_was_found_asks(
    right: list[float], wrong: list[float], after: float
) -> None:
    decisions = sorted_as_can(*right, *wrong)
    truths = [CAN.bin] * len(right) + [""] * len(wrong)
    policy, raised = raise_thresholds(POLICY, decisions, truths, WORDS)
    place = WORDS.bins.index(WORDS.bin_of(CAN))
    assert policy.bin_thresholds[place] == pytest.approx(after, abs=0.02)
    assert [t for i, t in enumerate(policy.bin_thresholds) if i != place] == [0.6] * (
        len(WORDS.bins) - 1
    )
    assert [r.audit.wrong for r in raised] == ([len(wrong)] if after > 0.6 else [])
    passing = [s for s in wrong if s >= policy.bin_thresholds[place]]
    kept = [s for s in right if s >= policy.bin_thresholds[place]]
    assert after == 0.9999 or lower_bound(len(passing), len(passing) + len(kept)) <= PROMISED


def test_unsure_items_and_other_bins_say_nothing() -> None:
    bin_ = WORDS.bin_of(CAN)
    unsure = [Decision(Status.UNSURE, CAN, 0.5, bin_, 0.5, Reason.LOW_CONFIDENCE)] * 20
    assert raise_thresholds(POLICY, unsure, [""] * 20, WORDS) == (POLICY, ())
