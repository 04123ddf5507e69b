"""The run's pictures: curves, confusion, reliability, and a page of the worst mistakes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sorter.errors import FolderError
from sorter.files import whole_path
from sorter.report.cards import Mistake, MistakeSheet
from sorter.vision import images, thumbnail
from train.data.corpus import UNKNOWN, Corpus
from train.judge.calibrate import Calibration, calibrated
from train.progress import Epoch

_WORST = 60


def draw(
    folder: Path,
    corpus: Corpus,
    history: Sequence[Epoch],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    calibration: Calibration,
) -> None:
    """Write history.csv, curves.png, confusion.png, reliability.png, mistakes.html.

    Only those that there is something to show in.
    """
    import matplotlib

    matplotlib.use("Agg")
    labels = corpus.labels[rows]
    known = labels != UNKNOWN
    classes = len(corpus.taxonomy.categories)
    probabilities = calibrated(scores[known], classes, calibration.temperature, calibration.slope)
    try:
        if history:  # a head that is fitted alone has no epochs
            _write_history(folder / "history.csv", history)
            _draw_curves(folder / "curves.png", history)
        if known.any():
            _draw_confusion(folder / "confusion.png", corpus, labels[known], probabilities)
            _draw_reliability(folder / "reliability.png", labels[known], probabilities)
            _write_mistakes(folder / "mistakes.html", corpus, rows[known], probabilities)
    except OSError as error:
        raise FolderError(f"{folder}: cannot write the plots: {error}") from error


def _write_history(file: Path, history: Sequence[Epoch]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        rows = [asdict(epoch) for epoch in history]
        writer = csv.DictWriter(stream, [k for k, v in rows[0].items() if v is not None])
        writer.writeheader()
        writer.writerows({k: row[k] for k in writer.fieldnames} for row in rows)


def _draw_curves(file: Path, history: Sequence[Epoch]) -> None:
    figure, axes = _figure(2, (9, 3.5))
    epochs = [h.epoch for h in history]
    axes[0].plot(epochs, [h.loss for h in history], marker=".")
    axes[0].set(title="loss", xlabel="epoch")
    if history[0].val_top1 is not None:
        axes[1].plot(epochs, [h.val_top1 for h in history], marker=".", label="label")
        axes[1].plot(epochs, [h.val_bin for h in history], marker=".", label="bin")
        axes[1].legend()
    axes[1].set(title="validation accuracy", xlabel="epoch")
    _save(figure, file)


def _draw_confusion(
    file: Path, corpus: Corpus, labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> None:
    items = corpus.taxonomy.categories
    table = np.zeros((len(items), len(items)), np.int64)
    np.add.at(table, (labels, probabilities.argmax(1)), 1)
    side = 3 + 0.28 * len(items)
    figure, (axis,) = _figure(1, (side, side))
    axis.imshow(table / np.maximum(1, table.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    for t, p in zip(*np.nonzero(table), strict=True):
        dark = table[t, p] > table[t].sum() / 2
        axis.text(
            p, t, table[t, p], ha="center", va="center", fontsize=7, color="w" if dark else "k"
        )
    names = [f"{i.code} {i.name}" for i in items]
    axis.set_xticks(range(len(items)), [i.code for i in items], rotation=90, fontsize=7)
    axis.set_yticks(range(len(items)), names, fontsize=7)
    axis.set(xlabel="called", ylabel="is")
    _save(figure, file)


def _draw_reliability(
    file: Path, labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> None:
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    slot = np.clip((confidence * 10).astype(int), 0, 9)
    figure, (axis,) = _figure(1, (4, 4))
    axis.plot([0, 1], [0, 1], color="0.7")
    have = [s for s in range(10) if (slot == s).any()]
    axis.plot(
        [confidence[slot == s].mean() for s in have],
        [right[slot == s].mean() for s in have],
        marker="o",
    )
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    _save(figure, file)


def _write_mistakes(
    file: Path, corpus: Corpus, rows: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> None:
    """The most confident wrong answers, as a page that needs no other file."""
    items = corpus.taxonomy.categories
    labels = corpus.labels[rows]
    called = probabilities.argmax(1)
    wrong = np.flatnonzero(called != labels)
    wrong = wrong[np.argsort(-probabilities[wrong, called[wrong]], kind="stable")][:_WORST]
    title = f"{len(wrong)} worst mistakes of {len(labels)}"
    with MistakeSheet(file, title=title) as sheet:
        for i in wrong:
            path, sure = corpus.examples[rows[i]].path, float(probabilities[i, called[i]])
            sheet.show(
                Mistake(path, items[labels[i]], items[called[i]], sure),
                thumbnail.draw(images.load(path, thumbnail.SIDE_PX)),
            )


def _figure(count: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    return figure, axes


def _save(figure: Any, file: Path) -> None:
    with whole_path(file, option="--out") as part:
        figure.savefig(part, dpi=110, format="png")
