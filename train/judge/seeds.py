"""How far a recipe's figures spread over seeds, and what no seed gets right.

    for s in 0 1 2; do sorter train ... --seed $s --folds 5 --out run-$s; done
    python -m train.judge.seeds run-0 run-1 run-2 --data DIR

Reads each run's `metrics.json` and `oof.npz`. A picture that every run puts into the same wrong
class was no accident of one training: it looks like that class, or is labelled as it does not look.
The surest of them are named, by their files under `--data`. The class is the likeliest of all, by
torch; the metrics count the likeliest of the bin that was chosen.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sorter.taxonomy import default_taxonomy
from sorter.vision import images

FIGURES = ("label_accuracy", "bin_accuracy", "ece", "coverage", "wrong_bin_rate")


def figures(run: Path) -> dict[str, float]:
    """What a run's metrics say of photographs and of sources never trained on."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    found: dict[str, float] = {}
    for part in ("grouped_folds", "other_sources"):
        values: dict[str, Any] = metrics.get(part, {})
        found |= {f"{part} {name}": values[name] for name in FIGURES if name in values}
        found |= {
            f"{part} {name}": values["unknown"][name]
            for name in ("auroc", "unsure")
            if "unknown" in values
        }
    return found


def spread(runs: list[Path]) -> dict[str, str]:
    """Mean and standard deviation of each figure that all runs have, in per cent."""
    each = [figures(run) for run in runs]
    names = [name for name in each[0] if all(name in one for one in each)]
    table = np.array([[one[name] for name in names] for one in each]) * 100
    means, deviations = table.mean(0), table.std(0, ddof=1)
    return {n: f"{m:.2f} ± {d:.2f}" for n, m, d in zip(names, means, deviations, strict=True)}


def agreement(said: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Shares of the pictures: `said` (runs, N) against `labels` (N,)."""
    right = said == labels
    return {
        "pictures": len(labels),
        "right in every run": round(float(right.all(0).mean()), 4),
        "right in some run": round(float(right.any(0).mean()), 4),
        "wrong alike in every run": round(float(wrong_alike(said, labels).mean()), 4),
    }


def wrong_alike(said: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where every run says the same, and not the label."""
    alike: NDArray[np.bool_] = (said == said[0]).all(0) & (said[0] != labels)
    return alike


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs with other seeds.")],
    data: Annotated[Path, typer.Option(help="The pictures by others, to name files.")],
    names: Annotated[int, typer.Option(help="So many of the surest are named.")] = 20,
) -> None:
    """Print the spread, the agreement, and the surest errors."""
    classes = default_taxonomy().categories
    parts = [np.load(run / "oof.npz", allow_pickle=False) for run in runs]
    if len(runs) < 2:
        raise typer.BadParameter("one run has no spread; name two or more")
    first = parts[0]
    if any(not np.array_equal(p["digests"], first["digests"]) for p in parts):
        raise typer.BadParameter("the runs judged other pictures, or the same in another order")
    scores = np.stack([part["torch_scores"][:, : len(classes)] for part in parts])
    labels, roles, said = first["labels"], first["roles"], scores.argmax(2)
    own = np.isin(roles, ("train", "val"))
    report: dict[str, Any] = {"spread": spread(runs)}
    for name, where in (("photographs", own), ("sources", roles == "extra")):
        if where.any():
            report[name] = agreement(said[:, where], labels[where])
    typer.echo(json.dumps(report, indent=1, ensure_ascii=False))

    mean = scores.mean(0)
    sure = mean.max(1) - np.sort(mean, 1)[:, -2]
    alike = np.flatnonzero(own & wrong_alike(said, labels))
    surest = alike[np.argsort(-sure[alike])][:names]
    wanted = {str(first["digests"][row]): row for row in surest}
    places = {}
    for path in images.find([data]):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in wanted:
            places[wanted[digest]] = path.relative_to(data)
    for row in surest:
        label, seen = classes[labels[row]].name, classes[said[0, row]].name
        typer.echo(f"{places.get(row, '?')}  {label} → {seen}")


if __name__ == "__main__":
    typer.run(main)
