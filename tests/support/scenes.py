"""Pictures that a finder of look-alikes can tell apart, unlike plain colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def scene(seed: int) -> Image.Image:
    """A picture full of corners, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (320, 320), tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    for _ in range(120):
        x, y, w, h = (int(v) for v in (*rng.integers(0, 300, 2), *rng.integers(8, 60, 2)))
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x, y, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return picture


def save(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=90)
    return path
