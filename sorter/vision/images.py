"""Find pictures, open one, return it upright at the model's size; nothing else opens a picture.

Every decoder's error becomes ImageError here. Half a picture is an error, never a guess: no
decoder is allowed to fill in what is missing. The messages do not name the file; the caller knows
it.

Rules: the first frame of an animation; transparency over white; colour profiles are ignored; names
that start with a dot, and links to folders, are skipped by `find`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import re
import stat
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from kornia_rs import imgproc
from numpy.typing import NDArray

from sorter.errors import ImageError
from sorter.files import is_housekeeping, is_not_taken, is_picture_name
from sorter.host.cores import usable_cores
from sorter.text import first_line
from sorter.vision import integrity
from sorter.vision.containers import (
    ORIENTATION_TAG,
    jpeg_orientation,
    orientation_of,
    png_chunks,
    png_orientation,
    tiff_orientation,
)

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 200_000_000

MAX_BYTES = 600_000_000
"""For one picture, and for all at once: beside the network it fits a box of one gigabyte."""

SMALL_BYTES = 32_000_000
"""Less than this needs no turn; workers are few."""

PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""What Pillow keeps of a pixel, by mode; 4 of any other."""

DECODER_BYTES = {"png": 1, "gif": 5, "bmp": 1, "tiff": 4, "webp": 13, "avif": 8, "heif": 6}
"""What a decoder takes beside that for each pixel, by format."""

DEEP_BYTES = 6
"""What AVIF and HEIF take more where a sample has more than eight bits."""

MAX_FILE_BYTES = 400_000_000
"""Of a file, which is read whole: with what decoding takes it must fit a small box."""

QUICK_PNG_PIXELS = 2_000_000
QUICK_PNG_CORES = 4
"""kornia's PNG decoder takes a quarter of Pillow's time, with the interpreter's lock held. That
pays for small pictures on few cores; elsewhere decoding side by side is worth more. Same pixels."""

PIXELS_AT_ONCE = 1 << 20
"""So many are averaged at once: what is converted for it stays small beside a large picture."""


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """One whole picture: `pixels` (side, side, 3) RGB, upright; the original's upright size."""

    pixels: NDArray[np.uint8]
    width_px: int
    height_px: int


def find(
    paths: Iterable[Path],
    *,
    recursive: bool = True,
    leave_out: Callable[[Path], object] | None = None,
) -> Iterator[Path]:
    """Everything under `paths` that looks like a picture, lazily, in the order of the path's text.

    A path named explicitly is given back whatever its suffix, even where it does not exist; a
    folder is listed, and those inside it too if `recursive`. A folder named like a picture and a
    folder that cannot be listed are given back as well, so that `load` can say why they are no
    picture. Hidden and housekeeping folders are not entered. No path comes twice, unless through
    different names. `leave_out` is told of each picture in a format that sorter does not open.
    """
    roots = sorted({os.fspath(p): p for p in paths}.values(), key=_order)
    listed: list[str] = []
    for root in roots:
        whole = os.path.abspath(root)  # noqa: PTH100  # resolve() would follow links
        if any(_is_under(whole, above, recursive=recursive) for above in listed):
            continue
        if root.is_dir():
            yield from _walk(root, recursive, leave_out or (lambda _: None))
            listed.append(whole)
        else:
            yield root


def load(path: Path, size_px: int, *, max_pixels: int = MAX_PIXELS) -> DecodedPicture:
    """Open, decode, turn upright and resize one file to (size_px, size_px, 3).

    Never waits on a pipe or a device. Raises ImageError, without the path, for anything but a
    whole picture.
    """
    return decode(read(path), size_px, max_pixels=max_pixels)


