"""Which weights a running station takes: of the same bins, and classes only added or taken away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sorter.domain import Taxonomy
from sorter.station.reload import may_follow
from tests.support.tiny import taxonomy3

OLD = taxonomy3()
TOY = replace(OLD.categories[0], code="0009", name="toy", name_zh="toy")


@pytest.mark.parametrize(
    ("new", "fits"),
    [
        (OLD, True),
        (replace(OLD, categories=(*OLD.categories, TOY)), True),
        (replace(OLD, categories=OLD.categories[:2]), True),
        (replace(OLD, categories=(TOY, *OLD.categories)), False),
        (replace(OLD, categories=(TOY,)), False),
        (replace(OLD, categories=(replace(TOY, code=OLD.categories[0].code),)), False),
        (replace(OLD, bins=OLD.bins[::-1]), False),
        (replace(OLD, name="others"), False),
    ],
)
def test_bins_stay_and_so_does_every_class_that_both_have(new: Taxonomy, fits: bool) -> None:
    assert may_follow(new, OLD) is fits
    assert may_follow(OLD, new) is fits
