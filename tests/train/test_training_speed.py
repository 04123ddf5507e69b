"""The benchmark of training runs whole, small."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.benchmarks.training import main
from tests.support.train_pictures import write_folder, write_taxonomy


def test_it_measures_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_folder(tmp_path / "data", train=4, val=2)
    words = ["--seconds", "0.01", "--device", "cpu", "--batch", "4", "--data", str(data)]
    assert main([*words, "--taxonomy", str(write_taxonomy(tmp_path))]) == 0
    said = capsys.readouterr().out
    for part in ("changing pictures alone", "0 blocks frozen", "7 blocks frozen", "held out"):
        assert part in said
    assert "Self CPU time total" in said