def read(path: Path) -> bytes:
    """A regular file's bytes. Raises ImageError for anything else, and never waits."""
    try:
        _refuse_special(Path(path).stat().st_mode, path)
        # The file may be swapped for a pipe meanwhile, so opening must not wait either.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            found = os.fstat(stream.fileno())
            _refuse_special(found.st_mode, path)
            if found.st_size > MAX_FILE_BYTES:
                raise ImageError(f"{found.st_size} bytes is too long for a picture")
            # Of the size that is there: a longer read makes room for all of it, at two thirds of a
            # millisecond. What has grown meanwhile, or has no size, is read to its end.
            data = stream.read(found.st_size + 1)
            if len(data) > found.st_size:
                data += stream.read(MAX_FILE_BYTES - found.st_size)
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"cannot be opened: {error}") from error
    except OSError as error:
        raise ImageError(_why_not_opened(error, path)) from error
    if not data:
        raise ImageError("empty file")
    return data


def decode(data: bytes, size_px: int, *, max_pixels: int = MAX_PIXELS) -> DecodedPicture:
    """The picture in `data`, upright, stretched to (size_px, size_px, 3).

    One resize for every use (`to_square`), sides not kept in proportion. Raises ImageError unless
    the bytes are one whole picture of at most `max_pixels`.
    """
    kind = integrity.sniff(data)
    if kind == "jpeg":
        return _decode_jpeg(data, size_px, max_pixels)
    if kind == "png":
        return _decode_png(data, size_px, max_pixels)
    return _decode_other(data, kind, size_px, max_pixels)


def from_array(pixels: NDArray[np.uint8], size_px: int) -> DecodedPicture:
    """A picture that is decoded already, upright, by the same resize.

    Grey (height, width), RGB (height, width, 3) or RGBA, which is laid over white. Raises
    ImageError for another shape or another type than uint8.
    """
    shape = pixels.shape
    known = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if pixels.dtype != np.uint8 or not known or not pixels.size:
        raise ImageError(
            f"{pixels.dtype} {shape} is not a picture: uint8 (height, width) grey, "
            "(height, width, 3) RGB or (height, width, 4) RGBA"
        )
    height, width = shape[:2]
    if len(shape) == 2 or shape[2] == 1:
        pixels = np.repeat(pixels.reshape(height, width, 1), 3, axis=2)
    elif shape[2] == 4:
        from PIL import Image

        pixels = np.asarray(_to_rgb(Image.fromarray(pixels)))
    return _upright(to_square(pixels, size_px), width, height, orientation=1)


