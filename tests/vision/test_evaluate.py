"""Figures checked by hand on small cases, and the command on real folders and a real model."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.domain import Policy, Prediction
from sorter.errors import SorterError
from sorter.vision.evaluate import auroc, calibration_error, evaluate
from tests.support.tiny import colour_of, paint, taxonomy3, write_bundle

TAXONOMY = taxonomy3()
POLICY = Policy((0.6, 0.6), unknown_threshold=0.5)


def test_figures_by_hand() -> None:
    predictions = [
        Prediction((0.9, 0.05, 0.05), 0.1),  # can, right
        Prediction((0.4, 0.35, 0.25), 0.1),  # can called peel: bins 0.4 and 0.6
        Prediction((0.1, 0.2, 0.7), 0.1),  # peel called pill: right bin
        Prediction((0.8, 0.1, 0.1), 0.9),  # pill in a wrong bin, but left unsure as unknown
    ]
    found = evaluate([0, 0, 1, 2], predictions, TAXONOMY, POLICY)
    assert found.label_accuracy == 0.25
    assert found.top1_accuracy == 0.5
    assert found.bin_accuracy == 0.5
    assert found.coverage == 0.75
    assert found.wrong_bin_rate == pytest.approx(1 / 3)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert [(g.name, g.recall) for g in found.by_bin] == [("Metal", 0.5), ("Rest", 0.5)]
    curve = {p.threshold: p for p in found.curve}
    assert curve[0.0].coverage == 0.75, "what is unknown is sorted at no threshold"
    assert curve[0.0].wrong_bin_rate == pytest.approx(1 / 3)
    assert (curve[0.85].coverage, curve[0.85].wrong_bin_rate) == (0.5, 0.0)


def test_calibration_error_before_the_temperature() -> None:
    scores = np.array([[4.0, 0.0, 1.0], [3.0, 1.0, 0.0], [0.0, 2.0, 5.0]])
    labels = np.array([0, 1, 2])

    def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
        shares: NDArray[np.float64] = np.exp(values) / np.exp(values).sum(1, keepdims=True)
        return shares

    released = [Prediction(tuple(row), 0.0) for row in softmax(scores / 2.5).tolist()]
    found = evaluate(labels.tolist(), released, TAXONOMY, POLICY, temperature=2.5)
    assert found.ece_uncalibrated == pytest.approx(calibration_error(softmax(scores), labels))
    assert found.ece != pytest.approx(found.ece_uncalibrated)


def test_unknown_pictures() -> None:
    known = [Prediction((0.9, 0.05, 0.05), 0.1), Prediction((0.05, 0.9, 0.05), 0.4)]
    unknown = [Prediction((0.9, 0.05, 0.05), 0.6), Prediction((0.9, 0.05, 0.05), 0.2)]
    found = evaluate([0, 1], known, TAXONOMY, POLICY, unknown=unknown).unknown
    assert found is not None
    assert (found.n, found.unsure, found.auroc) == (2, 0.5, 0.75)


def test_auroc_counts_ties_half() -> None:
    assert auroc(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0.5
    assert auroc(np.array([0.9]), np.array([0.1, 0.2])) == 1.0


def test_calibration_error_of_a_sure_and_wrong_model() -> None:
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert calibration_error(sure, np.array([0, 1])) == pytest.approx(0.5)
    assert calibration_error(sure, np.array([0, 0])) == pytest.approx(0.0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for split in ("train", "val"):
        for index, item in enumerate(TAXONOMY.categories):
            folder = root / "data" / split / item.code
            folder.mkdir(parents=True)
            paint(folder / "a.png", colour_of(TAXONOMY, index))
    # One picture lies in the wrong folder: the model is right and the label is not.
    paint(root / "data" / "val" / "0001" / "b.png", colour_of(TAXONOMY, 1))
    (root / "strange" / "tray").mkdir(parents=True)
    paint(root / "strange" / "tray" / "grey.png", (128, 128, 128))
    return root


def test_the_command_judges_both_precisions(pictures: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    words = ["evaluate", str(pictures / "data"), "--model", str(bundle), "--json"]
    words += ["--unknown", str(pictures / "strange"), "--mistakes", str(tmp_path / "m.csv")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document) == {"fp16", "int8"}
    for figures in document.values():
        assert figures["n"] == 4
        assert figures["label_accuracy"] == 0.75
        assert figures["unknown"] == {"n": 1, "unsure": 1.0, "auroc": 1.0}
    with (tmp_path / "m.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["precision"], Path(r["path"]).name, r["called"]) for r in rows] == [
        ("fp16", "b.png", "peel"),
        ("int8", "b.png", "peel"),
    ]


def test_the_held_out_split_is_judged_and_named(pictures: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    data = tmp_path / "data"
    shutil.copytree(pictures / "data" / "train", data / "train")
    shutil.copytree(pictures / "data" / "val", data / "Valid")
    words = ["evaluate", str(data), "--model", str(bundle), "--precision", "int8", "--json"]
    done = CliRunner().invoke(app, words[:-1])
    assert f"judged on the validation split of {data}\n" in done.stdout
    assert "int8: 4 pictures" in done.stdout
    shutil.copytree(pictures / "data" / "train", data / "test")
    done = CliRunner().invoke(app, words)
    figures = json.loads(done.stdout)["int8"]
    assert (figures["split"], figures["n"]) == ("test", 3)


def test_a_broken_picture_is_left_out_and_said(pictures: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    folder = tmp_path / "data" / "can"
    folder.mkdir(parents=True)
    paint(folder / "a.png", colour_of(TAXONOMY, 0))
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:60])
    done = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "data"), "--model", str(bundle), "--precision", "int8"]
    )
    assert done.exit_code == 1
    assert "cut.png" in done.stderr
    assert "int8: 1 picture, label 100.00%" in done.stdout


def test_a_split_that_is_not_there(pictures: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    flat = str(pictures / "data" / "val")
    done = CliRunner().invoke(app, ["evaluate", flat, "--model", str(bundle), "--split", "val"])
    assert isinstance(done.exception, SorterError)
    assert "no val/ folder" in str(done.exception)
