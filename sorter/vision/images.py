"""Find pictures, open one, return it upright at the model's size; nothing else opens a picture.

Every decoder's error becomes ImageError here. Half a picture is an error, never a guess: no
decoder is allowed to fill in what is missing. The messages do not name the file; the caller knows
it.

Rules: the first frame of an animation; transparency over white; colour profiles are ignored; names
that start with a dot, and links to folders, are skipped by `find`.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from sorter.errors import ImageError
from sorter.files import is_housekeeping, is_not_taken, is_picture_name
from sorter.text import first_line
from sorter.vision import integrity
from sorter.vision.exif import TURNS, jpeg_orientation, orientation_of, turn
from sorter.vision.resize import to_square

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 200_000_000
MAX_FILE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Picture:
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


def load(path: Path, size_px: int, *, max_pixels: int = MAX_PIXELS) -> Picture:
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
            data = stream.read(MAX_FILE_BYTES + 1)
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"cannot be opened: {error}") from error
    except OSError as error:
        raise ImageError(_why_not_opened(error, path)) from error
    if not data:
        raise ImageError("empty file")
    return data


def decode(data: bytes, size_px: int, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in `data`, upright, stretched to (size_px, size_px, 3).

    One resize for every use (`resize`), sides not kept in proportion. Raises ImageError unless the
    bytes are one whole picture of at most `max_pixels`.
    """
    kind = integrity.sniff(data)
    if kind == "jpeg":
        return _decode_jpeg(data, size_px, max_pixels)
    return _decode_other(data, kind, size_px, max_pixels)


def from_array(pixels: NDArray[np.uint8], size_px: int) -> Picture:
    """A picture that is decoded already: (height, width, 3) RGB, upright, by the same resize.

    Raises ImageError for another shape or another type than uint8.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(f"{pixels.dtype} {pixels.shape} is not uint8 (height, width, 3) RGB")
    height, width = pixels.shape[:2]
    return _finish(pixels, size_px, width, height, orientation=1)


def _decode_jpeg(data: bytes, size_px: int, max_pixels: int) -> Picture:
    integrity.check_jpeg(data)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        _refuse_bomb(width, height, max_pixels)
        scale = _scale(width, height, size_px)
        pixels = simplejpeg.decode_jpeg(
            data,
            colorspace="CMYK" if space in ("CMYK", "YCCK") else "RGB",
            min_width=-(-width // scale) if scale > 1 else 0,
            min_height=-(-height // scale) if scale > 1 else 0,
            strict=True,
        )
    except (ValueError, MemoryError) as error:
        raise ImageError(f"damaged JPEG: {first_line(error)}") from error
    if pixels.shape[2] == 4:
        # Adobe's CMYK is stored inverted, so that multiplying ink by black gives light.
        light = pixels[..., :3].astype(np.uint16) * pixels[..., 3:]
        pixels = ((light + 127) // 255).astype(np.uint8)
    return _finish(pixels, size_px, width, height, jpeg_orientation(data))


def _decode_other(data: bytes, kind: str, size_px: int, max_pixels: int) -> Picture:
    from PIL import Image, UnidentifiedImageError

    if kind == "heif":
        _register_heif()
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked below, before anything is decoded
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            width, height = image.size
            _refuse_bomb(width, height, max_pixels)
            integrity.check_other(data, kind)
            image.load()
            orientation = 1 if kind == "heif" else orientation_of(image)
            pixels = _to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:  # its message is an address in memory
        raise ImageError(f"damaged {kind.upper()}: cannot be decoded") from error
    except Exception as error:  # Pillow's plugins raise almost anything on hostile bytes
        raise ImageError(f"damaged {kind.upper()}: {first_line(error)}") from error
    return _finish(pixels, size_px, width, height, orientation)


def _finish(
    pixels: NDArray[np.uint8], size_px: int, width: int, height: int, orientation: int
) -> Picture:
    """Resize, then turn: the square is small, and stretching does not mind the order."""
    square = to_square(pixels, size_px)
    if TURNS[orientation].swaps_sides:
        width, height = height, width
    return Picture(np.ascontiguousarray(turn(square, orientation)), width, height)


def _scale(width: int, height: int, size_px: int) -> int:
    """The largest of 1, 2, 4, 8 by which both sides may shrink without falling below `size_px`.

    Only powers of two: libjpeg-turbo has fast paths for them.
    """
    return next((s for s in (8, 4, 2) if min(width, height) >= size_px * s), 1)


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Eight-bit RGB of any Pillow mode: 16 bits keep the high byte, alpha is laid over white."""
    from PIL import Image

    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        values = np.asarray(image).astype(np.float64)
        if image.mode == "F":  # TIFF floats are light from 0 to 1, or grey levels
            values = np.nan_to_num(values) * (255.0 if np.nanmax(values, initial=0) <= 1 else 1.0)
        elif image.mode != "I" or values.max(initial=0) > 255:
            values /= 257.0
        grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _register_heif() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ImageError(
            "HEIC needs an extra: pip install 'sorter[heic]', or convert it to JPEG"
        ) from error
    register_heif_opener()


def _refuse_bomb(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{width}×{height} pixels is no picture")
    if width * height > max_pixels:
        raise ImageError(
            f"{width}×{height} pixels is more than {max_pixels:,}; raise --max-pixels to allow it"
        )


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
