"""Pictures for the soaks of the station, and a camera that delivers them.

Owns bytes and their delivery; knows no station.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from pathlib import Path

from PIL import Image, PngImagePlugin

from tests.support.tiny import colour_of, taxonomy3

TAXONOMY = taxonomy3()


def painted(number: int, *, index: int | None = None, side_px: int = 32) -> bytes:
    """A PNG in the colour of class `index` (else by `number`), unlike any other number's."""
    note = PngImagePlugin.PngInfo()
    note.add_text("number", str(number))
    stream = io.BytesIO()
    which = number % len(TAXONOMY.categories) if index is None else index
    colour = colour_of(TAXONOMY, which)
    Image.new("RGB", (side_px, side_px), colour).save(stream, "PNG", pnginfo=note)
    return stream.getvalue()


def digest(data: bytes) -> str:
    """SHA-256 in hex, as the journal has it."""
    return hashlib.sha256(data).hexdigest()


def drop(folder: Path, name: str, data: bytes) -> str:
    """Deliver as a camera does: written under another name, then renamed. The SHA-256."""
    part = folder / f".{name}"
    part.write_bytes(data)
    part.rename(folder / name)
    return digest(data)


class Camera:
    """Delivers pictures from a thread of its own until the end of the `with`."""

    def __init__(self, folder: Path, seed: int, *, rate: float) -> None:
        self.wanted: dict[str, str] = {}
        self._folder, self._seed, self._rate = folder, seed, rate
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera")

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._ended.wait(
            max(0.0, begun + len(self.wanted) / self._rate - time.monotonic())
        ):
            number = len(self.wanted)
            name = f"p{number:06d}.png"
            # The class goes by the picture's own number, so that its name tells it.
            data = painted(
                self._seed * 10_000_000 + number, index=number % len(TAXONOMY.categories)
            )
            self.wanted[name] = drop(self._folder, name, data)
