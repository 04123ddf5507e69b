"""One teaching: what is learnt from a bundle's lessons, and two figures of it, before any file.

The site's figure is of each taught picture, judged by a head that has not seen it nor its siblings;
the old knowledge's is of the release's reference. Owns the order of things and the gate. Must not
read pictures or write bundles.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Category, Decision, Policy, Prediction, Status, Taxonomy
from sorter.errors import TeachError
from sorter.teach import words
from sorter.teach.learn import (
    REPLAY,
    Task,
    added,
    learn_empty,
    learn_move,
    learn_unknown_score,
)
from sorter.teach.reference import Reference, from_memory, read_reference
from sorter.teach.site import EMPTY_THRESHOLD, Array, Lesson, LessonKind, Lessons, Site
from sorter.teach.tail import SAME, Added, Seen, Tail, rows_of
from sorter.teach.thresholds import Raised, raise_thresholds
from sorter.vision.bundle import Bundle, model_file
from sorter.vision.decide import decide

FOLDS = 5
"""Into so many parts the taught pictures are put, each judged by what the others taught."""
REPLAYS = (REPLAY, 3 * REPLAY, 10 * REPLAY, 30 * REPLAY)
"""How much old photographs count, tried in turn until they stay as they were."""
CALM, CALM_MORE, CALM_MOST = 0.008, 0.00015, 0.015
"""Of the old photographs' labels, at most so many change before more weight is tried: the first,
and the second for each taught picture, up to the third."""
CALM_FALL = 0.002
"""The same of what is lost of their accuracy."""
FALL_LABEL, FALL_BIN = 0.010, 0.005
"""By more than so much, and more than chance explains, the old knowledge may not fall."""
SURE = 0.7
"""The others contradict a picture that they call something else with this probability."""
SOME = 3
"""One old photograph in so many is replayed to the heads that only judge."""
PROOF = 4
"""Lessons that the written network is tried on."""
FEW = 5
"""Fewer pictures of a class than this are too few."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts over `pictures`: label right, bin right, `sorted`, and of those in a wrong bin."""

    pictures: int
    label: int
    bin: int
    sorted: int
    wrong: int

    def share(self, count: int) -> float:
        """`count` as a share of all; 0 of none."""
        return count / self.pictures if self.pictures else 0.0


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A taught picture that the others contradict: what they say it is, and how sure they are."""

    lesson: Lesson
    says: Category
    share: float


@dataclass(frozen=True, slots=True)
class Advice:
    """A class that more pictures would help: how many of it are right, what it is taken for."""

    category: Category
    pictures: int
    right: int
    taken_for: Category | None


@dataclass(frozen=True, slots=True, eq=False)
class Teaching:
    """What was learnt and what it is worth.

    `after` is None where no picture can be judged without itself. `none` are pictures of no class:
    how many there are, and how many were and are `sorted`. `known` pictures are sorted right
    already. `stored` is False where the memory's keys stood in for old photographs. `raised` are
    the thresholds of `policy` that audited pictures raised; the figures are of those before.
    `proof` is what the first few lessons are called, for the written network to be held against.
    """

    site: Site
    taxonomy: Taxonomy
    policy: Policy
    before: Figures
    after: Figures | None
    none: tuple[int, int, int]
    known: int
    old_before: Figures
    old_after: Figures
    old_changed: int
    stored: bool
    doubts: tuple[Contradiction, ...]
    advice: tuple[Advice, ...]
    raised: tuple[Raised, ...]
    proof: tuple[Prediction, ...]


def extended(taxonomy: Taxonomy, new: Sequence[Category]) -> Taxonomy:
    """`taxonomy` with new classes at its end."""
    return replace(taxonomy, categories=(*taxonomy.categories, *new)) if new else taxonomy


def best_precision(bundle: Bundle) -> str:
    """The network that stations run, and whose features are taught."""
    return "int8" if "int8" in bundle.precisions else bundle.precisions[0]


def teach(base: Bundle, lessons: Lessons) -> Teaching:
    """Learn `lessons` on the released bundle `base`.

    Raises BundleError for a network that cannot be taught, and TeachError where the old knowledge
    would fall too far.
    """
    classes = len(base.taxonomy.categories)
    taxonomy = extended(base.taxonomy, lessons.categories)
    tail = Tail(model_file(base, best_precision(base)), classes, new=len(lessons.categories))
    place = {c.code: i for i, c in enumerate(taxonomy.categories)}
    labels = np.array([place.get(one.code, -1) for one in lessons.lessons], np.int64)
    seen = tail.see(rows_of([one.features for one in lessons.lessons], tail.features))
    length = float(np.linalg.norm(seen.features, axis=1).mean()) if len(seen) else 1.0
    reference = read_reference(base.path, width=tail.features, classes=classes) or from_memory(
        tail.memory, length
    )
    empty = np.array([one.kind is LessonKind.EMPTY for one in lessons.lessons], np.bool_)
    policy = replace(base.policy, empty_threshold=EMPTY_THRESHOLD) if empty.any() else base.policy
    pupil = Pupil(tail, reference, taxonomy, policy)
    before = pupil.plain(seen)
    held = pupil.held_out(seen, labels, empty)
    site, old_after, changed = pupil.settle(seen, labels, empty)
    items = labels >= 0
    raised: tuple[Raised, ...] = ()
    if held is not None:
        audited = [i for i, one in enumerate(lessons.lessons) if one.audited]
        truths = [taxonomy.categories[labels[i]].bin if items[i] else "" for i in audited]
        policy, raised = raise_thresholds(policy, [held[1][i] for i in audited], truths, taxonomy)
    judged = held[1] if held is not None else before
    known = sum(
        d.status is Status.SORTED and d.label.code == lesson.code
        for d, lesson in zip(before, lessons.lessons, strict=True)
    )
    return Teaching(
        site=site,
        taxonomy=taxonomy,
        policy=policy,
        before=figures(before, labels, taxonomy),
        after=figures(held[1], labels, taxonomy) if held is not None and items.any() else None,
        none=(
            int((~items).sum()),
            _sorted_among(before, ~items),
            _sorted_among(judged, ~items),
        ),
        known=known,
        old_before=pupil.old_before,
        old_after=old_after,
        old_changed=changed,
        stored=reference.stored,
        doubts=_doubts(lessons.lessons, labels, held[0], taxonomy) if held is not None else (),
        advice=_advice(labels, judged, taxonomy),
        raised=raised,
        proof=tuple(pupil.answers(seen.rows(np.arange(min(len(seen), PROOF))), site)),
    )


def refuse_forgetting(teaching: Teaching, *, lang: str = "en") -> None:
    """Raise TeachError, said in `lang`, where the old knowledge falls too far."""
    before, after = teaching.old_before, teaching.old_after
    if _falls(before, after, FALL_LABEL) or _falls_bin(before, after):
        raise TeachError(
            words.of(lang)["refused"].format(
                count=before.pictures,
                label=after.label,
                label_was=before.label,
                bin=after.bin,
                bin_was=before.bin,
            )
        )


class Pupil:
    """A tail with the reference already seen: learns and answers."""

    def __init__(
        self, tail: Tail, reference: Reference, taxonomy: Taxonomy, policy: Policy
    ) -> None:
        self._tail, self._taxonomy, self._policy = tail, taxonomy, policy
        seen = tail.see(reference.features)
        self._whole = _Old(seen, tail.without_own_key(seen), reference.labels >= 0)
        self._some = self._whole.every(SOME)
        self._labels = reference.labels[self._whole.known]
        self._old, self._own = self._whole.of_classes
        self._old_decisions = self.decide(tail.answers(self._old, Added(self._quiet(self._own))))
        self.old_before = figures(self._old_decisions, self._labels, taxonomy)

    def plain(self, seen: Seen) -> list[Decision]:
        """What the release says."""
        return self.decide(self._tail.answers(seen, Added(self._quiet(self._nothing(seen)))))

    def answers(self, seen: Seen, site: Site) -> list[Prediction]:
        """What is said with `site`."""
        return self._tail.answers(seen, added(seen, site))

    def learn(
        self,
        seen: Seen,
        labels: NDArray[np.int64],
        empty: NDArray[np.bool_],
        replay: float,
        *,
        old: _Old | None = None,
    ) -> Site:
        """The whole site: scores first, then the unknown score that they leave, then empty trays.

        `old` replays a part of the old photographs, each of which counts the more for it.
        """
        prior, width = self._tail.prior, self._tail.width
        old = old or self._whole
        site = learn_move(Task(seen, labels, *old.of_classes, width), prior, replay=replay)
        if not self._tail.has_unknown_score or not len(labels):
            return site
        now = self._unknown_score(seen, added(seen, site).scores)
        then = self._unknown_score(old.seen, old.own + added(old.seen, site).scores)
        whole = Task(seen, labels, old.seen, old.own, width)
        limit = float(_logit(np.array([self._policy.unknown_threshold]))[0])
        unknown = learn_unknown_score(whole, prior, now=now, then=then, limit=limit)
        return replace(site, unknown=unknown, empty=learn_empty(whole, prior, empty))

    def settle(
        self, seen: Seen, labels: NDArray[np.int64], empty: NDArray[np.bool_]
    ) -> tuple[Site, Figures, int]:
        """As `learn`, with as much weight on the old photographs as it takes for them to stay.

        Then the old photographs' figures with that, and how many of their labels changed: each
        half as the other half, replayed alone, leaves it. What was replayed changes least.
        """
        most = min(CALM_MOST, CALM + CALM_MORE * len(labels))
        for replay in REPLAYS:
            site = self.learn(seen, labels, empty, replay)
            after, changed = self.old(site)
            calm = changed <= most * after.pictures
            if calm and not _falls(self.old_before, after, CALM_FALL):
                break
        halves = [self._whole.every(2, first) for first in (0, 1)]
        parts = [self.learn(seen, labels, empty, replay, old=half) for half in halves]
        return site, *self.old(parts[1], parts[0])

    def old(self, *sites: Site) -> tuple[Figures, int]:
        """The old photographs with `sites`, in turn, and how many of their labels changed."""
        after: list[Decision] = list(self._old_decisions)
        turn = np.flatnonzero(self._whole.known) % len(sites)
        for number, site in enumerate(sites):
            rows = np.flatnonzero(turn == number)
            seen = self._old.rows(rows)
            more = added(seen, site)
            more = replace(more, scores=self._own[rows] + more.scores)
            said = self.decide(self._tail.answers(seen, more))
            for row, decision in zip(rows.tolist(), said, strict=True):
                after[row] = decision
        changed = sum(a.label != b.label for a, b in zip(after, self._old_decisions, strict=True))
        return figures(after, self._labels, self._taxonomy), changed

    def held_out(
        self, seen: Seen, labels: NDArray[np.int64], empty: NDArray[np.bool_]
    ) -> tuple[list[Prediction], list[Decision]] | None:
        """An answer for each taught picture by what the others taught; None where none can."""
        part = _parts(seen, labels)
        if part.max(initial=0) < 1:
            return None
        answers: dict[int, Prediction] = {}
        for fold in range(int(part.max()) + 1):
            mine = part == fold
            site = self.learn(seen.rows(~mine), labels[~mine], empty[~mine], REPLAY, old=self._some)
            rows = seen.rows(mine)
            said = self.answers(rows, site)
            answers |= dict(zip(np.flatnonzero(mine).tolist(), said, strict=True))
        ordered = [answers[i] for i in range(len(labels))]
        return ordered, self.decide(ordered)

    def decide(self, answers: Sequence[Prediction]) -> list[Decision]:
        return [decide(one, self._taxonomy, self._policy) for one in answers]

    def _unknown_score(self, seen: Seen, to_scores: Array) -> NDArray[np.float64]:
        answers = self._tail.answers(seen, Added(to_scores))
        return _logit(np.array([one.unknown for one in answers]))

    def _nothing(self, seen: Seen) -> Array:
        return np.zeros((len(seen), self._tail.width), np.float32)

    def _quiet(self, to_scores: Array) -> Array:
        """Before anything is taught, new classes are out of the question."""
        quiet = to_scores.copy()
        quiet[:, self._tail.classes :] = -50.0
        return quiet


@dataclass(frozen=True, slots=True, eq=False)
class _Old:
    """Old photographs: what the network sees of them, what to add to their scores so that no key
    of their own helps (see `Tail.without_own_key`), and which of them are of a class."""

    seen: Seen
    own: Array
    known: NDArray[np.bool_]

    @property
    def of_classes(self) -> tuple[Seen, Array]:
        """Those of a class."""
        return self.seen.rows(self.known), self.own[self.known]

    def every(self, nth: int, first: int = 0) -> _Old:
        """One in `nth`, from `first` on."""
        rows = np.arange(first, len(self.seen), nth)
        return _Old(self.seen.rows(rows), self.own[rows], self.known[rows])


def _parts(seen: Seen, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part (n,) that each picture is judged with; pictures of one photograph share one.

    Each class is spread over the parts by itself. Empty trays all look alike, and the next one will
    too: each of those is judged by the others.
    """
    unit = seen.near / np.maximum(np.linalg.norm(seen.near, axis=1, keepdims=True), 1e-12)
    group = np.full(len(labels), -1)
    count = 0
    for i in range(len(labels)):
        if group[i] < 0:
            group[i] = count
            if labels[i] >= 0:
                alike = (unit @ unit[i] > SAME) & (labels == labels[i]) & (group < 0)
                group[alike] = count
            count += 1
    order: dict[int, int] = {}
    for label in np.unique(labels):
        for one in dict.fromkeys(group[labels == label].tolist()):
            order[one] = len(order)
    return np.array([order[g] % FOLDS for g in group.tolist()], np.int64)


