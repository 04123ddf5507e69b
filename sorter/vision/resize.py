"""Pixels become the network's square: the one resize that training, parity and the edge share.

Integers only, so that every processor gets the same bits. Two steps: whole blocks of pixels are
averaged until less than twice the side is left, then four neighbours are blended. Sides are not
kept in proportion. Must not open or turn pictures (`images`).
"""

from __future__ import annotations

import numpy as np
from kornia_rs import imgproc
from numpy.typing import NDArray


def blocks(width: int, height: int, side_px: int) -> tuple[int, int]:
    """Columns and rows of the blocks that are averaged first; 1 where a side is short enough."""
    return max(1, width // side_px), max(1, height // side_px)


def to_square(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """`pixels` (H, W, 3) of any size as (side_px, side_px, 3).

    Blending is bilinear without a filter, which is right below a ratio of two: half-pixel centres,
    weights of 14 bits, one rounding. A third of the time that Pillow's filtered resize takes.
    """
    height, width = pixels.shape[:2]
    across, down = blocks(width, height, side_px)
    if (across, down) != (1, 1):
        from PIL import Image

        # Whole blocks only, from the middle: half a block at one end would shift all the others.
        left, top = width % across // 2, height % down // 2
        box = (left, top, left + width - width % across, top + height - height % down)
        pixels = np.asarray(Image.fromarray(pixels).reduce((across, down), box))
    for axis in (0, 1):
        if pixels.shape[axis] == 1:  # blending takes two neighbours
            pixels = np.repeat(pixels, 2, axis=axis)
    pixels = np.ascontiguousarray(pixels)
    return np.asarray(imgproc.resize(pixels, (side_px, side_px), "bilinear"))
