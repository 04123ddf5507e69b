"""`sorter bundle map`: classes go to other bins, the networks answer as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.vision.bundle import open_bundle
from sorter.vision.model import open_model
from tests.support.schooled import pictures_of
from tests.support.tiny import colour_of, taxonomy3, write_bundle


def test_another_map_and_the_same_answers(tmp_path: Path) -> None:
    old = write_bundle(tmp_path / "old")
    words = ["bundle", "map", "罐=Rest", "0102=metal", "--model", str(old), "--out"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    new = open_bundle(tmp_path / "new")
    assert [c.bin for c in new.taxonomy.categories] == ["rest", "rest", "metal"]
    assert new.policy == open_bundle(old).policy
    assert "can: Metal → Rest" in done.stdout
    pixels = pictures_of(colour_of(taxonomy3(), 0), 3, 1)
    before, after = (open_model(p).classifier.predict(pixels) for p in (old, new.path))
    assert np.array_equal(before.probabilities, after.probabilities)


@pytest.mark.parametrize(
    ("pair", "message"),
    [("dog=metal", "CLASS=BIN"), ("can", "CLASS=BIN"), ("can=sea", "choose metal, rest")],
)
def test_what_is_no_class_or_no_bin_is_refused(tmp_path: Path, pair: str, message: str) -> None:
    old = write_bundle(tmp_path / "old")
    words = ["bundle", "map", pair, "--model", str(old), "--out", str(tmp_path / "new")]
    done = CliRunner().invoke(app, words)
    assert message in str(done.exception)
    assert not (tmp_path / "new").exists()


BINS = (
    '[[bins]]\nkey = "rest"\nname = "Rest"\n[[bins]]\nkey = "sea"\nname = "Sea"\n'
    '[[items]]\ncode = "0102"\nname = "pill"\nbin = "sea"\n'
    '[[items]]\ncode = "0001"\nname = "can"\nbin = "sea"\n'
)


def test_bins_of_ones_own(tmp_path: Path) -> None:
    """In the model's order of classes; a new bin is as strict as the strictest they came from."""
    old, file = open_bundle(write_bundle(tmp_path / "old")), tmp_path / "own.toml"
    words = ["bundle", "map", "--model", str(old.path), "--taxonomy", str(file)]
    file.write_text(BINS)
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "new")])
    assert "lacks 0101 peel" in str(done.exception)
    file.write_text(BINS + '[[items]]\ncode = "0101"\nname = "peel"\nbin = "rest"\n')
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    new = open_bundle(tmp_path / "new")
    assert [c.code for c in new.taxonomy.categories] == ["0001", "0101", "0102"]
    assert [c.bin for c in new.taxonomy.categories] == ["sea", "rest", "sea"]
    metal, rest = old.policy.bin_thresholds
    assert new.policy.bin_thresholds == (rest, max(metal, rest))
