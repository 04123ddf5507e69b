"""One teaching: what is learnt from a bundle's lessons, and two figures of it, before any file.

The site's figure is of each taught picture, judged by a head that has not seen it nor its siblings;
the old knowledge's is of the release's reference. Owns the order of things and the gate. Must not
read pictures or write bundles.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Category, Decision, Policy, Prediction, Status, Taxonomy
from sorter.errors import TeachError
from sorter.teach import words
from sorter.teach.learn import (
    Task,
    added,
    learn_empty,
    learn_move,
    learn_unknown_score,
    shortened,
)
from sorter.teach.reference import Reference, from_memory, read_reference
from sorter.teach.site import EMPTY_THRESHOLD, Array, Lesson, LessonKind, Lessons, Site
from sorter.teach.tail import SAME, Added, Seen, Tail, rows_of
from sorter.teach.thresholds import Raised, raise_thresholds
from sorter.vision.bundle import Bundle, model_file
from sorter.vision.decide import decide

FOLDS = 5
"""Into so many parts the taught pictures are put, each judged by what the others taught."""
STRIDES = 8
"""Of what is learnt as many eighths are used as leave the old photographs as they were."""
CALM, CALM_MORE, CALM_MOST = 0.003, 0.0006, 0.016
"""Of the old photographs' labels, at most so many change: the first, and the second for each taught
picture, up to the third. A fifth more do of photographs that the release has not seen."""
CALM_FALL = 0.005
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
    already. `step` is the share of what was learnt that is used. `old_after` and `old_changed` are
    of old photographs that were not replayed to the head that judges them. `stored` is False where
    the memory's keys stood in for old photographs. `raised` are
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
    step: float
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
    settled = pupil.settle(seen, labels, empty)
    held = pupil.held_out(seen, labels, empty, settled.step)
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
        site=settled.site,
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
        step=settled.step,
        old_before=pupil.old_before,
        old_after=settled.old_after,
        old_changed=settled.old_changed,
        stored=reference.stored,
        doubts=_doubts(lessons.lessons, labels, held[0], taxonomy) if held is not None else (),
        advice=_advice(labels, judged, taxonomy),
        raised=raised,
        proof=tuple(pupil.answers(seen.rows(np.arange(min(len(seen), PROOF))), settled.site)),
    )


def forgets(before: Figures, after: Figures) -> bool:
    """Whether the old knowledge falls too far for anything to be written."""
    return _falls(before, after, FALL_LABEL) or _falls_bin(before, after)


def refuse_forgetting(teaching: Teaching, *, lang: str = "en") -> None:
    """Raise TeachError, said in `lang`, where the old knowledge falls too far."""
    before, after = teaching.old_before, teaching.old_after
    if forgets(before, after):
        raise TeachError(
            words.of(lang)["refused"].format(
                count=before.pictures,
                label=after.label,
                label_was=before.label,
                bin=after.bin,
                bin_was=before.bin,
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A site that leaves the old photographs as they were; its fields are those of `Teaching`."""

    site: Site
    step: float
    old_after: Figures
    old_changed: int


