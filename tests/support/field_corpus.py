"""A folder from the field, written by code, with the row that each of its files must get.

Good pictures are painted in the colour of one class of `tests.support.tiny.taxonomy3`, so that a
decoder that turns, mixes or drops something gives another label. Bad ones come from
`tests.support.corpus` too.
"""

from __future__ import annotations

import io
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sorter.vision.images import TURNS
from tests.support.corpus import good_jpeg, write_bad
from tests.support.tiny import colour_of, taxonomy3

SIZE = (64, 48)
RED, GREEN = (colour_of(taxonomy3(), i) for i in (0, 1))


@dataclass(frozen=True)
class Expected:
    """One file and its row: `name` as bytes, `status` ("" where a stated rule skips it).

    `says` must be in the error; a sorted row must have `code` and `size` (upright).
    """

    name: bytes
    status: str
    says: str = ""
    code: str = "0001"
    size: tuple[int, int] = SIZE


def write_corpus(folder: Path) -> list[Expected]:
    """Write every kind of file into `folder`; what each must come to."""
    rows = [
        *_modes(folder),
        *_turns(folder),
        *_animations(folder),
        *_cut(folder),
        *_bombs(folder),
        *_names(folder),
        *_no_files(folder),
        *_foreign(folder),
    ]
    for bad in write_bad(folder):
        error = bad.row or bad.name == "x.jpg"
        # Drawn, not painted: whatever it is called, it is no error.
        rows.append(
            Expected(os.fsencode(bad.name), "error" if error else "any", bad.says, size=(0, 0))
        )
    return rows


