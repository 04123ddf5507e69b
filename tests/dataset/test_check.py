"""Duplicates, leaks and doubts, on drawn pictures whose truth is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.dataset.check import check
from sorter.dataset.duplicates import Kind, find_links, groups_of, has_keypoints
from sorter.dataset.layout import read_extra, read_labelled
from sorter.errors import DataError
from sorter.taxonomy import default_taxonomy
from tests.support.scenes import save, scene

needs_opencv = pytest.mark.skipif(not has_keypoints(), reason="opencv-python-headless is missing")

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop": lambda p: p.crop((40, 30, 280, 290)),
    "flip": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "zoom": lambda p: p.resize((500, 500)).crop((60, 60, 440, 440)),
    "shear": lambda p: p.transform(p.size, Image.Transform.AFFINE, (1, 0.2, -30, 0, 1, 0)),
}


@needs_opencv
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_photograph_is_found(change: str, tmp_path: Path) -> None:
    original = scene(5)
    paths = [
        save(original, tmp_path / "a.jpg"),
        save(CHANGES[change](original), tmp_path / "b.jpg"),
        save(scene(6), tmp_path / "c.jpg"),
    ]
    found = find_links(paths, [0, 0, 0])
    assert [(x.first, x.second) for x in found.links] == [(0, 1)]


def test_same_bytes_and_same_look_need_no_opencv(tmp_path: Path) -> None:
    original = scene(5)
    first = save(original, tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(first.read_bytes())
    smaller = save(original.resize((150, 150)), tmp_path / "c.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"none")
    paths = [first, tmp_path / "b.jpg", smaller, tmp_path / "broken.jpg"]
    found = find_links(paths, [0, 1, 2, 3], keypoints=False)
    assert {(x.first, x.second): x.kind for x in found.links} == {
        (0, 1): Kind.SAME_BYTES,
        (0, 2): Kind.SAME_LOOK,
        (1, 2): Kind.SAME_LOOK,
    }
    assert list(found.unreadable) == [3]
    assert groups_of(4, found.links) == [0, 0, 0, 3]


def test_thin_things_on_white_are_not_one_picture(tmp_path: Path) -> None:
    paths = []
    for number, tint in enumerate(((200, 30, 30), (30, 30, 200))):
        picture = Image.new("RGB", (320, 320), "white")
        ImageDraw.Draw(picture).rectangle((130, 20, 190, 300), fill=tint)
        paths.append(save(picture, tmp_path / f"{number}.png"))
    assert len(find_links(paths, [0, 0], keypoints=False).links) == 1, "their hashes agree"
    assert find_links(paths, [0, 1], keypoints=False).links == ()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for start, code in ((0, "00_02"), (20, "02_03")):
        for number in range(3):
            save(scene(start + number), root / "train" / code / f"{number}.jpg")
        save(scene(start + 9), root / "val" / code / "9.jpg")
    leak = (root / "train" / "00_02" / "1.jpg").read_bytes()
    (root / "val" / "00_02" / "leak.jpg").write_bytes(leak)
    conflict = (root / "train" / "00_02" / "2.jpg").read_bytes()
    (root / "train" / "02_03" / "wrong.jpg").write_bytes(conflict)
    (root / "train" / "02_03" / "cut.jpg").write_bytes(conflict[:500])
    save(scene(20).resize((200, 200)), root / "train" / "00_02" / "smaller.jpg")
    return root


def test_the_report(data: Path) -> None:
    taxonomy = default_taxonomy()
    report = check(read_labelled(data, taxonomy), taxonomy, keypoints=False)
    assert [p.name for p, _ in report.unreadable] == ["cut.jpg"]
    assert [p.name for p in report.leaked] == ["leak.jpg"]
    assert {frozenset((p.first.name, p.second.name)) for p in report.conflicts} == {
        frozenset(("2.jpg", "wrong.jpg")),
        frozenset(("0.jpg", "smaller.jpg")),  # saved again in another size
    }
    assert report.counts["00_02"] == {"train": 4, "val": 2}
    assert "00_00" in report.missing
    assert not report.is_clean


def test_a_leak_is_one_whatever_the_splits_are_called(data: Path) -> None:
    """As Roboflow names them; a picture that is in both held-out splits leaks too."""
    (data / "val").rename(data / "valid")
    twin = data / "test" / "02_03" / "twin.jpg"
    twin.parent.mkdir(parents=True)
    twin.write_bytes((data / "valid" / "02_03" / "9.jpg").read_bytes())
    taxonomy = default_taxonomy()
    report = check(read_labelled(data, taxonomy), taxonomy, keypoints=False)
    assert {p.name for p in report.leaked} == {"leak.jpg", "9.jpg", "twin.jpg"}


def test_a_validation_picture_among_the_extra_ones_is_a_leak(data: Path, tmp_path: Path) -> None:
    taxonomy = default_taxonomy()
    copy = tmp_path / "more" / "web" / "02_03" / "copy.jpg"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((data / "val" / "02_03" / "9.jpg").read_bytes())
    samples = read_labelled(data, taxonomy) + read_extra(tmp_path / "more", taxonomy)
    report = check(samples, taxonomy, keypoints=False)
    assert {p.name for p in report.leaked} == {"9.jpg", "leak.jpg"}


def test_the_command_writes_groups_that_training_reads(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    words = ["data", "check", str(data), "--no-keypoints", "--groups-out", str(file), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert len(document["leaked"]) == 1
    assert document["photographs"] == 9
    with file.open(encoding="utf-8", newline="") as stream:
        groups = {row["path"]: row["group"] for row in csv.DictReader(stream)}
    assert groups["data/train/00_02/1.jpg"] == groups["data/val/00_02/leak.jpg"]
    assert groups["data/train/00_02/0.jpg"] != groups["data/val/00_02/leak.jpg"]


def test_clean_data_ends_with_0(tmp_path: Path) -> None:
    for seed, code in enumerate(("00_02", "02_03")):
        save(scene(seed), tmp_path / "train" / code / "1.jpg")
    done = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--no-keypoints"])
    assert done.exit_code == 0, done.output
    assert "2 pictures, 2 photographs" in done.stdout


def test_labels_that_no_model_believes(data: Path, tmp_path: Path) -> None:
    import hashlib

    taxonomy = default_taxonomy()
    samples = read_labelled(data, taxonomy)
    scores = np.zeros((len(samples), 26), np.float32)
    for row, sample in enumerate(samples):
        believed = 2 if sample.path.name == "wrong.jpg" else sample.index
        scores[row, believed] = 9.0
    digests = [hashlib.sha256(s.path.read_bytes()).hexdigest() for s in samples]
    # The wrong one has the bytes of a right one; out of fold they are told apart by label.
    keep = [i for i, s in enumerate(samples) if s.path.name != "2.jpg"]
    np.savez(tmp_path / "oof.npz", scores=scores[keep], digests=np.array(digests)[keep])
    report = check(samples, taxonomy, predictions=tmp_path / "oof.npz", keypoints=False)
    assert [(d.path.name, d.label, d.likelier) for d in report.doubts] == [
        ("wrong.jpg", "02_03", "00_02")
    ]
    (tmp_path / "none.npz").write_bytes(b"none")
    with pytest.raises(DataError, match=r"none\.npz"):
        check(samples, taxonomy, predictions=tmp_path / "none.npz", keypoints=False)
