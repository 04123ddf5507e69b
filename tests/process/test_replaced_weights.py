"""Weights replaced under a running station: the ones in use live on, and a name never lies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sorter.errors import BundleError
from sorter.vision.bundle import MODEL_FILES, default_bundle, open_bundle
from sorter.vision.model import Classifier, open_model
from tests.support.tiny import colour_of, taxonomy3, write_bundle

IN_USE = """
import sys
from pathlib import Path
import numpy as np
from sorter.vision.bundle import open_bundle
from sorter.vision.model import Classifier
folder = Path(sys.argv[1])
classifier = Classifier(open_bundle(folder), precision=sys.argv[2])
pixels = np.full((1, classifier.size_px, classifier.size_px, 3), 90, np.uint8)
before = classifier.predict(pixels)[0]
for file in folder.glob("*.bin"):
    with file.open("r+b") as stream:
        stream.truncate(100)
assert np.array_equal(before, classifier.predict(pixels)[0])
"""


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_weights_cut_short_in_place_do_not_reach_those_in_use(
    precision: str, tmp_path: Path
) -> None:
    """A mapped file would end the process with SIGBUS here, so it is another process."""
    folder = shutil.copytree(default_bundle(), tmp_path / "bundle")
    done = subprocess.run(
        [sys.executable, "-c", IN_USE, str(folder), precision], capture_output=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr.decode()[-300:])


def _copy_over(source: Path, target: Path) -> None:
    for xml in MODEL_FILES.values():
        for name in (xml, xml.replace(".xml", ".bin")):
            shutil.copyfile(source / name, target / name)


def _answer(classifier: Classifier) -> int:
    pixels = np.empty((1, classifier.size_px, classifier.size_px, 3), np.uint8)
    pixels[:] = colour_of(taxonomy3(), 0)
    return int(classifier.predict(pixels)[0].argmax())


def test_the_cache_never_gives_other_weights_than_those_asked_for(tmp_path: Path) -> None:
    ours, theirs = write_bundle(tmp_path / "a"), write_bundle(tmp_path / "b", turned=1)
    place = shutil.copytree(ours, tmp_path / "place")
    bundle = open_bundle(place)
    _copy_over(theirs, place)  # Between the reading of the description and the compiling.
    Classifier(bundle, cache_dir=tmp_path / "cache")
    _copy_over(ours, place)
    again = Classifier(open_bundle(place), cache_dir=tmp_path / "cache")
    assert _answer(again) == 0


def test_a_bundle_replaced_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = write_bundle(tmp_path / "a"), write_bundle(tmp_path / "b", turned=1)
    place = shutil.copytree(ours, tmp_path / "place")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Meanwhile(Classifier):
        def __init__(self, *args: object, **options: object) -> None:
            _copy_over(theirs, place)
            super().__init__(*args, **options)  # type: ignore[arg-type]  # forwarded as they are

    monkeypatch.setattr("sorter.vision.model.Classifier", Meanwhile)
    with pytest.raises(BundleError, match="while it was being read"):
        open_model(place)
    monkeypatch.undo()
    assert open_model(place).digest == open_bundle(theirs).digest
