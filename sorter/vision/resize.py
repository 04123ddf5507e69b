"""Pixels become the network's square: the one resize that training, parity and the edge share.

Integers only, so that every processor gets the same bits. Two steps: whole blocks of pixels are
averaged until less than twice the side is left, then four neighbours are blended. Sides are not
kept in proportion. Must not open or turn pictures (`images`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from kornia_rs import imgproc
from numpy.typing import NDArray

PIXELS_AT_ONCE = 1 << 20
"""So many are averaged at once: what is converted for it stays small beside a large picture."""


def blocks(width: int, height: int, side_px: int) -> tuple[int, int]:
    """Columns and rows of the blocks that are averaged first; 1 where a side is short enough."""
    return max(1, width // side_px), max(1, height // side_px)


def to_square(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """`pixels` (H, W, 3) of any size as (side_px, side_px, 3)."""
    height, width = pixels.shape[:2]
    return rows_to_square(lambda top, bottom: pixels[top:bottom], width, height, side_px)


def rows_to_square(
    rows: Callable[[int, int], NDArray[np.uint8]], width: int, height: int, side_px: int
) -> NDArray[np.uint8]:
    """As `to_square`, of a picture of which `rows(top, bottom)` gives a part (rows, width, 3).

    Blending is bilinear without a filter, which is right below a ratio of two: half-pixel centres,
    weights of 14 bits, one rounding. A third to a half of what Pillow's filtered resize takes.
    """
    across, down = blocks(width, height, side_px)
    if (across, down) == (1, 1):
        small = rows(0, height)
    else:
        # Whole blocks only, from the middle: half a block at one end would shift all the others.
        left, top = width % across // 2, height % down // 2
        box = (left, left + width - width % across)
        bottom = top + height - height % down
        step = max(1, PIXELS_AT_ONCE // (width * down)) * down
        parts = [
            _averaged(rows(y, min(y + step, bottom))[:, slice(*box)], across, down)
            for y in range(top, bottom, step)
        ]
        small = np.concatenate(parts)
    for axis in (0, 1):
        if small.shape[axis] == 1:  # blending takes two neighbours
            small = np.repeat(small, 2, axis=axis)
    return np.asarray(imgproc.resize(np.ascontiguousarray(small), (side_px, side_px), "bilinear"))


def _averaged(pixels: NDArray[np.uint8], across: int, down: int) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).reduce((across, down)))
