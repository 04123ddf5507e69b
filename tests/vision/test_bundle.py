"""A bundle is read back as written; what is refused is in test_hostile_bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest

from sorter.domain import Policy, Reason
from sorter.errors import BundleError
from sorter.vision.bundle import default_bundle, open_bundle
from sorter.vision.metadata import write_metadata
from sorter.vision.model import Classifier, open_model
from tests.support.tiny import (
    build_model,
    colour_of,
    paint,
    taxonomy3,
    write_bundle,
    write_bundle26,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle26(tmp_path / "b", bin_threshold=0.7, unknown_threshold=0.9))
    assert len(bundle.taxonomy.categories) == 26
    assert bundle.policy == Policy((0.7,) * 4, 0.9)
    assert bundle.precisions == ("fp16", "int8")
    assert bundle.card["name"] == "tiny"
    assert len(bundle.digest) == 64


def test_other_weights_have_another_digest(tmp_path: Path) -> None:
    first = open_bundle(write_bundle(tmp_path / "a"))
    second = open_bundle(write_bundle(tmp_path / "b", bin_threshold=0.6))
    assert first.digest != second.digest
    copy = shutil.copytree(tmp_path / "a", tmp_path / "c")
    assert first.digest == open_bundle(copy).digest


def test_more_labels_than_outputs(tmp_path: Path) -> None:
    folder = write_bundle26(tmp_path / "b", precisions=("fp16",))
    model = build_model(taxonomy3())
    read = open_bundle(folder)
    write_metadata(model, taxonomy=read.taxonomy, policy=read.policy, temperature=1.0)
    openvino.save_model(model, folder / "model.xml")
    with pytest.raises(BundleError, match="names 26 classes"):
        open_bundle(folder)


def test_two_networks_that_disagree(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "a")
    other = write_bundle(tmp_path / "b", bin_threshold=0.9)
    for suffix in (".xml", ".bin"):
        (folder / f"model-int8{suffix}").write_bytes((other / f"model-int8{suffix}").read_bytes())
    with pytest.raises(BundleError, match="do not agree"):
        open_bundle(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="--model"):
        open_bundle(tmp_path / "none")


def test_any_number_of_pictures(tmp_path: Path) -> None:
    taxonomy = taxonomy3()
    bundle = open_bundle(write_bundle(tmp_path / "b"))
    classifier = Classifier(bundle, batch=4)
    for count in (0, 1, 4, 6):
        colours = [colour_of(taxonomy, i % 3) for i in range(count)]
        pixels = np.zeros((count, 32, 32, 3), np.uint8)
        for i, colour in enumerate(colours):
            pixels[i] = colour
        probabilities, unknown, empty = classifier.predict(pixels)
        assert probabilities.shape == (count, 3)
        assert not empty.any()
        assert unknown.shape == (count,)
        assert probabilities.argmax(1).tolist() == [i % 3 for i in range(count)]


def test_a_third_output_tells_an_empty_tray(tmp_path: Path) -> None:
    model = open_model(write_bundle(tmp_path / "b", with_empty=True))
    assert model.bundle.policy.empty_threshold == 0.9
    for name, colour, reason in (
        ("tray", (0, 0, 0), Reason.EMPTY),
        ("strange", (128, 128, 128), Reason.UNKNOWN_OBJECT),
        ("can", colour_of(taxonomy3(), 0), Reason.NONE),
    ):
        data = paint(tmp_path / f"{name}.png", colour).read_bytes()
        assert model.decide([model.predict(data)]).reason is reason


@pytest.mark.parametrize("damage", ["broken", "unwritable"])
def test_the_cache_of_compiled_networks_may_fail(damage: str, tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "b"))
    cache = tmp_path / "cache"
    if damage == "unwritable":
        cache.write_text("a file where the folder should be")
    else:
        Classifier(bundle, cache_dir=cache)
        blobs = list(cache.glob("*.ovc"))
        assert len(blobs) == 1
        blobs[0].write_bytes(b"broken")
    classifier = Classifier(bundle, cache_dir=cache)
    probabilities = classifier.predict(np.zeros((1, 32, 32, 3), np.uint8)).probabilities
    assert probabilities.shape == (1, 3)
    if damage == "broken":
        assert next(cache.glob("*.ovc")).stat().st_size > 100


def test_the_released_bundle_opens_and_says_what_it_is() -> None:
    folder = default_bundle()
    bundle = open_bundle(folder)
    assert len(bundle.taxonomy.categories) == 26
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert {"data_digest", "recipe", "seed", "versions", "figures"} <= set(card)
    size = sum(f.stat().st_size for f in folder.iterdir())
    assert size < 40_000_000, "a third of it is the memory, three times over"
    assert (folder / "checkpoint.pt").is_file()
    model = open_model()
    assert len(model.digest) == 64
