"""Draw pictures by class code, the same for the same seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from sorter.taxonomy import default_taxonomy, taxonomy_to_dict
from train.drawn.canvas import SURFACES, Layer, compose
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
    """One RGB picture of the class `code`, `side_px` square; KeyError for one without a drawing."""
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


def write_empty(folder: Path, *, count: int, seed: int = 0) -> int:
    """Write `folder/<surface>/NNN.jpg`, `count` of each with nothing on it; how many in all."""
    for surface in SURFACES:
        place = folder / surface
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rng = np.random.default_rng([seed * 100_000 + number, *surface.encode()])
            picture = compose(Layer(), rng, SIDE_PX, surface=surface)
            picture.save(place / f"{number:03d}.jpg", quality=88)
    return count * len(SURFACES)


def write_taxonomy(file: Path, codes: Iterable[str] = OBJECTS) -> None:
    """Write sorter's own classes and bins as TOML, of the classes only `codes`."""
    document = taxonomy_to_dict(default_taxonomy())
    lines = [f"name = {json.dumps(document['name'])}"]
    wanted = frozenset(codes)
    for table in ("bins", "items"):
        for row in document[table]:
            if table == "items" and row["code"] not in wanted:
                continue
            lines += ["", f"[[{table}]]"]
            lines += [f"{key} = {json.dumps(v, ensure_ascii=False)}" for key, v in row.items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_bundled(folder: Path) -> None:
    """Draw the pictures that ship with sorter, as `folder/<name>.jpg`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (code, seed) in BUNDLED.items():
        draw(code, seed=seed).save(folder / f"{name}.jpg", quality=82, optimize=True)
