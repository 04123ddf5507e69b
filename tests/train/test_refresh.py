"""From twenty corrected pictures to refreshed weights: the commands of train/README.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.errors import DataError
from sorter.taxonomy import default_taxonomy
from tests.soak.refresh import RELEASED, measure
from tests.support.tiny import paint

pytest.importorskip("torch", reason="the training extra is not installed")

ROOT = Path(__file__).parents[2]


@pytest.mark.soak
def test_the_old_is_not_forgotten(data_root: Path, tmp_path: Path) -> None:
    found = measure(data_root, tmp_path, count=20, per_class=10, unknown=10)
    assert found["corrected"] == 60
    # One of 130 pictures is 0.77 points, and there are few old ones here.
    assert found["fall_points"] <= 0.8, json.dumps(found)


@pytest.mark.parametrize(
    ("classes", "unknown", "says"),
    [
        (3, True, "knows 23 classes that no picture here shows"),
        (26, False, "knows things that are of no class"),
    ],
)
def test_a_refresh_that_would_forget_is_refused(
    classes: int, unknown: bool, says: str, tmp_path: Path
) -> None:
    """Corrected pictures alone: every figure of the run would be fine."""
    codes = [item.code for item in default_taxonomy().categories[:classes]]
    for number, code in enumerate(codes):
        (tmp_path / "corrected" / code).mkdir(parents=True)
        for i in range(4):
            paint(tmp_path / "corrected" / code / f"{i}.png", (9 * number, 40 * i, 7 * i))
    (tmp_path / "strange").mkdir()
    paint(tmp_path / "strange" / "a.png", (1, 2, 3))
    out = tmp_path / "run"
    line = ["train", tmp_path / "corrected", "--init", RELEASED / "checkpoint.pt"]
    line += ["--stage", "head", "--out", out, "--cache", tmp_path / "cache"]
    line += ["--unknown", tmp_path / "strange"] if unknown else []
    done = CliRunner().invoke(app, [str(word) for word in line])
    assert isinstance(done.exception, DataError), done.output
    assert says in str(done.exception) and "sorter teach" in str(done.exception)
    assert not list(out.glob("*.pt")), "nothing was trained"
