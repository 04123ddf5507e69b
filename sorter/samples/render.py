"""Draw pictures by class code, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from sorter.samples.canvas import compose
from sorter.samples.objects import OBJECTS

SIDE_PX = 480


def draw(code: str, *, seed: int = 0, side_px: int = SIDE_PX) -> Image.Image:
    """One RGB picture of the class `code`, `side_px` square; KeyError for a class nobody drew."""
    rng = np.random.default_rng([seed, *code.encode()])
    return compose(OBJECTS[code](rng), rng, side_px)


def write_folder(
    folder: Path, *, per_class: int, seed: int = 0, codes: Iterable[str] = OBJECTS
) -> int:
    """Write `folder/<code>/NNN.jpg`, `per_class` of each; how many were written."""
    count = 0
    for code in codes:
        place = folder / code
        place.mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            picture = draw(code, seed=seed * 100_000 + number)
            picture.save(place / f"{number:03d}.jpg", quality=88)
            count += 1
    return count
