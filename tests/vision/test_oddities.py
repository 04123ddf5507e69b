"""Whole pictures are taken however odd their encoder was; damaged ones never."""

from __future__ import annotations

import numpy as np
import pytest

from sorter.errors import ImageError
from sorter.vision import images
from tests.support import oddities

SIDE = 48
WHOLE = list(oddities.whole())
DAMAGED = list(oddities.damaged())
PLAIN = images.from_array(np.asarray(oddities.WIDE), SIDE)


def test_there_are_forty_of_each() -> None:
    assert len(WHOLE) >= 40
    assert len(DAMAGED) >= 40


@pytest.mark.parametrize(("name", "data"), WHOLE, ids=[name for name, _ in WHOLE])
def test_a_whole_picture_comes_out_upright_with_its_pixels(name: str, data: bytes) -> None:
    picture = images.decode(data, SIDE)
    assert (picture.width_px, picture.height_px) == oddities.WIDE.size
    difference = np.abs(picture.pixels.astype(int) - PLAIN.pixels)
    assert difference.mean() < (8 if name.endswith(".gif") else 4)


@pytest.mark.parametrize(("name", "data"), DAMAGED, ids=[name for name, _ in DAMAGED])
def test_a_damaged_picture_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(ImageError):
        images.decode(data, SIDE)


@pytest.mark.parametrize("name", [name for name, _ in oddities.flat()])
def test_flat_areas_are_no_holes(name: str) -> None:
    data = dict(oddities.flat())[name]
    images.decode(data, SIDE)
    at = len(data) // 2
    if len(data) > 4000:
        with pytest.raises(ImageError):
            images.decode(data[:at], SIDE)
