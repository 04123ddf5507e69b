"""The command that compares runs of several seeds, on three small runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from sorter.taxonomy import default_taxonomy
from train.judge.seeds import agreement

SAID = np.array([[0, 1, 2, 3, 5, 7, 8], [0, 1, 1, 3, 5, 7, 8], [0, 1, 0, 2, 5, 7, 8]])
LABELS = np.array([0, 2, 2, 3, 6, 9, -1])
ROLES = ["train", "train", "val", "train", "val", "extra", "unknown"]
MARGINS = [1.0, 1.0, 1.0, 1.0, 3.0, 9.0, 9.0]


def write_runs(folder: Path) -> list[Path]:
    """Runs that judged the pictures of `folder/data`."""
    pictures = folder / "data"
    pictures.mkdir()
    digests = []
    for number in range(len(LABELS)):
        file = pictures / f"{number}.jpg"
        file.write_bytes(bytes([number]))
        digests.append(hashlib.sha256(file.read_bytes()).hexdigest())
    runs = []
    for seed, said in enumerate(SAID):
        run = folder / f"run-{seed}"
        run.mkdir()
        unknown = {"auroc": 0.9 + 0.01 * seed, "unsure": 0.85}
        part = {"label_accuracy": 0.8 + 0.01 * seed, "unknown": unknown}
        (run / "metrics.json").write_text(json.dumps({"grouped_folds": part}), encoding="utf-8")
        np.savez(
            run / "oof.npz",
            torch_scores=np.eye(29)[said] * np.array(MARGINS)[:, None],
            labels=LABELS,
            digests=np.array(digests),
            roles=np.array(ROLES),
        )
        runs.append(run)
    return runs


def compare(runs: list[Path]) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "train.judge.seeds", *map(str, runs), "--data"]
    line += [str(runs[0].parent / "data")]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_agreement_tells_chance_from_what_no_run_gets_right() -> None:
    assert agreement(SAID[:, :4], LABELS[:4]) == {
        "pictures": 4,
        "right in every run": 0.25,
        "right in some run": 0.75,
        "wrong alike in every run": 0.25,
    }


def test_it_names_the_files_that_every_run_calls_the_same(tmp_path: Path) -> None:
    runs = write_runs(tmp_path)
    text = compare(runs).stdout
    report, named = text[: text.index("\n}\n") + 2], text[text.index("\n}\n") + 3 :]
    content = json.loads(report)
    assert content["spread"] == {
        "grouped_folds label_accuracy": "81.00 ± 1.00",
        "grouped_folds auroc": "91.00 ± 1.00",
        "grouped_folds unsure": "85.00 ± 0.00",
    }
    assert content["photographs"]["pictures"] == 5
    assert content["sources"] == {
        "pictures": 1,
        "right in every run": 0.0,
        "right in some run": 0.0,
        "wrong alike in every run": 1.0,
    }
    name = [item.name for item in default_taxonomy().categories]
    surest_first = [
        f"4.jpg  {name[6]} → {name[5]}",
        f"1.jpg  {name[2]} → {name[1]}",
    ]
    assert named.splitlines() == surest_first
