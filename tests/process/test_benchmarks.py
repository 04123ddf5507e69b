"""The benchmark's own side at a tiny size: pictures made, processes run, figures that belong."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.benchmarks.__main__ import main
from tests.benchmarks.report import median, to_markdown
from tests.benchmarks.runner import Lap


def test_our_own_side_runs_and_reports(tmp_path: Path) -> None:
    words = ["--only", "sorter", "--sets", "jpeg-300px", "png-800px", "--count", "6"]
    words += ["--rounds", "1", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    document = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert list(document["results"]) == ["jpeg-300px", "png-800px"]
    for row in document["results"].values():
        lap = row["sorter"]
        assert lap["rate_per_s"] > 1
        assert 0 < lap["cpu_s"] < 5
        assert 0 < lap["first_s"] < 60
        assert 20 < lap["peak_mb"] < 2000
    assert "| sorter |" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    files = sorted((tmp_path / "work" / "pictures").glob("*/*.jpg"))
    assert len(files) == 6
    with Image.open(files[0]) as picture:
        assert picture.size == (300, 300)


def test_the_table_is_by_rate_and_in_ratios() -> None:
    slow, fast = Lap(10.0, 0.2, 3.0, 500.0), Lap(40.0, 0.05, 1.0, 200.0)
    lines = to_markdown({"a": {"peer": slow, "sorter": fast}}).splitlines()
    rows = [line for line in lines if "×" in line]
    assert [row.split("|")[1].strip() for row in rows] == ["sorter", "peer"]
    assert "4.00 ×" in rows[1]
    assert median([slow, fast, fast]) == fast
