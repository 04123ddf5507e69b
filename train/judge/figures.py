"""A run's figures: the edge's own evaluation of raw scores, over splits, folds and sources.

Owns which pictures are judged together, and the form of `metrics.json`. What a figure means belongs
to `sorter.vision.evaluate`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Prediction, Status, Taxonomy
from sorter.errors import DataError
from sorter.text import counted
from sorter.vision import evaluate
from sorter.vision.decide import decide
from sorter.vision.evaluate import Evaluation
from train.data.corpus import UNKNOWN, Corpus
from train.judge.calibrate import Calibration, calibrated, softmax, unknown_score
from train.judge.folds import OutOfFold

ON_CARD = (
    "n",
    "label_accuracy",
    "bin_accuracy",
    "macro_f1",
    "ece",
    "ece_uncalibrated",
    "coverage",
    "wrong_bin_rate",
    "unknown",
)
"""The figures of an evaluation that are short enough for a card."""


@dataclass(frozen=True, slots=True)
class OverSources:
    """What the next site may expect: means over `n` sources, each counting the same.

    `bin_worst_quarter` is the mean bin accuracy of the quarter of sources that fare worst;
    `above_N` counts the sources with more than N per cent of what they sort in a wrong bin.
    """

    n: int
    label_accuracy: float
    bin_accuracy: float
    bin_worst_quarter: float
    coverage: float
    wrong_bin_rate: float
    above_1: int
    above_2: int
    above_5: int


@dataclass(frozen=True, slots=True)
class Hazards:
    """Of `n` items whose bin is risky (`Bin.risk` above 1), those sorted into another."""

    n: int
    sorted_wrong: int


@dataclass(frozen=True, slots=True)
class Int8Loss:
    """Label accuracy (likeliest of all classes) by torch and in INT8 on the same `pictures`."""

    pictures: int
    torch_label_accuracy: float
    int8_label_accuracy: float
    int8_drop_points: float


@dataclass(frozen=True, slots=True)
class FoldFigures:
    """Of pictures by networks that never saw their like, as the edge runs them.

    `grouped` are DATA's own photographs, with the standard deviation over folds of its label and
    bin accuracy; `other_sources` all the rest, `by_source` each of them. None where there are none.
    """

    grouped: Evaluation | None
    label_spread: float
    bin_spread: float
    other_sources: Evaluation | None
    by_source: Mapping[str, Evaluation]
    sources: OverSources | None
    hazards: Hazards
    int8: Int8Loss | None


@dataclass(frozen=True, slots=True)
class Conversion:
    """FP16 and INT8 against torch on the same `pictures`.

    `fp16_max_delta` and `int8_max_delta` are the largest differences of a probability; INT8's are
    None where there is no INT8.
    """

    pictures: int
    torch_label_accuracy: float
    fp16_label_accuracy: float
    fp16_max_delta: float
    int8_method: str | None = None
    int8_label_accuracy: float | None = None
    int8_drop_points: float | None = None
    int8_max_delta: float | None = None


@dataclass(frozen=True, slots=True)
class RunFigures:
    """All that a run says of its network. `val` and `test` are None without such pictures."""

    calibration: Calibration
    val: Evaluation | None
    test: Evaluation | None
    folds: FoldFigures | None
    minutes: float
    conversion: Conversion | None = None


def predictions(
    scores: NDArray[np.floating[Any]], classes: int, calibration: Calibration
) -> list[Prediction]:
    """Raw scores as the edge would see them."""
    values: NDArray[np.float64] = np.asarray(scores, np.float64)
    probabilities = calibrated(values, classes, calibration.temperature, calibration.slope)
    unknown = unknown_score(values, classes, calibration.unknown)
    return [
        Prediction(tuple(p), float(u)) for p, u in zip(probabilities.tolist(), unknown, strict=True)
    ]


def judge(
    scores: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    taxonomy: Taxonomy,
    calibration: Calibration,
) -> Evaluation | None:
    """All figures on these pictures; those labelled `UNKNOWN` are judged as unknown.

    None where no picture is of a class.
    """
    known = labels != UNKNOWN
    if not known.any():
        return None
    views = predictions(scores, len(taxonomy.categories), calibration)
    result = evaluate.evaluate(
        labels[known].tolist(),
        [v for v, k in zip(views, known, strict=True) if k],
        taxonomy,
        calibration.policy,
        unknown=[v for v, k in zip(views, known, strict=True) if not k],
        temperature=calibration.temperature,
    )
    raw = softmax(np.asarray(scores[known, : len(taxonomy.categories)], np.float64))
    return replace(result, ece_uncalibrated=evaluate.calibration_error(raw, labels[known]))


def judge_folds(corpus: Corpus, out: OutOfFold, calibration: Calibration) -> FoldFigures:
    """Of the out-of-fold scores in INT8."""
    labels, taxonomy = corpus.labels[out.rows], corpus.taxonomy
    roles = np.array([corpus.examples[i].role for i in out.rows])
    sources = np.array([corpus.examples[i].source for i in out.rows])
    unknown, other = roles == "unknown", roles == "extra"
    mine = np.isin(roles, ("train", "val"))

    def of(where: NDArray[np.bool_]) -> Evaluation | None:
        return judge(out.int8[where], labels[where], taxonomy, calibration)

    each = [one for k in np.unique(out.fold[mine]) if (one := of(mine & (out.fold == k)))]
    by_source = {
        name: one
        for name in sorted(set(sources[other].tolist()))
        if (one := of(other & (sources == name)))
    }
    return FoldFigures(
        grouped=of(mine | unknown) if mine.any() else None,
        label_spread=float(np.std([e.label_accuracy for e in each])) if each else 0.0,
        bin_spread=float(np.std([e.bin_accuracy for e in each])) if each else 0.0,
        other_sources=of(other | unknown) if other.any() else None,
        by_source=by_source,
        sources=over_sources(by_source.values()) if by_source else None,
        hazards=risky(out.int8, labels, taxonomy, calibration),
        int8=_int8_loss(out, labels, len(taxonomy.categories)),
    )


def _int8_loss(out: OutOfFold, labels: NDArray[np.int64], classes: int) -> Int8Loss | None:
    known = labels != UNKNOWN
    if not known.any() or np.array_equal(out.scores, out.int8):
        return None
    whole, small = (
        float((scores[known, :classes].argmax(1) == labels[known]).mean())
        for scores in (out.scores, out.int8)
    )
    return Int8Loss(int(known.sum()), whole, small, 100 * (whole - small))


def over_sources(each: Iterable[Evaluation]) -> OverSources:
    """Means over the evaluations of sources."""
    labels, bins, sorted_, wrong = np.array(
        [(e.label_accuracy, e.bin_accuracy, e.coverage, e.wrong_bin_rate) for e in each]
    ).T
    worst = np.sort(bins)[: max(1, len(bins) // 4)]
    return OverSources(
        n=len(labels),
        label_accuracy=float(labels.mean()),
        bin_accuracy=float(bins.mean()),
        bin_worst_quarter=float(worst.mean()),
        coverage=float(sorted_.mean()),
        wrong_bin_rate=float(wrong.mean()),
        above_1=int((wrong > 0.01).sum()),
        above_2=int((wrong > 0.02).sum()),
        above_5=int((wrong > 0.05).sum()),
    )


def risky(
    scores: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    taxonomy: Taxonomy,
    calibration: Calibration,
) -> Hazards:
    """Of the items whose bin is risky."""
    place = taxonomy.bin_indices()
    mine = np.array([y != UNKNOWN and taxonomy.bins[place[y]].risk > 1 for y in labels.tolist()])
    if not mine.any():
        return Hazards(0, 0)
    views = predictions(scores[mine], len(taxonomy.categories), calibration)
    decisions = [decide(view, taxonomy, calibration.policy) for view in views]
    wrong = sum(
        d.status is Status.SORTED and d.bin != taxonomy.bins[place[y]]
        for d, y in zip(decisions, labels[mine].tolist(), strict=True)
    )
    return Hazards(int(mine.sum()), wrong)


def document(figures: RunFigures) -> dict[str, Any]:
    """`metrics.json`."""
    result: dict[str, Any] = {"calibration": asdict(figures.calibration)}
    result |= _parts(figures, whole=True)
    if figures.folds is not None and figures.folds.by_source:
        sources = figures.folds.by_source.items()
        result["by_source"] = {name: _short(one) for name, one in sources}
    result["minutes"] = figures.minutes
    if figures.conversion is not None:
        result["conversion"] = conversion_document(figures.conversion)
    return result


def on_card(figures: RunFigures) -> dict[str, Any]:
    """The few that go on a card."""
    return {name: part for name, part in _parts(figures, whole=False).items() if part.get("n") != 0}


def conversion_document(conversion: Conversion) -> dict[str, Any]:
    """As it goes on a card, without what was not measured."""
    return {name: value for name, value in asdict(conversion).items() if value is not None}


def said(figures: RunFigures) -> list[str]:
    """A line for each set of pictures."""
    folds = figures.folds
    named = {"val": figures.val, "test": figures.test}
    if folds is not None:
        named |= {"grouped_folds": folds.grouped, "other_sources": folds.other_sources}
    return [one_line(name, one) for name, one in named.items() if one is not None or name == "val"]


def _parts(figures: RunFigures, *, whole: bool) -> dict[str, dict[str, Any]]:
    """What both documents hold, evaluations `whole` or short."""
    show = evaluate.to_dict if whole else _short
    result: dict[str, dict[str, Any]] = {"val": show(figures.val) if figures.val else {"n": 0}}
    if figures.test is not None:
        result["test"] = show(figures.test)
    folds = figures.folds
    if folds is None:
        return result
    if folds.grouped is not None:
        result["grouped_folds"] = {
            **show(folds.grouped),
            "label_accuracy_spread": round(folds.label_spread, 6),
            "bin_accuracy_spread": round(folds.bin_spread, 6),
        }
    if folds.other_sources is not None:
        result["other_sources"] = show(folds.other_sources)
    if folds.sources is not None:
        result["sources"] = _rounded(asdict(folds.sources))
    if folds.hazards.n:
        result["hazards"] = asdict(folds.hazards)
    if folds.int8 is not None:
        result["conversion_over_folds"] = _rounded(asdict(folds.int8))
    return result


def _short(evaluation: Evaluation) -> dict[str, Any]:
    return {k: v for k, v in evaluate.to_dict(evaluation).items() if k in ON_CARD}


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()}


def one_line(name: str, part: Evaluation | None) -> str:
    """Figures as a person reads them."""
    if part is None:
        return f"{name}: no pictures"
    text = (
        f"{name}: {counted(part.n, 'picture')}, label {part.label_accuracy:.2%}, bin "
        f"{part.bin_accuracy:.2%}, ECE {part.ece:.3f}, sorted {part.coverage:.1%}, "
        f"of which {part.wrong_bin_rate:.2%} in a wrong bin"
    )
    if part.unknown is not None:
        text += (
            f"; {part.unknown.n} unknown: AUROC {part.unknown.auroc:.3f}, "
            f"unsure {part.unknown.unsure:.1%}"
        )
    return text


def read_scores(
    file: Path, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[str]]:
    """Scores, labels and sites of an `oof.npz`. Raises DataError."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            scores, labels = stored["scores"], stored["labels"]
            sites = np.where(np.isin(stored["roles"], ("extra", "unknown")), stored["sources"], "")
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(
            f"{file}: holds no out-of-fold scores; name the oof.npz of a run with --folds"
        ) from error
    if scores.ndim != 2 or scores.shape[1] - classes not in (0, 1, 3):
        raise DataError(f"{file}: {scores.shape} scores do not fit {classes} classes; name another")
    return scores, labels, sites.tolist()