def _decode_jpeg(data: bytes, size_px: int, max_pixels: int) -> DecodedPicture:
    integrity.check_jpeg(data)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        _refuse_bomb(width, height, max_pixels)
        scale = _scale(width, height, size_px)
        colours = "CMYK" if space in ("CMYK", "YCCK") else "RGB"
        least = (-(-height // scale), -(-width // scale)) if scale > 1 else (0, 0)
        pixel_bytes = 16 if colours == "CMYK" else 3
        need = pixel_bytes * width * height // scale**2 + integrity.jpeg_coefficient_bytes(data)
        with _room(need, max_pixels=max_pixels):
            pixels = _jpeg_pixels(data, colours, least)
            if colours == "CMYK":
                # Adobe's is stored inverted, so that multiplying ink by black gives light.
                light = pixels[..., :3].astype(np.uint16) * pixels[..., 3:]
                pixels = ((light + 127) // 255).astype(np.uint8)
            square = to_square(pixels, size_px)
    except (ValueError, KeyError, MemoryError) as error:  # KeyError: an unknown sampling
        raise ImageError(f"damaged JPEG: {first_line(error)}") from error
    return _upright(square, width, height, jpeg_orientation(data))


def _jpeg_pixels(data: bytes, colours: str, least: tuple[int, int]) -> NDArray[np.uint8]:
    """Strictly decoded, except for oddities that are not damage. Raises ValueError for damage."""

    def decoded(part: bytes, *, strict: bool = True) -> NDArray[np.uint8]:
        least_height, least_width = least
        return np.asarray(
            simplejpeg.decode_jpeg(
                part, colours, min_height=least_height, min_width=least_width, strict=strict
            )
        )

    while True:
        try:
            return decoded(data)
        except ValueError as error:
            complaint = str(error)
            mended = integrity.mended_jpeg(data, complaint)
            if mended == data:
                if not _intervals_are_whole(data, complaint):
                    raise
                return decoded(data, strict=False)
            data = mended


def _intervals_are_whole(data: bytes, complaint: str) -> bool:
    """Whether each restart interval is whole by itself, with a few bytes too many at most."""
    count = 0
    for interval, too_short in integrity.restart_intervals(data, complaint):
        count += 1
        if not _decodes(interval, but=integrity.STRAYS_AT_END) or _decodes(too_short):
            return False
    return count > 0


def _decodes(jpeg: bytes, *, but: re.Pattern[str] | None = None) -> bool:
    """Whether a strict decoder has no complaint, `but` this one."""
    try:
        simplejpeg.decode_jpeg(jpeg, strict=True)
    except ValueError as error:
        return but is not None and but.search(str(error)) is not None
    return True


def _decode_png(data: bytes, size_px: int, max_pixels: int) -> DecodedPicture:
    plain = integrity.plain_png(data)
    orientation = png_orientation(data)
    quick = _quick_png(plain)
    if quick is not None:
        height, width = quick.shape[:2]
        _refuse_bomb(width, height, max_pixels)
        return _upright(to_square(quick, size_px), width, height, orientation)
    return _decode_other(plain, "png", size_px, max_pixels, orientation)


def _quick_png(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of a small PNG of eight-bit RGB; None for others, and for Pillow to refuse."""
    width, height, depth, colours = struct.unpack_from(">IIBB", data, 16)
    if (depth, colours) != (8, 2) or not 0 < width * height <= QUICK_PNG_PIXELS:
        return None
    if usable_cores() > QUICK_PNG_CORES or any(k == b"tRNS" for k, _, _ in png_chunks(data)):
        return None
    from kornia_rs import io as kornia_io

    try:
        return np.asarray(kornia_io.decode_image_png_u8(data, (height, width), "rgb"))
    except Exception:  # its kinds are not documented; Pillow decodes what is whole
        return None


def _decode_other(
    data: bytes, kind: str, size_px: int, max_pixels: int, orientation: int = 1
) -> DecodedPicture:
    from PIL import Image, UnidentifiedImageError

    if kind == "heif":
        _register_heif()
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before anything is decoded
    try:
        with contextlib.ExitStack() as taken:
            if kind == "webp":  # opening it takes its memory
                integrity.check_other(data, kind)
                width, height = integrity.webp_size(data)
                _refuse_bomb(width, height, max_pixels)
                taken.enter_context(_room_for(data, kind, width, height, max_pixels))
            image = taken.enter_context(Image.open(io.BytesIO(data), formats=[kind]))
            width, height = image.size
            if kind == "webp":
                _refuse_holes(data)
            else:
                _refuse_bomb(width, height, max_pixels)  # says more than how it is damaged
                integrity.check_other(data, kind)
                taken.enter_context(_room_for(data, kind, width, height, max_pixels, image.mode))
            image.load()
            if kind in ("webp", "avif"):
                orientation = orientation_of(image)
            elif ORIENTATION_TAG in getattr(image, "tag_v2", ()):
                orientation = tiff_orientation(data)  # Pillow turns a TIFF, of most writers
            # An alpha of zeros only is a byte that was never filled in: the picture is opaque.
            opaque = (
                kind == "bmp"
                and image.mode == "RGBA"
                and not any(image.getchannel("A").getextrema())
            )
            width, height = image.size
            square = _square(image, size_px, opaque=opaque)
            image.close()  # its pixels go before the next decoder's turn
    except ImageError:
        raise
    except UnidentifiedImageError as error:  # its message is an address in memory
        raise ImageError(f"damaged {kind.upper()}: cannot be decoded") from error
    except Exception as error:  # Pillow's plugins raise almost anything on hostile bytes
        raise ImageError(f"damaged {kind.upper()}: {first_line(error)}") from error
    return _upright(square, width, height, orientation)


def _room_for(
    data: bytes, kind: str, width: int, height: int, max_pixels: int, mode: str = ""
) -> contextlib.AbstractContextManager[None]:
    """The decoder's turn for a picture of so many pixels, `mode` being Pillow's, where known."""
    pixel_bytes = PIXEL_BYTES.get(mode, 4) + DECODER_BYTES[kind]
    if kind in ("avif", "heif") and integrity.is_deep(data):
        pixel_bytes += DEEP_BYTES
    need = pixel_bytes * integrity.buffered_pixels(data, kind, width * height)
    return _room(len(data) + need, max_pixels=max_pixels)


def _refuse_holes(data: bytes) -> None:
    """A WebP with long zeros is whole if it needs its last bytes."""
    from PIL import Image

    for shortened in integrity.shortened_webp(data):
        try:
            Image.open(io.BytesIO(shortened), formats=["webp"]).load()
        except Exception:  # as it should
            continue
        raise ImageError("damaged WEBP: a hole of zeros")


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


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """`pixels` (H, W, 3) made upright; a view where it can be."""
    how = TURNS[orientation]
    if how.swaps_sides:
        pixels = pixels.transpose(1, 0, 2)
    if how.flips_rows:
        pixels = pixels[::-1]
    if how.flips_columns:
        pixels = pixels[:, ::-1]
    return pixels


def _upright(
    square: NDArray[np.uint8], width: int, height: int, orientation: int
) -> DecodedPicture:
    """Turned after the resize: the square is small, and stretching does not mind the order."""
    if TURNS[orientation].swaps_sides:
        width, height = height, width
    return DecodedPicture(np.ascontiguousarray(_turned(square, orientation)), width, height)


def _scale(width: int, height: int, size_px: int) -> int:
    """The largest of 1, 2, 4, 8 by which both sides may shrink without falling below `size_px`.

    Only powers of two: libjpeg-turbo has fast paths for them.
    """
    return next((s for s in (8, 4, 2) if min(width, height) >= size_px * s), 1)


def _square(image: Image.Image, size_px: int, *, opaque: bool) -> NDArray[np.uint8]:
    """The square of a picture that Pillow decoded, converted to RGB a band at a time."""
    width, height = image.size
    light = 1.0
    if image.mode in ("I", "F"):
        light = _full_light(image)

    def rows(top: int, bottom: int) -> NDArray[np.uint8]:
        whole = (top, bottom) == (0, height)
        band = image if whole else image.crop((0, top, width, bottom))
        return np.asarray(_to_rgb(band, light=light, opaque=opaque))

    return rows_to_square(rows, width, height, size_px)


def _full_light(image: Image.Image) -> float:
    """The value of white of whole numbers or floats, by the largest: 1, 255 or 65535."""
    largest = max(
        float(np.nanmax(np.asarray(image.crop((0, y, image.width, y + 1))), initial=0))
        for y in range(image.height)
    )
    if image.mode == "F" and largest <= 1:
        return 1.0
    return 255.0 if image.mode == "F" or largest <= 255 else 65535.0


def _to_rgb(image: Image.Image, *, light: float = 1.0, opaque: bool = False) -> Image.Image:
    """Eight-bit RGB of any Pillow mode: 16 bits keep the high byte, alpha is laid over white."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        white = 65535.0 if image.mode.startswith("I;16") else light
        with np.errstate(invalid="ignore"):  # some NaN are loud
            values = np.asarray(image).astype(np.float64)
        values = np.nan_to_num(values, posinf=white, neginf=0.0) * (255.0 / white)
        return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data and not opaque:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


# One resize for training, parity and the edge. Integers only, so that every processor gets the same
# bits: whole blocks of pixels are averaged until less than twice the side is left, then four
# neighbours are blended. Sides are not kept in proportion.


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


# How much memory decoding may take. A small file can ask for gigabytes, and a box of one gigabyte
# then loses the process, so the need is estimated by format and size before anything is decoded:
# measured peaks (`tests.soak.bombs`), rounded up.


class _Turns:
    """Lets decoders in while the sum of what they need stays within MAX_BYTES."""

    def __init__(self) -> None:
        self._used = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, need: int) -> Iterator[None]:
        need = min(need, MAX_BYTES)  # what was allowed to need more gets all
        with self._changed:
            self._changed.wait_for(lambda: self._used + need <= MAX_BYTES)
            self._used += need
        try:
            yield
        finally:
            _give_back()
            with self._changed:
                self._used -= need
                self._changed.notify_all()


_turns = _Turns()


def _give_back() -> None:
    """Free memory goes to the system, which the C library would keep for each thread (glibc)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _refuse_bomb(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError for a picture without pixels, or with more than `max_pixels`."""
    if width < 1 or height < 1:
        raise ImageError(f"{width}×{height} pixels is no picture")
    if width * height > max_pixels:
        raise ImageError(
            f"{width}×{height} pixels is more than {max_pixels:,}; raise --max-pixels to allow it"
        )


@contextlib.contextmanager
def _room(need_bytes: int, *, max_pixels: int = MAX_PIXELS) -> Iterator[None]:
    """Wait until `need_bytes` may be taken, for as long as the block lasts.

    Raises ImageError for more than MAX_BYTES, or than as many times that as `max_pixels` is times
    the usual one: allowing larger pictures allows their memory.
    """
    limit = MAX_BYTES * max(max_pixels, MAX_PIXELS) // MAX_PIXELS
    if need_bytes > limit:
        raise ImageError(
            f"needs {need_bytes / 1e6:.0f} MB to decode, more than {limit / 1e6:.0f}; save it as a "
            "smaller or a baseline JPEG picture, or raise --max-pixels where there is the memory"
        )
    if need_bytes < SMALL_BYTES:
        yield
    else:
        with _turns.taken(need_bytes):
            yield


def _register_heif() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ImageError(
            "HEIC needs an extra: pip install 'sorter[heic]', or convert it to JPEG"
        ) from error
    register_heif_opener()


def _refuse_special(mode: int, path: Path) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        with os.scandir(path):  # a folder that cannot be listed says so instead
            raise ImageError("a folder, not a picture")
    kinds = ((stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket"))
    name = next((name for test, name in kinds if test(mode)), "device")
    raise ImageError(f"a {name}, not a picture")


def _why_not_opened(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT:
        return "dangling link" if path.is_symlink() else "no such file"
    if error.errno == errno.ELOOP:
        return "link loop"
    return f"cannot be opened: {error.strerror or error}"


def _order(path: Path) -> str:
    """Sorts a folder where the paths inside it sort, so that a walk comes in text order."""
    return os.path.join(path, "") if path.is_dir() else os.fspath(path)  # noqa: PTH118


def _is_under(path: str, folder: str, *, recursive: bool) -> bool:
    """True where listing `folder` has given `path` already."""
    if path == folder:
        return True
    above = os.path.join(folder, "")  # noqa: PTH118
    if not path.startswith(above):
        return False
    *folders, name = Path(path.removeprefix(above)).parts
    if any(not _is_entered(part) for part in folders) or (folders and not recursive):
        return False
    return is_picture_name(name) or (recursive and _is_entered(name) and Path(path).is_dir())


def _is_entered(name: str) -> bool:
    return not name.startswith(".") and not is_housekeeping(name)


def _walk(folder: Path, recursive: bool, leave_out: Callable[[Path], object]) -> Iterator[Path]:
    # Names alone, which take least where a million lie in one folder; a folder's ends in a slash.
    entries: list[str] = []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if not _is_entered(entry.name):
                    continue
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_picture_name(entry.name):
                    entries.append(entry.name)
                elif is_not_taken(entry.name) and not is_folder:
                    leave_out(folder / entry.name)
                if is_folder and recursive:
                    entries.append(entry.name + os.sep)
    except OSError:
        yield folder
        return
    entries.sort()
    for name in entries:
        if name.endswith(os.sep):
            yield from _walk(folder / name, recursive, leave_out)
        else:
            yield folder / name
