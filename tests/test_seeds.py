"""The command that compares runs of several seeds, on three small runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.soak.seeds import agreement

SAID = np.array([[0, 1, 2, 3], [0, 1, 1, 3], [0, 1, 0, 2]])
LABELS = np.array([0, 2, 2, 3])


def test_agreement_tells_chance_from_what_no_run_gets_right() -> None:
    assert agreement(SAID, LABELS) == {
        "pictures": 4,
        "right in every run": 0.25,
        "right in some run": 0.75,
        "wrong alike in every run": 0.25,
    }


def test_it_names_the_file_that_every_run_calls_the_same(tmp_path: Path) -> None:
    pictures = tmp_path / "data"
    pictures.mkdir()
    digests = []
    for number in range(4):
        file = pictures / f"{number}.jpg"
        file.write_bytes(bytes([number]))
        digests.append(hashlib.sha256(file.read_bytes()).hexdigest())
    for seed, said in enumerate(SAID):
        run = tmp_path / f"run-{seed}"
        run.mkdir()
        strange = {"auroc": 0.9, "unsure": 0.85}
        part = {"label_accuracy": 0.8 + 0.01 * seed, "unknown": strange}
        (run / "metrics.json").write_text(json.dumps({"grouped_folds": part}), encoding="utf-8")
        np.savez(
            run / "oof.npz",
            torch_scores=np.eye(29)[said],
            labels=LABELS,
            digests=np.array(digests),
            roles=np.array(["train"] * 4),
        )
    runs = [tmp_path / f"run-{seed}" for seed in range(3)]
    words = [sys.executable, "-m", "tests.soak.seeds", *map(str, runs), "--data", str(pictures)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert '"grouped_folds label_accuracy": "81.00 ± 1.00"' in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if "→" in line] == ["1.jpg"]
