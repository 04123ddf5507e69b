"""The pictures that the contestants race on: drawn, with a camera's noise, the same every time.

Speed depends on size and detail, not on what is shown, so a few drawings serve many files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from train.drawn.render import BUNDLED, draw


@dataclass(frozen=True, slots=True)
class Kind:
    """`count` files of `side_px` square (12 megapixels are 3464 × 3464)."""

    name: str
    count: int
    side_px: int
    suffix: str
    drawings: int = 8


KINDS = (
    Kind("jpeg-300px", 2000, 300, ".jpg"),
    Kind("jpeg-12mp", 200, 3464, ".jpg", 4),
    Kind("png-800px", 200, 800, ".png"),
)


def make(folder: Path, kind: Kind) -> list[Path]:
    """Write what is missing of `kind` below `folder`; all its files, in order."""
    place = folder / f"{kind.name}-{kind.side_px}"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{number:05d}{kind.suffix}" for number in range(kind.count)]
    if all(path.exists() for path in paths):
        return paths
    contents = [_drawn(place, kind, number) for number in range(min(kind.drawings, kind.count))]
    for number, path in enumerate(paths):
        path.write_bytes(contents[number % len(contents)])
    return paths


def _drawn(place: Path, kind: Kind, number: int) -> bytes:
    code, seed = list(BUNDLED.values())[number % len(BUNDLED)]
    picture = np.asarray(draw(code, seed=seed, side_px=kind.side_px)).astype(np.int16)
    rng = np.random.default_rng(number)
    # A sensor's noise: without it a drawing is far quicker to decode than a photograph.
    noise = rng.normal(0.0, 4.0, picture.shape[:2]).astype(np.int16)
    pixels = np.clip(picture + noise[..., None], 0, 255).astype(np.uint8)
    file = place / f".drawing{kind.suffix}"
    options = {"quality": 88} if kind.suffix == ".jpg" else {"compress_level": 6}
    Image.fromarray(pixels).save(file, **options)  # type: ignore[arg-type]
    content = file.read_bytes()
    file.unlink()
    return content
