"""The audit: which pictures are chosen, and how often its bound fails."""

from __future__ import annotations

import hashlib
import random

import pytest

from sorter.audit import Audit, is_audited, upper_bound


@pytest.mark.parametrize(
    ("wrong", "judged", "bound"),
    # Exact: 1 − 0.05^(1/n) for none wrong; the others from published tables.
    [(0, 100, 1 - 0.05**0.01), (0, 0, 1.0), (3, 3, 1.0), (2, 240, 0.02600), (5, 10, 0.77756)],
)
def test_the_bound_is_clopper_and_pearson_s(wrong: int, judged: int, bound: float) -> None:
    assert upper_bound(wrong, judged) == pytest.approx(bound, abs=1e-4)


@pytest.mark.parametrize(("wrong", "judged"), [(-1, 5), (6, 5)])
def test_a_count_that_cannot_be_is_refused(wrong: int, judged: int) -> None:
    with pytest.raises(ValueError, match="of 5"):
        upper_bound(wrong, judged)


def test_the_bound_fails_in_at_most_one_of_twenty_stations() -> None:
    stream = random.Random(20261127)
    failures = 0
    for _ in range(1000):
        rate, judged = stream.uniform(0.005, 0.05), stream.choice([60, 240, 1000])
        wrong = sum(stream.random() < rate for _ in range(judged))
        failures += upper_bound(wrong, judged) < rate
    assert failures <= 50


def test_a_station_is_told_in_one_line() -> None:
    assert Audit(240, 2).told() == "2 wrong of 240 audited, at most 2.6% (95%)"
    assert Audit(240, 2).told("zh") == "分错桶 2 件，共抽查 240 件，至多 2.6%（95%）"
    assert Audit().told() == "nothing audited yet"


def test_content_alone_chooses_one_in_so_many() -> None:
    digests = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(4000)]
    chosen = sum(is_audited(d, 10) for d in digests)
    assert 340 < chosen < 460
    assert not any(is_audited(d, 0) for d in digests)
    assert all(is_audited(d, 1) for d in digests)
