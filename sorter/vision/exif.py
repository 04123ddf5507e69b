"""Which way up a picture is: the EXIF orientation, read by itself, and the eight turns.

Reads one tag and nothing else of EXIF. Damaged EXIF means upright: the camera's note about the
picture may be wrong while the picture is whole.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class Turn:
    """What makes a stored picture upright: swap rows and columns, then mirror either axis."""

    swaps_sides: bool
    flips_rows: bool
    flips_columns: bool


TURNS = {
    1: Turn(False, False, False),
    2: Turn(False, False, True),
    3: Turn(False, True, True),
    4: Turn(False, True, False),
    5: Turn(True, False, False),
    6: Turn(True, False, True),
    7: Turn(True, True, True),
    8: Turn(True, True, False),
}
"""EXIF orientation → turn. 6 is a camera held with its right side down."""


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """`pixels` (H, W, 3) made upright; a view where it can be."""
    how = TURNS[orientation]
    if how.swaps_sides:
        pixels = pixels.transpose(1, 0, 2)
    if how.flips_rows:
        pixels = pixels[::-1]
    if how.flips_columns:
        pixels = pixels[:, ::-1]
    return pixels


def jpeg_orientation(data: bytes) -> int:
    """The orientation, 1 to 8, in a JPEG's APP1 segment; 1 where there is none."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xDA or marker == 0xD9:  # picture data begins: no EXIF came
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            return tiff_orientation(data[position + 10 : position + 2 + length])
        position += 2 + max(length, 2)
    return 1


def tiff_orientation(block: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block (a TIFF header and its first directory)."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for i in range(count):
            tag, kind, size, value = struct.unpack_from(order + "HHIH", block, start + 2 + 12 * i)
            if tag == ORIENTATION_TAG:
                return value if kind == 3 and size == 1 and value in TURNS else 1
    except struct.error:  # the directory runs past its block
        return 1
    return 1


def orientation_of(image: Image.Image) -> int:
    """The orientation, 1 to 8, of a picture that Pillow opened."""
    tags = getattr(image, "tag_v2", None)  # TIFF: the file's own directory
    if tags is not None:
        value = tags.get(ORIENTATION_TAG, 1)
        return value if isinstance(value, int) and value in TURNS else 1
    block = image.info.get("exif")
    if not isinstance(block, bytes):
        return 1
    return tiff_orientation(block.removeprefix(b"Exif\0\0"))