def figures(
    decisions: Sequence[Decision], labels: NDArray[np.int64], taxonomy: Taxonomy
) -> Figures:
    """Of the pictures that are of a class."""
    label = bin_ = done = wrong = 0
    for decision, truth in zip(decisions, labels.tolist(), strict=True):
        if truth < 0:
            continue
        category = taxonomy.categories[truth]
        right = decision.bin.key == category.bin
        label += decision.label.code == category.code
        bin_ += right
        if decision.status is Status.SORTED:
            done += 1
            wrong += not right
    return Figures(int((labels >= 0).sum()), label, bin_, done, wrong)


def _sorted_among(decisions: Sequence[Decision], which: NDArray[np.bool_]) -> int:
    return sum(
        d.status is Status.SORTED for d, yes in zip(decisions, which.tolist(), strict=True) if yes
    )


def _falls(before: Figures, after: Figures, most: float) -> bool:
    """True where more are lost than `most` of all; one of a small reference says nothing."""
    return before.label - after.label > max(1.0, most * before.pictures)


def _falls_bin(before: Figures, after: Figures) -> bool:
    return before.bin - after.bin > max(1.0, FALL_BIN * before.pictures)


def _doubts(
    lessons: Sequence[Lesson],
    labels: NDArray[np.int64],
    answers: Sequence[Prediction],
    taxonomy: Taxonomy,
) -> tuple[Contradiction, ...]:
    """Pictures that the others, of which some are of the same class, surely call another class."""
    count = Counter(labels.tolist())
    doubts = []
    for lesson, truth, answer in zip(lessons, labels.tolist(), answers, strict=True):
        scores = answer.probabilities
        best = max(range(len(scores)), key=scores.__getitem__)
        others = truth >= 0 and best != truth and count[truth] > 2
        if others and scores[best] > SURE and scores[truth] < 1.0 - SURE:
            doubts.append(Contradiction(lesson, taxonomy.categories[best], scores[best]))
    return tuple(sorted(doubts, key=lambda d: -d.share))


def _advice(
    labels: NDArray[np.int64], decisions: Sequence[Decision], taxonomy: Taxonomy
) -> tuple[Advice, ...]:
    """The classes that are right least often, or of which there are few; worst first."""
    taken: defaultdict[int, list[Decision]] = defaultdict(list)
    for truth, decision in zip(labels.tolist(), decisions, strict=True):
        if truth >= 0:
            taken[truth].append(decision)
    advice = []
    for truth, mine in taken.items():
        category = taxonomy.categories[truth]
        wrong = Counter(d.label for d in mine if d.label.code != category.code)
        right = len(mine) - wrong.total()
        if wrong or len(mine) < FEW:
            other = wrong.most_common(1)[0][0] if wrong else None
            advice.append(Advice(category, len(mine), right, other))
    return tuple(sorted(advice, key=lambda a: (a.right / a.pictures, a.pictures)))[:3]


def _logit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(np.asarray(values, np.float64), 1e-7, 1 - 1e-7)
    return np.log(inside) - np.log1p(-inside)
