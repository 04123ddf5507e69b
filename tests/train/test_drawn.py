"""The pictures drawn by us: the same for the same seed, and the bundled ones are those drawings."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sorter.taxonomy import default_taxonomy
from train.drawn.objects import OBJECTS
from train.drawn.render import BUNDLED, draw, write_folder

PICTURES = Path(str(resources.files("sorter.samples").joinpath("pictures")))


def _pixels(picture: Image.Image) -> NDArray[np.float64]:
    return np.asarray(picture.convert("RGB")).astype(np.float64)


@pytest.mark.parametrize("code", OBJECTS)
def test_every_drawing_is_of_a_class_and_shows_something(code: str) -> None:
    assert default_taxonomy().find(code) is not None
    pixels = _pixels(draw(code, seed=3, side_px=96))
    assert pixels.shape == (96, 96, 3)
    middle = pixels[24:72, 24:72].reshape(-1, 3)
    assert middle.std() > 5


def test_a_seed_gives_one_picture_and_another_gives_another() -> None:
    first, again, other = (_pixels(draw("02_01", seed=s, side_px=64)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_at_least_two_bundled_pictures_a_bin() -> None:
    taxonomy = default_taxonomy()
    items = [taxonomy.find(code) for code, _ in BUNDLED.values()]
    bins = [item.bin for item in items if item is not None]
    assert all(bins.count(b.key) >= 2 for b in taxonomy.bins)
    assert sorted(p.stem for p in PICTURES.glob("*.jpg")) == sorted(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_picture_is_what_the_renderer_draws(name: str) -> None:
    code, seed = BUNDLED[name]
    with Image.open(PICTURES / f"{name}.jpg") as stored:
        difference = np.abs(_pixels(stored) - _pixels(draw(code, seed=seed)))
    assert difference.mean() < 6  # JPEG and other versions of Pillow


def test_a_labelled_folder(tmp_path: Path) -> None:
    assert write_folder(tmp_path, per_class=2, seed=1, codes=["00_03", "03_01"]) == 4
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg")) == [
        "00_03/000.jpg",
        "00_03/001.jpg",
        "03_01/000.jpg",
        "03_01/001.jpg",
    ]