def _picture(colour: tuple[int, int, int] = RED, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGB", size, colour)


def _bytes(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _modes(folder: Path) -> Iterator[Expected]:
    red = _picture()
    see_through = red.convert("RGBA")
    see_through.putpixel((0, 0), (0, 255, 0, 0))
    grey = Image.fromarray(np.full((48, 64), 30_000, np.uint16))
    good = {
        "cmyk.jpg": _bytes(red.convert("CMYK"), "JPEG"),
        "progressive.jpg": _bytes(red, "JPEG", progressive=True, quality=95),
        "upper.JPEG": _bytes(red, "JPEG"),
        "palette.png": _bytes(red.quantize(4), "PNG"),
        "alpha.png": _bytes(see_through, "PNG"),
        "alpha.webp": _bytes(see_through, "WEBP", lossless=True),
        "palette.gif": _bytes(red, "GIF"),
        "plain.bmp": _bytes(red, "BMP"),
        "lzw.tif": _bytes(red, "TIFF", compression="tiff_lzw"),
        "cmyk.tiff": _bytes(red.convert("CMYK"), "TIFF"),
        "plain.avif": _bytes(red, "AVIF"),
        "wrong-suffix.jpg": _bytes(red, "PNG"),
    }
    for name, data in good.items():
        (folder / name).write_bytes(data)
        yield Expected(name.encode(), "sorted")
    # Grey says nothing of the class; the tiny network must call it unknown, not guess.
    for name, data in {
        "grey.jpg": _bytes(red.convert("L"), "JPEG"),
        "grey-alpha.png": _bytes(red.convert("LA"), "PNG"),
        "two-level.png": _bytes(red.convert("1"), "PNG"),
        "sixteen-bit.png": _bytes(grey, "PNG"),
        "sixteen-bit.tif": _bytes(grey, "TIFF"),
        "float.tif": _bytes(Image.fromarray(np.full((48, 64), 0.4, np.float32)), "TIFF"),
        "clear.png": _bytes(Image.new("RGBA", SIZE, (255, 0, 0, 0)), "PNG"),
    }.items():
        (folder / name).write_bytes(data)
        yield Expected(name.encode(), "unsure")


def _turns(folder: Path) -> Iterator[Expected]:
    """All eight EXIF orientations: the row gives the upright size."""
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[274] = orientation
        stored = SIZE[::-1] if turn.swaps_sides else SIZE
        name = f"turn{orientation}.jpg"
        (folder / name).write_bytes(_bytes(_picture(size=stored), "JPEG", exif=exif))
        yield Expected(name.encode(), "sorted")


def _animations(folder: Path) -> Iterator[Expected]:
    """The first frame counts."""
    for kind, suffix in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png"), ("TIFF", "tif")):
        name = f"animated.{suffix}"
        more = {"save_all": True, "append_images": [_picture(GREEN)] * 2}
        (folder / name).write_bytes(_bytes(_picture(), kind, **more))
        yield Expected(name.encode(), "sorted")


def _cut(folder: Path) -> Iterator[Expected]:
    """Cut in the middle, and with zeros from there on, where the format can tell."""
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 256, (90, 90, 3), np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        data = _bytes(noise, kind)
        half = len(data) // 2
        (folder / f"cut-{kind}.jpg").write_bytes(data[:half])
        yield Expected(f"cut-{kind}.jpg".encode(), "error")
        if kind not in ("BMP", "TIFF"):  # raw pixels: zeros are black
            (folder / f"zeros-{kind}.jpg").write_bytes(data[:half] + bytes(len(data) - half))
            yield Expected(f"zeros-{kind}.jpg".encode(), "error")
    (folder / "all-zeros.jpg").write_bytes(bytes(20_000))
    yield Expected(b"all-zeros.jpg", "error", "zeros")


def _bombs(folder: Path) -> Iterator[Expected]:
    """Small files whose headers promise billions of pixels."""
    bmp = bytearray(_bytes(_picture(), "BMP"))
    struct.pack_into("<ii", bmp, 18, 60_000, 60_000)
    gif = bytearray(_bytes(_picture(), "GIF"))
    struct.pack_into("<HH", gif, 6, 65_000, 65_000)
    jpeg = bytearray(_bytes(_picture(), "JPEG"))
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, 65_000, 65_000)
    tiff = bytearray(_bytes(_picture(), "TIFF"))
    (start,) = struct.unpack_from("<I", tiff, 4)
    for i in range(2):  # width and length are the first two tags
        struct.pack_into("<HHII", tiff, start + 2 + 12 * i, 256 + i, 4, 1, 60_000)
    for name, data in (("bmp", bmp), ("gif", gif), ("jpg", jpeg), ("tif", tiff)):
        (folder / f"bomb.{name}").write_bytes(data)
        yield Expected(f"bomb.{name}".encode(), "error", "--max-pixels")


def _names(folder: Path) -> Iterator[Expected]:
    """Names that a terminal, a table or a text would stumble over."""
    data = _bytes(_picture(), "JPEG", quality=95)
    for name in (
        b"=cmd|' -C calc'!A0.jpg",
        b"+1.jpg",
        b"@sum.jpg",
        b"-dash.jpg",
        b"two\nlines.jpg",
        b"[bold red]markup[bold].jpg",
        b'comma, and "quotes".jpg',
        b"bell\x07 and \x1b[2J.jpg",
        "\u202egpj.right-to-left.jpg".encode(),
        "罐 can ✓.jpg".encode(),
        b"not utf-8 \xff\xfe.jpg",
        b"back\\slash.jpg",
        b"n" * 251 + b".jpg",
        b" .jpg",
    ):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(data)
        yield Expected(name, "sorted")


def _no_files(folder: Path) -> Iterator[Expected]:
    """What is called a picture and is no file."""
    (folder / "null.jpg").symlink_to("/dev/null")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "up.jpg").symlink_to("..")
    with socket.socket(socket.AF_UNIX) as end:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path is short
        try:
            end.bind("socket.jpg")
        finally:
            os.chdir(here)
    yield Expected(b"null.jpg", "error", "a device")
    yield Expected(b"zero.jpg", "error", "a device")
    yield Expected(b"loop.jpg", "error", "link loop")
    yield Expected(b"up.jpg", "error", "a folder")
    yield Expected(b"socket.jpg", "error", "a socket")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "circle").symlink_to("..")  # never followed
    (folder / "deeper" / "in.jpg").write_bytes(_bytes(_picture(), "JPEG"))
    yield Expected(b"deeper/in.jpg", "sorted")
    yield Expected(b"deeper/circle", "")


def _foreign(folder: Path) -> Iterator[Expected]:
    """Other files, under a picture's name or their own."""
    heic = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(40)
    for name, data, says in (
        ("page.jpeg", b"<html><body>404 Not Found</body></html>", "web page"),
        ("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("paper.jpg", b"%PDF-1.7\n", "PDF"),
        ("archive.jpg", b"PK\x03\x04" + bytes(30), "ZIP"),
        ("words.jpg", b"not a picture", "text"),
        ("phone.heic", heic, "HEI"),
        ("one-byte.jpg", b"\xff", "not a picture"),
    ):
        (folder / name).write_bytes(data)
        yield Expected(name.encode(), "error", says)
    (folder / ".hidden.jpg").write_bytes(good_jpeg())
    (folder / "notes.txt").write_text("no picture")
    (folder / "model.bin").write_bytes(b"\0")
    for skipped in (b".hidden.jpg", b"notes.txt", b"model.bin"):
        yield Expected(skipped, "")
