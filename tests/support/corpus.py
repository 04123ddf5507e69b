"""Good pictures and bad files, written by code: what a folder from the field may hold."""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from train.drawn.render import draw


@dataclass(frozen=True)
class Bad:
    """One bad file: its name, and whether it gets a row (else it is skipped by a stated rule)."""

    name: str
    row: bool
    says: str = ""


def good_jpeg(seed: int = 0, *, side_px: int = 120, progressive: bool = False) -> bytes:
    """A whole JPEG."""
    stream = io.BytesIO()
    draw("00_03", seed=seed, side_px=side_px).save(
        stream, "JPEG", quality=85, progressive=progressive
    )
    return stream.getvalue()


def huge_png(side_px: int = 30_000) -> bytes:
    """A valid small file whose header promises `side_px` squared pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 + side_px) * 64)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def write_bad(folder: Path) -> list[Bad]:
    """Write ten files that are no pictures, or hard to name, into `folder`."""
    whole = good_jpeg(7)
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "zero-tail.jpg").write_bytes(
        whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)
    )
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (folder / "x.jpg").mkdir()
    os.mkfifo(folder / "fifo.jpg")
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    secret = folder / "secret.jpg"
    secret.write_bytes(good_jpeg(8))
    secret.chmod(0)
    (folder / "bomb.png").write_bytes(huge_png())
    odd = "new\nline [red].jpg"
    (folder / odd).write_bytes(good_jpeg(9))
    return [
        Bad("cut.jpg", True),
        Bad("zero-tail.jpg", True),
        Bad("empty.jpg", True, "empty"),
        Bad("page.jpg", True),
        Bad("x.jpg", False),
        Bad("fifo.jpg", True),
        Bad("dangling.jpg", True),
        # Root reads what nobody may read.
        Bad("secret.jpg", os.geteuid() != 0, "ermission"),
        Bad("bomb.png", True, "pixels"),
        Bad(odd, False),
    ]
