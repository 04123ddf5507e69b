"""A picture as a small JPEG in its own proportions, by itself or beside its Outcome."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from sorter.domain import Outcome
from sorter.errors import ImageError
from sorter.vision import images
from sorter.vision.images import DecodedPicture

SIDE_PX = 160
"""The longest side: large enough to tell a can from a bottle, about 5 kB."""


@dataclass(frozen=True, slots=True)
class DrawnOutcome(Outcome):
    """An Outcome with its `thumbnail`, for a contact sheet."""

    thumbnail: bytes = b""

    @classmethod
    def of(cls, outcome: Outcome, picture: DecodedPicture) -> DrawnOutcome:
        """`outcome` with `picture` drawn small."""
        values = {part.name: getattr(outcome, part.name) for part in fields(Outcome)}
        return cls(**values, thumbnail=draw(picture))


def of_file(path: Path, size_px: int, *, max_pixels: int = images.MAX_PIXELS) -> bytes:
    """The thumbnail of a file that is not in memory; empty where it holds no picture."""
    try:
        return draw(images.load(path, size_px, max_pixels=max_pixels))
    except ImageError:
        return b""


def draw(picture: DecodedPicture, side_px: int = SIDE_PX, *, quality: int = 75) -> bytes:
    """`picture`, upright, its longest side at most `side_px` and never larger than its pixels.

    Drawn from the square that the model saw, so that no file is decoded for it a second time.
    """
    longest = min(side_px, picture.pixels.shape[0])
    scale = longest / max(picture.width_px, picture.height_px)
    width, height = (max(1, round(side * scale)) for side in (picture.width_px, picture.height_px))
    drawn = Image.fromarray(picture.pixels).resize((width, height), Image.Resampling.BILINEAR)
    # Colour at half the resolution: what cameras do, and a third fewer bytes.
    return bytes(
        simplejpeg.encode_jpeg(
            np.asarray(drawn), quality=quality, colorspace="RGB", colorsubsampling="420"
        )
    )
