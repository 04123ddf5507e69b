"""What teaching gains on sources that a network never saw, and what it costs of what was known.

    python -m tests.soak.teach --data DIR --folds FOLDS

Each folder `FOLDS/fold-K` is a bundle and a file `held.txt`: the pictures, relative to DATA, that
neither its backbone nor its head nor its memory was trained on. For every source of at least forty
pictures a few of them are taught, as `sorter teach` teaches, and the rest of the source, the fold's
photographs of the data set and the other sources are judged before and after. A teaching that
`sorter teach` would refuse leaves everything as it was, and counts so. Judges alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sorter.domain import Category, Decision, Policy, Status, Taxonomy
from sorter.teach.features import FeatureReader
from sorter.teach.learn import added
from sorter.teach.reference import from_memory, read_reference
from sorter.teach.site import EMPTY_THRESHOLD, Site
from sorter.teach.tail import Seen, Tail
from sorter.teach.teacher import (
    Figures,
    Pupil,
    Settled,
    best_precision,
    extended,
    figures,
    forgets,
)
from sorter.vision.bundle import model_file, open_bundle

LEAST = 40
"""Pictures of a source, at least. What teach does was chosen on these sources; `--least 20 --below
40` judges it on others."""
MOST_PER_CLASS = {10: 3, 20: 5, 50: 0}
"""Taught pictures → of one class at most; 0: any number."""
NEVER_A_TEST = ("techsash",)
"""Sources whose pictures were chosen by a network's own answers."""

MANY_KINDS = ("_thing", "_object")
"""So ends the name of a source of many kinds of things, which are no class together: set apart."""

Rows = NDArray[np.int64]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Score:
    """One teaching: how a set of pictures was judged before and after, by name of the set.

    `changed` is the share of the old photographs' labels that are others.
    """

    source: str
    taught: int
    sets: dict[str, tuple[Figures, Figures]]
    changed: float
    refused: bool
    none: dict[str, tuple[float, float]] = field(default_factory=dict)


class Fold:
    """One bundle and what it never saw: features, labels (−1 for none), sources, roles."""

    def __init__(self, folder: Path, data: Path, *, say: Say) -> None:
        self.bundle = open_bundle(folder)
        self.taxonomy: Taxonomy = self.bundle.taxonomy
        xml = model_file(self.bundle, best_precision(self.bundle))
        names = (folder / "held.txt").read_text(encoding="utf-8").split("\n")
        features = _features(folder, [n for n in names if n], data, xml, self.taxonomy, say=say)
        self.paths = sorted(features)
        self.tail = Tail(xml, len(self.taxonomy.categories))
        self.seen = self.tail.see(np.stack([features[p] for p in self.paths]).astype(np.float32))
        parts = [Path(p).parts for p in self.paths]
        self.role = np.array([p[0] for p in parts])
        self.source = np.array([p[1] if p[0] in ("extra", "unknown") else "" for p in parts])
        place = {c.code: i for i, c in enumerate(self.taxonomy.categories)}
        self.labels = np.array([place.get(p[-2], -1) for p in parts], np.int64)
        length = float(np.linalg.norm(self.seen.features, axis=1).mean())
        self.reference = read_reference(
            folder, width=self.tail.features, classes=len(place)
        ) or from_memory(self.tail.memory, length)
        self.pupil = Pupil(self.tail, self.reference, self.taxonomy, self.bundle.policy)
        self.before = self.pupil.plain(self.seen)

    def sources(self, least: int = LEAST, below: int = 0) -> list[str]:
        """Those of at least so many pictures, and of fewer than `below`, where that is given."""
        mine = self.role == "extra"
        names, counts = np.unique(self.source[mine], return_counts=True)
        return [
            str(n)
            for n, c in zip(names, counts, strict=True)
            if c >= least and not (below and c >= below) and not str(n).startswith(NEVER_A_TEST)
        ]

    def learn(
        self, rows: Rows, empty: Rows | None = None, *, policy: Policy | None = None
    ) -> Site | None:
        """What `sorter teach` learns from these pictures, and from `empty` trays."""
        all_rows = rows if empty is None else np.concatenate([rows, empty])
        labels = self.labels[all_rows]
        trays = np.arange(len(all_rows)) >= len(rows)
        pupil = self.pupil
        if policy is not None:
            pupil = Pupil(self.tail, self.reference, self.taxonomy, policy)
        return written(pupil, pupil.settle(self.seen.rows(all_rows), labels, trays))

    def after(
        self, rows: Rows, site: Site | None, *, policy: Policy | None = None
    ) -> list[Decision]:
        """The edge's decisions with `site`, or without one as before."""
        if site is None:
            return [self.before[i] for i in rows]
        seen = self.seen.rows(rows)
        pupil = self.pupil
        if policy is not None:
            pupil = Pupil(self.tail, self.reference, self.taxonomy, policy)
        return pupil.decide(self.tail.answers(seen, added(seen, site)))

    def score(self, source: str, taught: Rows) -> Score:
        """Teach, and judge the rest of the source and what was known."""
        site = self.learn(taught)
        mine = (self.source == source) & (self.role == "extra")
        mine[taught] = False
        old = self.role == "garbage_26x100"
        others = (self.role == "extra") & (self.source != source)
        sets: dict[str, tuple[Figures, Figures]] = {}
        changed = 0.0
        for name, which in (("site", mine), ("old", old), ("others", others)):
            rows = np.flatnonzero(which)
            if not len(rows):
                continue
            before = [self.before[i] for i in rows]
            after = self.after(rows, site)
            labels = self.labels[rows]
            sets[name] = (
                figures(before, labels, self.taxonomy),
                figures(after, labels, self.taxonomy),
            )
            if name == "old":
                changed = float(
                    np.mean([a.label != b.label for a, b in zip(after, before, strict=True)])
                )
        none = {}
        unknown = np.flatnonzero((self.role == "unknown") & _begins(self.source, source))
        if len(unknown):
            none["same_site_unknown"] = (
                _sorted_share([self.before[i] for i in unknown]),
                _sorted_share(self.after(unknown, site)),
            )
        return Score(source, len(taught), sets, changed, site is None, none)