class Pupil:
    """A tail with the reference already seen: learns and answers."""

    def __init__(
        self, tail: Tail, reference: Reference, taxonomy: Taxonomy, policy: Policy
    ) -> None:
        self._tail, self._taxonomy, self._policy = tail, taxonomy, policy
        seen = tail.see(reference.features)
        self._old = _Old(seen, tail.without_own_key(seen), reference.labels)
        self._some = self._old.rows(np.arange(0, len(seen), SOME))
        halves = (self._old.rows(np.arange(part, len(seen), 2)) for part in (0, 1))
        self._halves = [half for half in halves if half.known.any()]
        self._before = self._old_decisions([None] * len(self._halves))
        self.old_before = self._old_figures(self._before)

    def plain(self, seen: Seen) -> list[Decision]:
        """What the release says."""
        return self.decide(self._tail.answers(seen, Added(self._quiet(self._nothing(seen)))))

    def answers(self, seen: Seen, site: Site) -> list[Prediction]:
        """What is said with `site`."""
        return self._tail.answers(seen, added(seen, site))

    def settle(self, seen: Seen, labels: NDArray[np.int64], empty: NDArray[np.bool_]) -> Settled:
        """The longest step towards what is taught that leaves the old photographs as they were.

        What photographs that were replayed say is no measure of others. So each half of them is
        judged by what is learnt while only the other half is replayed.
        """
        moves = [self._move(seen, labels, half) for half in self._halves]

        def calm(step: float) -> bool:
            after = self._old_decisions([shortened(move, step) for move in reversed(moves)])
            return self._stays(after, len(labels))

        step = _longest(calm)
        sites = [
            self._rest(shortened(move, step), seen, labels, empty, half)
            for move, half in zip(moves, self._halves, strict=True)
        ]
        after = self._old_decisions(sites[::-1])
        move = shortened(self._move(seen, labels, self._old), step)
        site = self._rest(move, seen, labels, empty, self._old)
        return Settled(site, step, self._old_figures(after), _differ(self._before, after))

    def held_out(
        self, seen: Seen, labels: NDArray[np.int64], empty: NDArray[np.bool_], step: float
    ) -> tuple[list[Prediction], list[Decision]] | None:
        """An answer for each taught picture by what the others taught; None where none can.

        A part of the old photographs is replayed, each of which counts the more for it.
        """
        part = _parts(seen, labels)
        if part.max(initial=0) < 1:
            return None
        answers: dict[int, Prediction] = {}
        for fold in range(int(part.max()) + 1):
            mine = part == fold
            others = seen.rows(~mine), labels[~mine]
            move = shortened(self._move(*others, self._some), step)
            site = self._rest(move, *others, empty[~mine], self._some)
            rows = seen.rows(mine)
            said = self.answers(rows, site)
            answers |= dict(zip(np.flatnonzero(mine).tolist(), said, strict=True))
        ordered = [answers[i] for i in range(len(labels))]
        return ordered, self.decide(ordered)

    def decide(self, answers: Sequence[Prediction]) -> list[Decision]:
        return [decide(one, self._taxonomy, self._policy) for one in answers]

    def _move(self, seen: Seen, labels: NDArray[np.int64], old: _Old) -> Site:
        known = old.rows(old.known)
        task = Task(seen, labels, known.seen, known.own, self._tail.width)
        return learn_move(task, self._tail.prior)

    def _rest(
        self,
        move: Site,
        seen: Seen,
        labels: NDArray[np.int64],
        empty: NDArray[np.bool_],
        old: _Old,
    ) -> Site:
        """The whole site: to the move the unknown score that it leaves, and then empty trays."""
        if not self._tail.has_unknown_score or not len(labels):
            return move
        now = self._unknown_score(seen, added(seen, move).scores)
        then = self._unknown_score(old.seen, old.own + added(old.seen, move).scores)
        task, prior = Task(seen, labels, old.seen, old.own, self._tail.width), self._tail.prior
        limit = float(_logit(np.array([self._policy.unknown_threshold]))[0])
        unknown = learn_unknown_score(task, prior, now=now, then=then, limit=limit)
        return replace(move, unknown=unknown, empty=learn_empty(task, prior, empty))

    def _old_decisions(self, sites: Sequence[Site | None]) -> list[Decision]:
        """What is said of the halves of the old photographs of a class, each with its site."""
        decisions: list[Decision] = []
        for half, site in zip(self._halves, sites, strict=True):
            old = half.rows(half.known)
            more = Added(self._quiet(old.own))
            if site is not None:
                more = added(old.seen, site)
                more = replace(more, scores=old.own + more.scores)
            decisions += self.decide(self._tail.answers(old.seen, more))
        return decisions

    def _old_figures(self, decisions: Sequence[Decision]) -> Figures:
        labels = np.concatenate([half.labels[half.known] for half in self._halves])
        return figures(decisions, labels, self._taxonomy)

    def _stays(self, after: Sequence[Decision], taught: int) -> bool:
        """Whether few of the old photographs' labels change, and few of those to wrong ones."""
        most = min(CALM_MOST, CALM + CALM_MORE * taught) * len(after)
        now = self._old_figures(after)
        falls = _falls(self.old_before, now, CALM_FALL) or _falls_bin(self.old_before, now)
        return _differ(self._before, after) <= most and not falls

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
    of their own helps (see `Tail.without_own_key`), and their classes, −1 for none."""

    seen: Seen
    own: Array
    labels: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which of them are of a class."""
        return self.labels >= 0

    def rows(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> _Old:
        """Some of them."""
        return _Old(self.seen.rows(rows), self.own[rows], self.labels[rows])


def _longest(calm: Callable[[float], bool]) -> float:
    """The longest step, in parts of `STRIDES`, that is `calm`, as if every shorter one were.

    The shortest where none is.
    """
    if calm(1.0):
        return 1.0
    low, high = 1, STRIDES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if calm(middle / STRIDES) else (low, middle)
    return low / STRIDES


def _differ(before: Sequence[Decision], after: Sequence[Decision]) -> int:
    """How many labels do."""
    return sum(a.label != b.label for a, b in zip(before, after, strict=True))


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
