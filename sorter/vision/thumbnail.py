"""A decoded picture as a small JPEG in its own proportions; decodes nothing itself."""

from __future__ import annotations

import numpy as np
import simplejpeg
from PIL import Image

from sorter.vision.images import DecodedPicture

SIDE_PX = 160
"""The longest side: large enough to tell a can from a bottle, about 5 kB."""


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
