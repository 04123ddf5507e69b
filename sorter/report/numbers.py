"""A station's counts as numbers of a period: by bin and day, how sure, how quick, and the trend.

Owns the sums, what they are called in JSON and CSV, and when it is time to teach. Items are what is
to be sorted: empty trays, unknown objects, pictures that are none and second pictures of one item
are counted apart. Reads no journal (the counts come in) and draws nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sorter.domain import Count, Counted, ItemState, Reason

SORTED = "sorted"
HOUR_S = 3600
DOUBTS = (Reason.LOW_CONFIDENCE, Reason.RISK)
"""Why an item is left unsure; an empty tray and a unknown object are no items."""

ENOUGH = 200
"""Decisions below which a share says nothing."""

WORSE_BY = 0.10
"""A share of unsure ones so much above the release's own is no chance any more."""

LOWER_BY = 0.05
"""The same of the mean score, downwards."""


class By(StrEnum):
    """How long a period is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


@dataclass(slots=True)
class Period:
    """Counts of one period, or of all of them. `start` is local time.

    `moved` and `decided` are items by bin: where they really went, and what the model said.
    """

    start: datetime | None = None
    moved: Counter[str] = field(default_factory=Counter)
    decided: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    unknown_moved: int = 0
    right: int = 0
    wrong: int = 0
    score: float = 0.0

    def merge(self, other: Period) -> None:
        """Take in all of another period."""
        for name in ("moved", "decided", "why", "states"):
            getattr(self, name).update(getattr(other, name))
        self.unknown_moved += other.unknown_moved
        self.right += other.right
        self.wrong += other.wrong
        self.score += other.score

    def add(self, count: Count) -> None:
        """Take in one count."""
        n = count.items
        self.states[count.state] += n
        if count.state == ItemState.DUPLICATE or not count.why:
            return
        self.why[count.why] += n
        if count.why in (Reason.EMPTY, Reason.UNKNOWN_OBJECT):
            self.unknown_moved += n if count.bin_moved else 0
        else:
            self.decided[count.bin_decided] += n
            if count.bin_moved:
                self.moved[count.bin_moved] += n
        if count.why != Reason.EMPTY:
            self.score += count.score
        self.right += n if count.audited == "right" else 0
        self.wrong += n if count.audited == "wrong" else 0

    @property
    def items(self) -> int:
        """Items that were decided, sorted or left unsure."""
        return self.why[SORTED] + sum(self.why[reason] for reason in DOUBTS)

    @property
    def judged(self) -> int:
        """All but empty trays: what the release's figures are of."""
        return self.why.total() - self.why[Reason.EMPTY]

    @property
    def unsure(self) -> float | None:
        """The share of `judged` that was not sorted; None of nothing."""
        return 1 - self.why[SORTED] / self.judged if self.judged else None

    @property
    def mean_score(self) -> float | None:
        """Mean confidence of the decided bin; None of nothing."""
        return self.score / self.judged if self.judged else None

    def to_row(self) -> dict[str, Any]:
        """The columns of the CSV, and the names in the JSON."""
        return {
            "start": self.start.isoformat() if self.start else "",
            "items": self.items,
            "sorted": self.why[SORTED],
            **{reason.value: self.why[reason] for reason in DOUBTS},
            "unknown_object": self.why[Reason.UNKNOWN_OBJECT],
            "empty": self.why[Reason.EMPTY],
            "moved": self.moved.total(),
            "unknown_moved": self.unknown_moved,
            **{state.value.lower(): self.states[state] for state in ItemState if state.is_terminal},
            "audited": self.right + self.wrong,
            "wrong": self.wrong,
            "unsure_share": _rounded(self.unsure),
            "mean_score": _rounded(self.mean_score),
        }


@dataclass(frozen=True, slots=True)
class Release:
    """What the weights' card promises at a place they never saw; None where it does not say."""

    unsure: float | None = None
    mean_score: float | None = None

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Release:
        """From a bundle's `card.json`: pictures of other sources, else of the folds."""
        figures = card.get("figures")
        for name in ("other_sources", "grouped_folds", "val"):
            part = figures.get(name) if isinstance(figures, Mapping) else None
            coverage = part.get("coverage") if isinstance(part, Mapping) else None
            if isinstance(part, Mapping) and isinstance(coverage, int | float):
                mean = part.get("mean_score")
                return cls(1 - coverage, mean if isinstance(mean, int | float) else None)
        return cls()


