"""A release's calibration on scores of folds: only those named, and its own thresholds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from train import checkpoint  # noqa: E402
from train.judge.calibrate import Calibration, to_json  # noqa: E402

LABELS = [0, 0, 1, 0, 0, -1, -1]
SAID = [0, 1, 1, 0, 5, 0, 0]
SURE = [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 0.0]
ROLES = ["train", "train", "extra", "val", "extra", "unknown", "unknown"]
FOLDS = [0, 0, 0, 1, 1, 1, 1]


def judge(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    scores = np.zeros((len(SAID), 26), np.float32)
    scores[np.arange(len(SAID)), SAID] = SURE
    np.savez(
        folder / "oof.npz",
        scores=scores,
        torch_scores=np.roll(scores, 1, axis=1),
        labels=np.array(LABELS),
        fold=np.array(FOLDS),
        roles=np.array(ROLES),
        sources=np.array(["", "", "shop", "", "web", "heap", "heap"]),
    )
    calibration = Calibration(1.0, (0.5,) * 4, 0.5, (2.0, 0.0, -0.5, 0.0, 0.0, 0.0))
    checkpoint.save(folder / "final.pt", {"calibration": to_json(calibration)})
    line = [sys.executable, "-m", "train.judge.unseen", str(folder), "--checkpoint"]
    line += [str(folder / "final.pt"), *words]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_all_folds(tmp_path: Path) -> None:
    found = json.loads(judge(tmp_path).stdout)
    assert found["photographs"]["n"] == 3
    assert found["photographs"]["label_accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert found["photographs"]["unknown"] == {"n": 2, "auroc": 0.75, "unsure": 0.5}
    assert found["sources"]["n"] == 2
    assert found["each_source"]["label_accuracy"] == 0.5
    assert {name: one["label_accuracy"] for name, one in found["by_source"].items()} == {
        "shop": 1.0,
        "web": 0.0,
    }
    assert found["int8_gain_points"] == 60.0


def test_one_fold(tmp_path: Path) -> None:
    found = json.loads(judge(tmp_path, "--fold", "1").stdout)
    assert (found["photographs"]["n"], found["photographs"]["label_accuracy"]) == (1, 1.0)
    assert list(found["by_source"]) == ["web"]
