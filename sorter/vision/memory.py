"""How much memory decoding may take: each picture, and all that are being decoded at once.

A small file can ask for gigabytes, and a box of one gigabyte then loses the process. So the need is
estimated by format and size before anything is decoded: measured peaks (`tests.soak.bombs`),
rounded up. Decodes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

from sorter.errors import ImageError

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


def refuse_bomb(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError for a picture without pixels, or with more than `max_pixels`."""
    if width < 1 or height < 1:
        raise ImageError(f"{width}×{height} pixels is no picture")
    if width * height > max_pixels:
        raise ImageError(
            f"{width}×{height} pixels is more than {max_pixels:,}; raise --max-pixels to allow it"
        )


@contextlib.contextmanager
def room(need_bytes: int, *, max_pixels: int = MAX_PIXELS) -> Iterator[None]:
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