def written(pupil: Pupil, settled: Settled) -> Site | None:
    """What `sorter teach` would write; None where it refuses."""
    return None if forgets(pupil.old_before, settled.old_after) else settled.site


def draw(labels: NDArray[np.int64], rows: Rows, count: int, most: int, seed: Sequence[int]) -> Rows:
    """`count` of `rows`, at most `most` of one class and half of all, by chance."""
    stream = np.random.default_rng(list(seed))
    taken: defaultdict[int, int] = defaultdict(int)
    chosen: list[int] = []
    for row in stream.permutation(rows).tolist():
        if len(chosen) == min(count, len(rows) // 2):
            break
        if not most or taken[int(labels[row])] < most:
            taken[int(labels[row])] += 1
            chosen.append(row)
    return np.array(chosen, np.int64)


def empty_tray(fold: Fold, seed: int) -> dict[str, Any] | None:
    """Twenty pictures of a site's empty tray, taught with twenty of its items; the rest judged."""
    trays = np.flatnonzero((fold.role == "unknown") & _holds(fold.source, "empty"))
    if len(trays) < LEAST:
        return None
    site = str(fold.source[trays[0]]).split("_empty")[0]
    items = np.flatnonzero((fold.role == "extra") & (fold.source == site))
    shown = draw(fold.labels, items, 20, 5, [seed, 1]) if len(items) else items
    taught = draw(fold.labels, trays, 20, 0, [seed, 2])
    policy = Policy(
        fold.bundle.policy.bin_thresholds,
        fold.bundle.policy.unknown_threshold,
        EMPTY_THRESHOLD,
    )
    learnt = fold.learn(shown, taught, policy=policy)
    rest = np.setdiff1d(trays, taught)
    left = np.setdiff1d(items, shown)
    return {
        "source": site,
        "empty_sorted": [
            _sorted_share([fold.before[i] for i in rest]),
            _sorted_share(fold.after(rest, learnt, policy=policy)),
        ],
        "items_sorted": [
            _sorted_share([fold.before[i] for i in left]),
            _sorted_share(fold.after(left, learnt, policy=policy)),
        ],
    }


def new_class(fold: Fold, source: str, seed: int) -> dict[str, Any]:
    """Twenty pictures of a thing of no class, taught as a new one; the rest judged, and the old.

    Nothing is right and nothing is lost where the teaching is refused.
    """
    mine = np.flatnonzero((fold.role == "unknown") & (fold.source == source))
    taught = draw(fold.labels, mine, 20, 0, [seed, 3])
    rest = np.setdiff1d(mine, taught)
    classes = len(fold.taxonomy.categories)
    taxonomy = extended(fold.taxonomy, [Category("new", "New", "New", fold.taxonomy.bins[1].key)])
    tail = Tail(model_file(fold.bundle, best_precision(fold.bundle)), classes, new=1)
    pupil = Pupil(tail, fold.reference, taxonomy, fold.bundle.policy)
    labels = np.full(len(taught), classes)
    trays = np.zeros(len(taught), np.bool_)
    site = written(pupil, pupil.settle(fold.seen.rows(taught), labels, trays))
    if site is None:
        return {"source": source, "refused": True, "right": 0.0, "old_label_points": 0.0}
    learnt = site

    def said(rows: Rows) -> list[Decision]:
        seen: Seen = fold.seen.rows(rows)
        return pupil.decide(tail.answers(seen, added(seen, learnt)))

    old = np.flatnonzero(fold.role == "garbage_26x100")
    right = np.mean([d.label.code == "new" for d in said(rest)])
    truth = fold.labels[old]
    before = figures([fold.before[i] for i in old], truth, taxonomy)
    after = figures(said(old), truth, taxonomy)
    return {
        "source": source,
        "refused": False,
        "right": float(right),
        "old_label_points": 100 * (after.label - before.label) / max(1, before.pictures),
    }


def summary(scores: Iterable[Score], several: set[str]) -> dict[str, Any]:
    """The issue's row: means of sources, each counting the same; rates before and after."""
    scores = list(scores)

    def points(name: str, key: str, only: set[str] | None = None) -> float:
        by_source: defaultdict[str, list[float]] = defaultdict(list)
        for one in scores:
            if name in one.sets and (only is None or one.source in only):
                before, after = one.sets[name]
                gain = getattr(after, key) - getattr(before, key)
                by_source[one.source].append(100 * gain / max(1, before.pictures))
        return round(float(np.mean([np.mean(v) for v in by_source.values()])), 2)

    def wrong(which: int) -> float:
        done = sum(one.sets["site"][which].sorted for one in scores)
        return round(100 * sum(one.sets["site"][which].wrong for one in scores) / max(1, done), 2)

    def share(which: int, key: str) -> float:
        by_source: defaultdict[str, list[float]] = defaultdict(list)
        for one in scores:
            figure = one.sets["site"][which]
            by_source[one.source].append(figure.share(getattr(figure, key)))
        return round(100 * float(np.mean([np.mean(v) for v in by_source.values()])), 1)

    changed: defaultdict[str, list[float]] = defaultdict(list)
    for one in scores:
        changed[one.source].append(100 * one.changed)
    unknown = [one.none["same_site_unknown"] for one in scores if one.none]
    return {
        "taught": round(float(np.mean([one.taught for one in scores])), 1),
        "sources": len({one.source for one in scores}),
        "refused": sum(one.refused for one in scores),
        "label": [share(0, "label"), share(1, "label")],
        "bin": [share(0, "bin"), share(1, "bin")],
        "gain": [points("site", "label"), points("site", "bin")],
        "several_gain": [points("site", "label", several), points("site", "bin", several)],
        "old": [points("old", "label"), points("old", "bin")],
        "old_changed": round(100 * float(np.mean([one.changed for one in scores])), 2),
        "old_changed_of_sources": [round(x, 2) for x in sorted(map(_mean, changed.values()))[-3:]],
        "others": [points("others", "label"), points("others", "bin")],
        "sorted": [share(0, "sorted"), share(1, "sorted")],
        "wrong_among_sorted": [wrong(0), wrong(1)],
        "same_site_unknown_sorted": [
            round(100 * float(np.mean([s[i] for s in unknown])), 1) if unknown else None
            for i in (0, 1)
        ],
    }


def _features(
    folder: Path, names: list[str], data: Path, xml: Path, taxonomy: Taxonomy, *, say: Say
) -> dict[str, NDArray[np.float16]]:
    """The features of each picture, kept beside the bundle."""
    cache = folder / "features.npz"
    known: dict[str, NDArray[np.float16]] = {}
    if cache.exists():
        with np.load(cache, allow_pickle=False) as content:
            known = dict(zip(content["paths"].tolist(), content["features"], strict=True))
    missing = [n for n in names if n not in known]
    if missing:
        say(f"{folder.name}: features of {len(missing)} pictures")
        reader = FeatureReader(xml, len(taxonomy.categories))
        for name, shot in zip(missing, reader.of_files(data / n for n in missing), strict=True):
            if shot.features is not None:
                known[name] = shot.features.astype(np.float16)
        np.savez(cache, paths=np.array(list(known)), features=np.stack(list(known.values())))
    return {n: known[n] for n in names if n in known}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _begins(sources: NDArray[Any], source: str) -> NDArray[np.bool_]:
    return np.array([str(s).startswith(source + "_") for s in sources], np.bool_)


def _holds(sources: NDArray[Any], word: str) -> NDArray[np.bool_]:
    return np.array([word in str(s) for s in sources], np.bool_)


def _sorted_share(decisions: Sequence[Decision]) -> float:
    return float(np.mean([d.status is Status.SORTED for d in decisions])) if decisions else 0.0


def main(
    data: Annotated[Path, typer.Option(help="The pictures by others.")],
    folds: Annotated[Path, typer.Option(help="fold-K/: a bundle and held.txt.")],
    draws: Annotated[int, typer.Option(help="Draws of each source.")] = 3,
    count: Annotated[list[int] | None, typer.Option(help="Taught pictures: 10, 20, 50.")] = None,
    most: Annotated[int, typer.Option(help="Sources of a fold, at most; 0: all.")] = 0,
    least: Annotated[int, typer.Option(help="Pictures of a source, at least.")] = LEAST,
    below: Annotated[int, typer.Option(help="Fewer than so many; 0: any number.")] = 0,
    classes: Annotated[bool, typer.Option(help="Empty trays and new classes too.")] = True,
) -> None:
    """Print a JSON line for each number of taught pictures, then empty trays and new classes."""

    def say(line: str) -> None:
        typer.echo(line, err=True)

    opened = [Fold(f, data, say=say) for f in sorted(folds.glob("fold-*"))]
    for taught in count or list(MOST_PER_CLASS):
        scores: list[Score] = []
        several: set[str] = set()
        for number, fold in enumerate(opened):
            for source in fold.sources(least, below)[: most or None]:
                rows = np.flatnonzero((fold.source == source) & (fold.role == "extra"))
                if len(set(fold.labels[rows].tolist())) > 1:
                    several.add(source)
                for one in range(draws):
                    seed = [number, sum(source.encode()), taught, one]
                    chosen = draw(fold.labels, rows, taught, MOST_PER_CLASS.get(taught, 0), seed)
                    scores.append(fold.score(source, chosen))
                last = summary([s for s in scores if s.source == source], several)
                say(f"{taught} {source}: {last['gain']} old {last['old']} {last['old_changed']}")
        typer.echo(json.dumps({"count": taught, **summary(scores, several)}))
    if not classes:
        return
    for fold in opened:
        found = empty_tray(fold, 0)
        if found is not None:
            typer.echo(json.dumps({"empty_tray": found}))
    things = [
        new_class(fold, str(source), one)
        for fold in opened
        for source in np.unique(fold.source[fold.role == "unknown"])
        for one in range(draws)
        if (fold.source[fold.role == "unknown"] == source).sum() >= LEAST
        and str(source) != "imagenet"
    ]
    many = [t["source"].endswith(MANY_KINDS) for t in things]
    for name, which in (("new_class", False), ("new_class_of_many_kinds", True)):
        mine = [t for t, is_many in zip(things, many, strict=True) if is_many == which]
        if mine:
            typer.echo(json.dumps({name: _new_classes(mine), "each": mine}))


def _new_classes(things: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means of teachings, and the most that one of them cost."""
    lost = [t["old_label_points"] for t in things]
    return {
        "teachings": len(things),
        "refused": sum(t["refused"] for t in things),
        "right": round(_mean([t["right"] for t in things]), 4),
        "old_label_points": round(_mean(lost), 3),
        "old_label_points_at_worst": round(min(lost), 2),
    }


if __name__ == "__main__":
    typer.run(main)