class Verdict(StrEnum):
    """Whether the site looks to the model as the release's pictures did."""

    TOO_FEW = "too_few"
    AS_RELEASED = "as_released"
    MORE_UNSURE = "more_unsure"
    LOWER_SCORE = "lower_score"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A report. `periods` are in order; `last` is the newest quarter of the time, `first` the rest.

    `bins` are the keys that occur, in the order given; `moves_s` is (half, 99 of 100, slowest
    counted) in seconds, None where nothing moved.
    """

    by: By
    periods: tuple[Period, ...]
    total: Period
    first: Period
    last: Period
    bins: tuple[str, ...]
    stations: tuple[str, ...]
    weights: tuple[str, ...]
    classes: tuple[tuple[str, str, int], ...]
    moves_s: tuple[float, float, float] | None
    release: Release

    @property
    def verdict(self) -> Verdict:
        """The trend in one word. Compared with the release, and with this site's own beginning."""
        unsure, mean = self.total.unsure, self.total.mean_score
        if self.total.judged < ENOUGH or unsure is None or mean is None:
            return Verdict.TOO_FEW
        if self.release.unsure is not None and unsure > self.release.unsure + WORSE_BY:
            return Verdict.MORE_UNSURE
        if self.release.mean_score is not None and mean < self.release.mean_score - LOWER_BY:
            return Verdict.LOWER_SCORE
        before, now = self.first, self.last
        if min(before.judged, now.judged) >= ENOUGH:
            assert before.unsure is not None and now.unsure is not None
            assert before.mean_score is not None and now.mean_score is not None
            more = now.unsure > before.unsure + WORSE_BY
            if more or now.mean_score < before.mean_score - LOWER_BY:
                return Verdict.DRIFTED
        return Verdict.AS_RELEASED

    @property
    def time_to_teach(self) -> bool:
        """True where the model knows the site worse than it should."""
        return self.verdict not in (Verdict.TOO_FEW, Verdict.AS_RELEASED)


def numbers(
    counted: Counted, *, by: By, bins: Sequence[str], release: Release, top: int = 10
) -> Numbers:
    """Sum up counts by the periods of `begin`.

    `bins` are the keys that the model has; others in the counts come after them.
    """
    periods: defaultdict[int, Period] = defaultdict(Period)
    for count in counted.counts:
        periods[count.start].add(count)
    total, first, last = Period(), Period(), Period()
    if periods:
        begun, ended = min(periods), max(periods)
        for start in list(periods):
            total.merge(periods[start])
            newest = start >= ended - (ended - begun) / 4
            (last if newest else first).merge(periods[start])
        for hour in range(begun, ended + 1, HOUR_S):
            periods[begin(hour, by)]  # A day without a picture is a gap, and shown as one.
    for start, period in periods.items():
        period.start = datetime.fromtimestamp(start).astimezone()
    there = {*total.moved, *total.decided} - {""}
    return Numbers(
        by=by,
        periods=tuple(periods[start] for start in sorted(periods)),
        total=total,
        first=first,
        last=last,
        bins=(*bins, *sorted(there - set(bins))),
        stations=tuple(sorted({count.station for count in counted.counts} - {""})),
        weights=tuple(sorted({count.model for count in counted.counts} - {""})),
        classes=counted.classes[:top],
        moves_s=_percentiles(counted.moves),
        release=release,
    )


def to_dict(found: Numbers) -> dict[str, Any]:
    """The report as JSON holds it."""
    return {
        "by": found.by.value,
        "stations": list(found.stations),
        "weights": list(found.weights),
        "verdict": found.verdict.value,
        "time_to_teach": found.time_to_teach,
        "release": {
            "unsure_share": _rounded(found.release.unsure),
            "mean_score": _rounded(found.release.mean_score),
        },
        "move_s": dict(zip(("p50", "p99", "max"), found.moves_s, strict=True))
        if found.moves_s
        else None,
        "classes": [{"code": c, "label": label, "items": n} for c, label, n in found.classes],
        "total": _document(found.total, found.bins),
        "periods": [_document(period, found.bins) for period in found.periods],
    }


def csv_columns(found: Numbers) -> list[str]:
    """The names of the columns: fixed ones, then one for each bin."""
    return [*Period().to_row(), *(f"moved_{key}" for key in found.bins)]


def csv_rows(found: Numbers) -> Iterable[list[str]]:
    """A row for each period."""
    for period in found.periods:
        row = [*period.to_row().values(), *(period.moved[key] for key in found.bins)]
        yield ["" if value is None else str(value) for value in row]


def _document(period: Period, bins: Sequence[str]) -> dict[str, Any]:
    return {
        **period.to_row(),
        "moved_to": {key: period.moved[key] for key in bins},
        "decided_for": {key: period.decided[key] for key in bins},
    }


def begin(hour: int, by: By) -> int:
    """When the period of an hour began, both in Unix time: local midnight, a week's on Monday."""
    if by is By.HOUR:
        return hour
    begun = datetime.fromtimestamp(hour).replace(hour=0, minute=0, second=0)
    if by is By.WEEK:
        begun -= timedelta(days=begun.weekday())
    return int(begun.timestamp())


def _percentiles(moves: Sequence[tuple[int, int]]) -> tuple[float, float, float] | None:
    total = sum(n for _, n in moves)
    if not total:
        return None
    found = []
    for share in (0.5, 0.99, 1.0):
        rank, passed = math.ceil(share * total), 0
        for ms, n in moves:
            passed += n
            if passed >= rank:
                found.append(ms / 1000)
                break
    half, most, slowest = found
    return half, most, slowest


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
