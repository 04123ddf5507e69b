"""From twenty corrected pictures to refreshed weights: the commands of train/README.md."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.refresh import RELEASED, correct, measure, refresh, sorter

pytest.importorskip("torch", reason="the training extra is not installed")

ROOT = Path(__file__).parents[2]


def test_twenty_corrected_pictures_become_weights_that_know_them(tmp_path: Path) -> None:
    drawn = [sys.executable, "-m", "train.drawn"]
    data, strange = tmp_path / "data", tmp_path / "strange"
    subprocess.run([*drawn, data, "--per-class", "6", "--seed", "1"], check=True, cwd=ROOT)
    subprocess.run([*drawn, strange, "--per-class", "1", "--seed", "2"], check=True, cwd=ROOT)
    # Other drawings, named as a ring names them, with a class that is wrong for most.
    ring, truth = tmp_path / "ring", {}
    ring.mkdir()
    for number, file in enumerate(sorted(strange.glob("*/*.jpg"))[:20]):
        name = f"20261125T1200{number:02d}Z_n{number}_00_00_31.jpg"
        shutil.copy(file, ring / name)
        truth[name] = file.parent.name
    assert correct(ring, tmp_path / "corrected", truth) == len(truth)
    result = refresh(data, tmp_path / "corrected", tmp_path / "run", "--cache", tmp_path / "cache")
    assert result["val"]["label_accuracy"] >= 0.8
    csv = tmp_path / "out.csv"
    sorter("classify", ring, "--model", tmp_path / "run" / "bundle", "--csv", csv, "--precision",
           "fp16")  # fmt: skip
    import csv as reader

    with csv.open(encoding="utf-8", newline="") as stream:
        rows = list(reader.DictReader(stream))
    right = sum(row["code"] == truth[Path(row["path"]).name] for row in rows)
    assert right >= 0.9 * len(truth)


@pytest.mark.soak
def test_the_old_is_not_forgotten(data_root: Path, tmp_path: Path) -> None:
    found = measure(data_root, tmp_path, count=20, per_class=100)
    assert found["corrected"] == 60
    assert found["fall_points"] <= 0.5, json.dumps(found)


def test_the_readme_says_these_commands() -> None:
    text = (ROOT / "train" / "README.md").read_text(encoding="utf-8")
    assert re.search(r"sorter review \S+ --into corrected", text)
    assert f"--init weights/{RELEASED.name}/checkpoint.pt" in text
    assert "--stage head" in text
