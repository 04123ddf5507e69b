"""What a card of the contact sheet says."""

from __future__ import annotations

from pathlib import Path

from sorter.domain import Decision, Outcome, Reason, Status
from sorter.report.cards import OutcomeSheet
from tests.support.tiny import taxonomy3


def test_low_confidence_is_shown_beside_its_threshold(tmp_path: Path) -> None:
    taxonomy = taxonomy3()
    item = taxonomy.categories[0]
    place = taxonomy.bin_of(item)
    thresholds = [0.81 if b == place else 0.99 for b in taxonomy.bins]
    with OutcomeSheet(tmp_path / "page.html", taxonomy, thresholds) as sheet:
        for reason in (Reason.LOW_CONFIDENCE, Reason.EMPTY):
            decision = Decision(Status.UNSURE, item, 0.6, place, 0.6, reason)
            sheet.show(Outcome(Path(f"{reason}.jpg"), Status.UNSURE, decision))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("&lt; 81%") + page.count("< 81%") == 1, "not beside the other reason"
    assert "99%" not in page
