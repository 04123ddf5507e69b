"""Which way up a picture is: the orientation that its file notes, and the eight turns.

Reads one number and nothing else of EXIF and XMP. A damaged note means upright: what the camera
wrote about the picture may be wrong while the picture is whole.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sorter.vision.containers import jpeg_segments, png_chunks, tiff_directory

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION_TAG = 0x0112

MAX_TEXT_BYTES = 1 << 20
"""A compressed text is read so far: EXIF and XMP are shorter, and a bomb is longer."""

_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])\b")
_RAW_PROFILE = re.compile(rb"Raw profile type (?:exif|APP1)$")


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
    for marker, start, end in jpeg_segments(data, scans=False):
        if marker == 0xE1 and data[start + 4 : start + 10] == b"Exif\0\0":
            return tiff_orientation(data[start + 10 : end])
    return 1


def png_orientation(data: bytes) -> int:
    """The orientation, 1 to 8, in a PNG: EXIF's, whole or as ImageMagick's text, or XMP's."""
    xmp = 1
    for kind, start, end in png_chunks(data):
        body = data[start + 8 : end - 4]
        if kind == b"eXIf":
            return tiff_orientation(body)
        if kind in (b"zTXt", b"tEXt", b"iTXt"):
            keyword, _, rest = body.partition(b"\0")
            if _RAW_PROFILE.match(keyword):
                return _raw_profile(_text(kind, rest))
            if keyword == b"XML:com.adobe.xmp":
                found = _XMP.search(_text(kind, rest))
                xmp = int(found[1]) if found else xmp
    return xmp


def tiff_orientation(block: bytes) -> int:
    """The orientation, 1 to 8, in a TIFF or an EXIF block, whatever type of number holds it."""
    values = tiff_directory(block).get(ORIENTATION_TAG, ())
    return values[0] if len(values) == 1 and values[0] in TURNS else 1


def orientation_of(image: Image.Image) -> int:
    """The orientation, 1 to 8, in the EXIF block of a picture that Pillow opened."""
    block = image.info.get("exif")
    return tiff_orientation(block.removeprefix(b"Exif\0\0")) if isinstance(block, bytes) else 1


def _raw_profile(text: bytes) -> int:
    """EXIF as ImageMagick writes it: a name, a length, and hexadecimal digits in lines."""
    try:
        block = bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return 1
    return tiff_orientation(block.removeprefix(b"Exif\0\0"))


def _text(kind: bytes, rest: bytes) -> bytes:
    """What stands after a text chunk's keyword, decompressed as far as MAX_TEXT_BYTES."""
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed = rest[:1] == b"\1"
        rest = b"\0" + b"\0".join(rest[2:].split(b"\0", 2)[2:])
    elif kind == b"tEXt":
        return rest[:MAX_TEXT_BYTES]
    if not compressed:
        return rest[1 : MAX_TEXT_BYTES + 1]
    try:
        return zlib.decompressobj().decompress(rest[1:], MAX_TEXT_BYTES)
    except zlib.error:
        return b""
