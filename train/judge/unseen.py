"""What a release's temperature and thresholds do on folds, also on those they were not fitted to.

    sorter train ... --folds 5 --set folds_run=5 --out run
    python -m train.judge.unseen run --checkpoint BUNDLE/checkpoint.pt --fold 3 --fold 4

A run's metrics judge thresholds on the scores that set them. This reads `oof.npz`, takes the
calibration of `--checkpoint` instead, and judges INT8's scores of the folds named (all of them
without any). Judges alone; `sorter train` makes the scores.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sorter.taxonomy import default_taxonomy
from train import checkpoint
from train.judge import figures
from train.judge.calibrate import Calibration, from_json

SHOWN = ("n", "label_accuracy", "bin_accuracy", "ece", "coverage", "wrong_bin_rate")


def judged(
    stored: dict[str, NDArray[Any]], where: NDArray[np.bool_], calibration: Calibration
) -> dict[str, Any]:
    """The figures of some pictures of an `oof.npz`, those of no class among them as unknown."""
    result = figures.judge(
        stored["scores"][where], stored["labels"][where], default_taxonomy(), calibration
    )
    unknown = {k: result["unknown"][k] for k in ("n", "auroc", "unsure") if "unknown" in result}
    return {name: result[name] for name in SHOWN if name in result} | {"unknown": unknown}


def report(stored: dict[str, NDArray[Any]], calibration: Calibration) -> dict[str, Any]:
    """Photographs, sources, each source, and what INT8 costs against torch."""
    roles, sources, labels = stored["roles"], stored["sources"], stored["labels"]
    unknown, other = roles == "unknown", roles == "extra"
    own = ~unknown & ~other
    result: dict[str, Any] = {
        "photographs": judged(stored, own | unknown, calibration),
        "sources": judged(stored, other | unknown, calibration),
    }
    each = {
        name: judged(stored, other & (sources == name), calibration)
        for name in sorted(set(sources[other].tolist()))
    }
    if each:
        result["each_source"] = figures.over_sources(list(each.values()))
    result["hazards"] = figures.risky(
        stored["scores"], stored["labels"], default_taxonomy(), calibration
    )
    classes = len(default_taxonomy().categories)
    torch_right, int8_right = (
        (stored[name][~unknown, :classes].argmax(1) == labels[~unknown]).mean()
        for name in ("torch_scores", "scores")
    )
    result["int8_gain_points"] = round(100 * float(int8_right - torch_right), 4)
    return result | {"by_source": each}


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
    typer.echo(json.dumps(report(chosen, calibration), indent=1))


if __name__ == "__main__":
    typer.run(main)
