"""The station's policy as one value."""

from __future__ import annotations

import math

import pytest

from sorter.domain import Decision, Reason, Status
from sorter.errors import UsageError
from sorter.station.settings import HOLD, Settings
from tests.support.tiny import taxonomy3

TAXONOMY = taxonomy3()
CAN = TAXONOMY.categories[0]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings(max_age_s=0.0, unsure=HOLD), "--max-age 0"),
        (Settings(max_age_s=math.nan, unsure=HOLD), "--max-age nan"),
        (Settings(burst_s=5.0, unsure=HOLD), "--burst 5"),
        (Settings(burst_s=-1.0, unsure=HOLD), "--burst -1"),
        (Settings(unsure="gold"), "--unsure gold: is no bin of this model; choose hold or one of"),
        (Settings(unsure=HOLD, empty="gold"), "--empty gold: is no bin of this model; choose hold"),
        (Settings(unsure=HOLD, unknown_object="gold"), "--unknown-object gold: is no bin"),
        (Settings(unsure=HOLD, low_confidence="gold"), "--low-confidence gold: is no bin"),
    ],
)
def test_a_policy_that_cannot_work_names_its_option(settings: Settings, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        settings.check(TAXONOMY)


def test_where_an_item_goes() -> None:
    sure = Decision(Status.SORTED, CAN, 0.9, TAXONOMY.bin("metal"), 0.9)
    unsure = Decision(Status.UNSURE, CAN, 0.4, TAXONOMY.bin("metal"), 0.5, Reason.LOW_CONFIDENCE)
    assert Settings(unsure=HOLD).route(sure, TAXONOMY) == TAXONOMY.bin("metal")
    assert Settings(unsure=HOLD).route(unsure, TAXONOMY) is None
    assert Settings(unsure="rest").route(unsure, TAXONOMY) == TAXONOMY.bin("rest")
    own = Settings(unsure="rest", low_confidence=HOLD)
    assert own.route(unsure, TAXONOMY) is None
    empty = Decision(Status.UNSURE, CAN, 0.4, TAXONOMY.bin("metal"), 0.5, Reason.EMPTY)
    assert own.route(empty, TAXONOMY) is None  # Whatever --unsure says: there is nothing to move.
    assert Settings(empty="rest").route(empty, TAXONOMY) == TAXONOMY.bin("rest")
    risky = Decision(Status.UNSURE, CAN, 0.4, TAXONOMY.bin("metal"), 0.5, Reason.RISK)
    assert own.route(risky, TAXONOMY) is None  # Who holds what is doubtful holds this first.
    assert Settings(unsure="rest").route(risky, TAXONOMY) == TAXONOMY.bin("rest")
