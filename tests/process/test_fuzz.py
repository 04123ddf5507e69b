"""A few hundred damaged inputs a reader, always the same; `tests.soak.fuzz` goes on for hours."""

from __future__ import annotations

import pytest

from tests.soak import fuzz
from tests.soak.fuzz_targets import TARGETS

CASES = {"decode": 600, "resume": 200, "taxonomy": 400, "bundle": 60, "journal": 100}


@pytest.mark.soak
@pytest.mark.parametrize("target", TARGETS)
def test_damage_is_refused_in_our_own_words(target: str) -> None:
    tally = fuzz.run(target, seed=20261125, cases=CASES[target])
    assert tally.faults == []
    assert tally.cases == CASES[target] == tally.accepted + tally.refused
    assert tally.accepted, "damage that nothing survives finds little"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("hang", "hangs"),
        ("spin", "hangs"),
        ("crash", "Segmentation fault"),
        ("bug", "KeyError"),
        ("greed", "MB resident"),
    ],
)
def test_every_kind_of_fault_is_seen(
    fault: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault in ("hang", "spin"):
        monkeypatch.setattr(fuzz, "STUCK_S" if fault == "hang" else "HANG_S", 1.0)
    cases = 8 if fault == "greed" else 1
    tally = fuzz.run(fault, seed=1, cases=cases, module="tests.support.fuzz_faults")
    assert tally.faults
    assert says in tally.faults[0]
