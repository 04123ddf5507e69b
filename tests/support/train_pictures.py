"""Drawn pictures for the tests of training: three kinds that a small network can tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

TAXONOMY = """
name = "shapes"

[[bins]]
key = "round"
name = "Round"

[[bins]]
key = "edged"
name = "Edged"

[[items]]
code = "d"
name = "Disc"
bin = "round"

[[items]]
code = "s"
name = "Square"
bin = "edged"

[[items]]
code = "t"
name = "Stripe"
bin = "edged"
"""

CLASSES = ("Disc", "Square", "Stripe")


def draw(kind: str, seed: int, side: int = 48) -> Image.Image:
    """One picture of a kind; any other word gives noise."""
    stream = np.random.default_rng(seed)
    tint = {"Disc": (220, 40, 40), "Square": (40, 200, 60), "Stripe": (40, 60, 220)}.get(kind)
    if tint is None:
        return Image.fromarray(stream.integers(0, 255, (side, side, 3), dtype=np.uint8))
    image = Image.new("RGB", (side, side), tuple(int(v) for v in stream.integers(150, 230, 3)))
    pen = ImageDraw.Draw(image)
    x, y = (int(v) for v in stream.integers(2, 12, 2))
    box = (x, y, x + 30, y + 30)
    if kind == "Disc":
        pen.ellipse(box, fill=tint)
    elif kind == "Square":
        pen.rectangle(box, fill=tint)
    else:
        pen.line((x, y, side - x, side - y), fill=tint, width=8)
    return image


def write_folder(root: Path, *, train: int = 6, val: int = 2) -> Path:
    """root/{train,val}/<class>/ with drawn pictures."""
    for split, count, first in (("train", train, 0), ("val", val, 1000)):
        for number, kind in enumerate(CLASSES):
            folder = root / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                draw(kind, first + 100 * number + i).save(folder / f"{i:02d}.png")
    return root


def write_unknown(root: Path, *, sources: int = 5, count: int = 3) -> Path:
    """root/<source>/ with pictures of noise."""
    for source in range(sources):
        folder = root / f"noise{source}"
        folder.mkdir(parents=True)
        for i in range(count):
            draw("noise", 5000 + 10 * source + i).save(folder / f"{i}.png")
    return root


def write_taxonomy(folder: Path) -> Path:
    """The taxonomy's file."""
    file = folder / "shapes.toml"
    file.write_text(TAXONOMY, encoding="utf-8")
    return file
