"""What a release's temperature and thresholds do on folds, also on those they were not fitted to.

    sorter train ... --folds 5 --set folds_run=5 --out run
    python -m train.judge.unseen run --checkpoint BUNDLE/checkpoint.pt --fold 3 --fold 4

A run's metrics judge thresholds on the scores that set them. This reads `oof.npz`, takes the
calibration of `--checkpoint` instead, and judges INT8's scores of the folds named (all of them
without any). Judges alone; `sorter train` makes the scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sorter.taxonomy import default_taxonomy
from sorter.vision.evaluate import Evaluation
from train import checkpoint
from train.judge import figures
from train.judge.calibrate import Calibration, from_json

SHOWN = ("n", "label_accuracy", "bin_accuracy", "ece", "coverage", "wrong_bin_rate")


class Stored:
    """The arrays of an `oof.npz`, or those of some of its pictures."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.scores, self.torch_scores = arrays["scores"], arrays["torch_scores"]
        self.labels, self.roles = arrays["labels"], arrays["roles"]
        self.sources = arrays["sources"]

    def judge(self, where: NDArray[np.bool_], calibration: Calibration) -> Evaluation | None:
        """Of some of the pictures, those of no class among them as unknown."""
        return figures.judge(
            self.scores[where], self.labels[where], default_taxonomy(), calibration
        )


def report(stored: Stored, calibration: Calibration) -> dict[str, Any]:
    """Photographs, sources, each source, and what INT8 costs against torch: a document."""
    taxonomy, unknown, other = (
        default_taxonomy(),
        stored.roles == "unknown",
        stored.roles == "extra",
    )
    each = {
        name: one
        for name in sorted(set(stored.sources[other].tolist()))
        if (one := stored.judge(other & (stored.sources == name), calibration))
    }
    result: dict[str, Any] = {
        "photographs": _shown(stored.judge(~other, calibration)),
        "sources": _shown(stored.judge(other | unknown, calibration)),
    }
    if each:
        result["each_source"] = asdict(figures.over_sources(each.values()))
    result["hazards"] = asdict(figures.risky(stored.scores, stored.labels, taxonomy, calibration))
    classes, labels = len(taxonomy.categories), stored.labels[~unknown]
    torch_right, int8_right = (
        (scores[~unknown, :classes].argmax(1) == labels).mean()
        for scores in (stored.torch_scores, stored.scores)
    )
    result["int8_gain_points"] = round(100 * float(int8_right - torch_right), 4)
    return result | {"by_source": {name: _shown(one) for name, one in each.items()}}


def _shown(evaluation: Evaluation | None) -> dict[str, Any]:
    if evaluation is None:
        return {"n": 0, "unknown": {}}
    values = {name: getattr(evaluation, name) for name in SHOWN}
    unknown = asdict(evaluation.unknown) if evaluation.unknown else {}
    return values | {"unknown": unknown}


def main(
    run: Annotated[Path, typer.Argument(help="A run's folder, with oof.npz.")],
    model: Annotated[Path, typer.Option("--checkpoint", help="Whose calibration judges.")],
    fold: Annotated[list[int] | None, typer.Option(help="Only this one, from 0 on.")] = None,
) -> None:
    """Print the figures as JSON."""
    calibration = from_json(checkpoint.load(model)["calibration"])
    with np.load(run / "oof.npz", allow_pickle=False) as content:
        stored = {name: content[name] for name in content.files}
    where = np.isin(stored["fold"], fold) if fold else np.ones(len(stored["fold"]), bool)
    if not where.any():
        raise typer.BadParameter(f"{run}: no picture of fold {fold}")
    chosen = {name: values[where] for name, values in stored.items()}
    typer.echo(json.dumps(report(Stored(chosen), calibration), indent=1))


if __name__ == "__main__":
    typer.run(main)
