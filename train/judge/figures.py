"""A run's figures: the edge's own evaluation of raw scores, over splits, folds and sources.

Owns which pictures are judged together. What a figure means belongs to `sorter.vision.evaluate`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
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
from train.data.corpus import UNKNOWN, Corpus
from train.judge.calibrate import Calibration, calibrated, softmax, unknown_score
from train.judge.folds import OutOfFold

KEYS = (
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
) -> dict[str, Any]:
    """All figures on these pictures; those labelled `UNKNOWN` are judged as unknown."""
    known = labels != UNKNOWN
    if not known.any():
        return {"n": 0}
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
    before = evaluate.calibration_error(raw, labels[known])
    return {**evaluate.to_dict(result), "ece_uncalibrated": round(before, 6)}


def judge_folds(corpus: Corpus, out: OutOfFold, calibration: Calibration) -> dict[str, Any]:
    """`grouped_folds` over the data's own pictures; `other_sources`, `by_source` over the rest.

    All as the edge runs the networks; `conversion_over_folds` says what INT8 costs against torch.
    """
    labels = corpus.labels[out.rows]
    roles = np.array([corpus.examples[i].role for i in out.rows])
    sources = np.array([corpus.examples[i].source for i in out.rows])
    unknown = roles == "unknown"
    result: dict[str, Any] = {}
    mine = np.isin(roles, ("train", "val"))
    taxonomy = corpus.taxonomy

    def of(where: NDArray[np.bool_]) -> dict[str, Any]:
        return judge(out.int8[where], labels[where], taxonomy, calibration)

    if mine.any():
        result["grouped_folds"] = of(mine | unknown)
        each = [of(mine & (out.fold == k)) for k in np.unique(out.fold[mine])]
        for key in ("label_accuracy", "bin_accuracy"):
            values = [e[key] for e in each]
            result["grouped_folds"][f"{key}_spread"] = round(float(np.std(values)), 6)
    other = roles == "extra"
    if other.any():
        result["other_sources"] = of(other | unknown)
        result["by_source"] = {
            name: {k: v for k, v in of(other & (sources == name)).items() if k in KEYS}
            for name in sorted(set(sources[other].tolist()))
        }
        result["sources"] = over_sources(list(result["by_source"].values()))
    hazard = risky(out.int8, labels, taxonomy, calibration)
    if hazard["n"]:
        result["hazards"] = hazard
    known = labels != UNKNOWN
    if known.any() and not np.array_equal(out.scores, out.int8):
        whole, small = (
            float((s[known, : len(taxonomy.categories)].argmax(1) == labels[known]).mean())
            for s in (out.scores, out.int8)
        )
        result["conversion_over_folds"] = {
            "pictures": int(known.sum()),
            "torch_label_accuracy": round(whole, 6),
            "int8_label_accuracy": round(small, 6),
            "int8_drop_points": round(100 * (whole - small), 4),
        }
    return result


def over_sources(each: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the next site may expect: means over sources, each counting the same.

    `bin_worst_quarter` is the mean bin accuracy of the quarter of sources that fare worst;
    `above_N` counts the sources with more than N per cent of what they sort in a wrong bin.
    """
    labels, bins, sorted_, wrong = (
        np.array([one[key] for one in each])
        for key in ("label_accuracy", "bin_accuracy", "coverage", "wrong_bin_rate")
    )
    worst = np.sort(bins)[: max(1, len(bins) // 4)]
    values = {
        "label_accuracy": labels.mean(),
        "bin_accuracy": bins.mean(),
        "bin_worst_quarter": worst.mean(),
        "coverage": sorted_.mean(),
        "wrong_bin_rate": wrong.mean(),
    }
    return {
        "n": len(each),
        **{name: round(float(value), 6) for name, value in values.items()},
        **{f"above_{limit}": int((wrong > limit / 100).sum()) for limit in (1, 2, 5)},
    }


def risky(
    scores: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    taxonomy: Taxonomy,
    calibration: Calibration,
) -> dict[str, int]:
    """Of items whose bin is risky (`Bin.risk` above 1): how many, and how many sorted wrongly."""
    place = taxonomy.bin_indices()
    mine = np.array([y != UNKNOWN and taxonomy.bins[place[y]].risk > 1 for y in labels.tolist()])
    if not mine.any():
        return {"n": 0, "sorted_wrong": 0}
    views = predictions(scores[mine], len(taxonomy.categories), calibration)
    decisions = [decide(view, taxonomy, calibration.policy) for view in views]
    wrong = sum(
        d.status is Status.SORTED and d.bin != taxonomy.bins[place[y]]
        for d, y in zip(decisions, labels[mine].tolist(), strict=True)
    )
    return {"n": int(mine.sum()), "sorted_wrong": wrong}


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The few figures that go on a card."""
    return {
        name: {k: v for k, v in part.items() if k in KEYS or k.endswith("_spread")}
        for name, part in result.items()
        if isinstance(part, dict) and "label_accuracy" in part
    } | {k: result[k] for k in ("conversion_over_folds", "sources", "hazards") if k in result}


def one_line(name: str, part: Mapping[str, Any]) -> str:
    """Figures as a person reads them."""
    if not part.get("n"):
        return f"{name}: no pictures"
    text = (
        f"{name}: {counted(part['n'], 'picture')}, label {part['label_accuracy']:.2%}, bin "
        f"{part['bin_accuracy']:.2%}, ECE {part['ece']:.3f}, sorted {part['coverage']:.1%}, "
        f"of which {part['wrong_bin_rate']:.2%} in a wrong bin"
    )
    if "unknown" in part:
        unknown = part["unknown"]
        text += (
            f"; {unknown['n']} unknown: AUROC {unknown['auroc']:.3f}, "
            f"unsure {unknown['unsure']:.1%}"
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
