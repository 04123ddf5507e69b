"""Draw pictures by class code, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from train.drawn.canvas import compose
from train.drawn.objects import OBJECTS

SIDE_PX = 480

BUNDLED: Mapping[str, tuple[str, int]] = {
    "plastic-bottle": ("00_00", 17),
    "can": ("00_03", 12),
    "cardboard-box": ("00_06", 13),
    "basketball": ("00_07", 14),
    "chopsticks": ("01_00", 11),
    "toothbrush": ("01_04", 15),
    "ceramic-bowl": ("01_07", 12),
    "paint-bucket": ("02_00", 14),
    "tablets": ("02_03", 11),
    "orange-peel": ("03_00", 13),
    "cabbage-leaf": ("03_01", 12),
    "banana-peel": ("03_03", 12),
}
"""Name of a bundled picture → its class and seed; no training draws with these seeds."""


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


def write_bundled(folder: Path) -> None:
    """Draw the pictures that ship with sorter, as `folder/<name>.jpg`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (code, seed) in BUNDLED.items():
        draw(code, seed=seed).save(folder / f"{name}.jpg", quality=82, optimize=True)
