"""A station's numbers by hand: what is an item, periods, percentiles, the trend, the page."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import datetime

import pytest

from sorter.domain import Count, Counted
from sorter.report.numbers import (
    By,
    Numbers,
    Release,
    Verdict,
    begin,
    csv_columns,
    csv_rows,
    numbers,
    to_dict,
)
from sorter.report.numbers_page import page, sentence

MONDAY = int(datetime(2026, 3, 2, 9).astimezone().timestamp())
DAY = 86_400


def count(
    why: str, items: int, *, hour: int = MONDAY, moved: str = "", state: str = "", **more: object
) -> Count:
    told = {"station": "", "model": "m", "bin_decided": "food", "audited": "", "score": items * 0.9}
    ended = state or ("DONE" if moved else "UNSURE_HELD")
    return Count(start=hour, state=ended, why=why, bin_moved=moved, items=items, **{**told, **more})  # type: ignore[arg-type]


def report(*counts: Count, release: Release | None = None, by: By = By.DAY) -> Numbers:
    counts = tuple(replace(c, start=begin(c.start, by)) for c in counts)
    counted = Counted(counts, (("0301", "Peel", 5),), ((300, 98), (400, 1), (900, 1)))
    return numbers(counted, by=by, bins=["residual", "food"], release=release or Release(0.3, 0.85))


def test_only_what_is_to_be_sorted_counts_as_an_item() -> None:
    """`residual 9` that was three items, five empty trays and a can reads three, five, one."""
    found = report(
        count("low_confidence", 3, moved="residual"),
        count("empty", 5),
        count("unknown_object", 1, moved="residual"),
        count("sorted", 2, moved="food", audited="right"),
        count("sorted", 1, state="EXPIRED", audited="wrong"),
        count("", 4, state="REJECTED", bin_decided=""),
        count("sorted", 7, state="DUPLICATE"),
    )
    total = found.total
    assert total.moved == {"residual": 3, "food": 2}
    assert (total.items, total.why["empty"], total.why["unknown_object"]) == (6, 5, 1)
    assert total.unknown_moved == 1
    assert (total.states["REJECTED"], total.states["DUPLICATE"]) == (4, 7)
    assert (total.right, total.wrong) == (2, 1)
    assert total.unsure == pytest.approx(4 / 7)  # Empty trays are nobody's doubt.
    assert total.mean_score == pytest.approx(0.9)


def test_periods_are_local_days_weeks_and_hours_and_a_day_without_a_picture_is_one() -> None:
    counts = (count("sorted", 1), count("sorted", 2, hour=MONDAY + 3 * DAY + 3600))
    days = report(*counts).periods
    assert [p.items for p in days] == [1, 0, 0, 2]
    assert [p.start.hour for p in days if p.start] == [0] * 4
    (week,) = report(*counts, by=By.WEEK).periods
    assert week.start is not None and (week.start.weekday(), week.items) == (0, 3)
    assert len(report(*counts, by=By.HOUR).periods) == 3 * 24 + 2


def test_the_time_of_moves() -> None:
    assert report(count("sorted", 1)).moves_s == (0.3, 0.4, 0.9)


@pytest.mark.parametrize(
    ("verdict", "counts"),
    [
        (Verdict.TOO_FEW, [count("sorted", 10), count("low_confidence", 90)]),
        (Verdict.AS_RELEASED, [count("sorted", 700), count("low_confidence", 300)]),
        (Verdict.MORE_UNSURE, [count("sorted", 580), count("risk", 420)]),
        (Verdict.LOWER_SCORE, [count("sorted", 1000, score=790.0)]),
        (
            Verdict.DRIFTED,
            [
                count("sorted", 1000),
                count("sorted", 800, hour=MONDAY + 9 * DAY),
                count("unknown_object", 200, hour=MONDAY + 9 * DAY),
            ],
        ),
    ],
)
def test_when_it_is_time_to_teach(verdict: Verdict, counts: list[Count]) -> None:
    found = report(*counts)
    assert found.verdict is verdict
    assert found.time_to_teach is (verdict not in (Verdict.TOO_FEW, Verdict.AS_RELEASED))
    assert ("sorter teach" in sentence(found, "en")) is found.time_to_teach
    assert ("sorter teach" in sentence(found, "zh")) is found.time_to_teach


def test_a_card_says_what_it_promises() -> None:
    promised = Release.of({"figures": {"other_sources": {"coverage": 0.75}}})
    assert promised == Release(0.25)
    assert Release.of({"figures": "none"}) == Release.of({}) == Release()
    assert report(count("risk", 900), release=Release()).verdict is Verdict.AS_RELEASED


def test_csv_and_json_say_the_same() -> None:
    found = report(count("sorted", 2, moved="food"), count("empty", 1, hour=MONDAY + DAY))
    heads, rows = csv_columns(found), list(csv_rows(found))
    assert heads[-2:] == ["moved_residual", "moved_food"]
    table = io.StringIO()
    csv.writer(table).writerows([heads, *rows])
    first = next(csv.DictReader(io.StringIO(table.getvalue())))
    document = to_dict(found)
    assert first["moved_food"] == "2" and document["periods"][0]["moved_to"]["food"] == 2
    for name, value in first.items():
        if name in document["periods"][0]:
            said = document["periods"][0][name]
            assert value == ("" if said is None else str(said))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_page_shows_no_text_as_markup_and_stands_with_nothing(lang: str) -> None:
    evil = count("sorted", 2, moved="<b>", station="<script>alert(1)</script>")
    text = page(report(evil), lang=lang, bin_name=lambda k: k, class_name=lambda k: k)
    assert "<script" not in text and "<b>&lt;b&gt;" not in text
    assert "&lt;script&gt;" in text and "default-src" in text
    nothing = numbers(Counted(), by=By.DAY, bins=[], release=Release())
    assert "<svg" not in page(nothing, lang=lang, bin_name=str, class_name=str)
