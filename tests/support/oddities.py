"""Pictures as encoders of the field write them, drawn by code: whole but odd, and damaged.

Each odd one must come out with the pixels of a plain one; no damaged one may come out at all.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from train.drawn.render import draw

WIDE = draw("00_03", seed=3, side_px=120).crop((0, 20, 120, 100))
"""Not square, so that a turn shows."""

LYING = WIDE.transpose(Image.Transpose.ROTATE_90)
"""As a camera held on its side stores it; orientation 6 makes it upright."""


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of `picture` in a format of Pillow's."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def whole() -> Iterator[tuple[str, bytes]]:
    """Odd ones that show WIDE, upright."""
    yield from _jpegs()
    yield from _pngs()
    yield from _bitmaps()
    yield from _turned()
    for name in ("tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate", "raw"):
        yield f"{name}.tif", encoded(WIDE, "TIFF", compression=name)
    yield "big.tif", encoded(WIDE, "TIFF", big_tiff=True)
    yield "plain.avif", encoded(WIDE, "AVIF", quality=95)
    yield "trailing.gif", encoded(WIDE.quantize(256), "GIF") + b"\0appended"
    yield "lossless.webp", encoded(WIDE, "WEBP", lossless=True)


def flat() -> Iterator[tuple[str, bytes]]:
    """Pictures with large flat areas, whose whole data has long runs of zeros."""
    for colour in ("white", "black"):
        picture = Image.new("RGB", (1600, 1200), colour)
        picture.paste(WIDE.resize((360, 240)), (600, 480))
        for options in ({}, {"quality": 95}, {"lossless": True}):
            label = "-".join(map(str, options.values())) or "plain"
            yield f"{colour}-{label}.webp", encoded(picture, "WEBP", method=0, **options)
        yield f"{colour}.jpg", encoded(picture, "JPEG", optimize=True)
        yield f"{colour}.avif", encoded(picture, "AVIF", speed=10)
    yield "empty.webp", encoded(Image.new("RGB", (3000, 3000), "white"), "WEBP", method=0)


def damaged() -> Iterator[tuple[str, bytes]]:
    """Cut, overwritten with zeros, or with too much in the wrong place."""
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8))
    for kind, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_rows": 1}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("AVIF", {"quality": 95}),
        ("TIFF", {"compression": "packbits"}),
        ("TIFF", {"compression": "jpeg", "quality": 95}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ):
        data = encoded(noise, kind, **options)
        label = f"{kind}-{'-'.join(map(str, options.values()))}"
        for share in (0.4, 0.8):
            at = int(len(data) * share)
            yield f"{label}-cut-{share}", data[:at]
            hole = min(len(data) // 4, len(data) - at - 40)
            yield f"{label}-hole-{share}", data[:at] + bytes(hole) + data[at + hole :]
    for name, data in _jpegs():
        if name not in ("motion.jpg", "padded.jpg", "two.jpg"):  # half of those is all of it
            yield f"cut-{name}", data[: len(data) // 2] + b"\xff\xd9"
    rows = _with_strays(12)
    yield "twelve-strays.jpg", rows
    png = encoded(noise, "PNG")
    yield "short-header.png", png[:8] + _chunk(b"IHDR", png[16:26]) + png[33:]
    yield "headless.png", png[:8] + png[33:]
    sampling = bytearray(encoded(noise, "JPEG"))
    sampling[sampling.index(b"\xff\xc0") + 11] = 0x31
    yield "unknown-sampling.jpg", bytes(sampling)
    yield "short.bmp", encoded(noise, "BMP")[:-300]


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    position, found = 2, []
    while True:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        found.append((data[position + 1], position, position + 2 + length))
        position += 2 + length
        if found[-1][0] == 0xDA:
            return found


def _with_strays(most: int) -> bytes:
    """One to `most` bytes too many before each restart marker."""
    data = encoded(WIDE, "JPEG", quality=92, restart_marker_rows=1)
    start = _segments(data)[-1][2]
    out, count = bytearray(data[:start]), 0
    for at in range(start, len(data)):
        if data[at] == 0xFF and 0xD0 <= data[at + 1 : at + 2][0] <= 0xD7:
            count += 1
            out += bytes([0x35] * (count % most + 1 if most < 9 else most))
        out.append(data[at])
    return bytes(out)


def _jpegs() -> Iterator[tuple[str, bytes]]:
    base = encoded(WIDE, "JPEG", quality=92)
    yield "strays.jpg", _with_strays(4)
    yield "stray-at-end.jpg", base[:-2] + b"\x35\x11" + base[-2:]
    samsung = bytearray(base)
    end = _segments(base)[-1][2]
    samsung[end - 3 : end] = bytes(3)
    yield "samsung.jpg", bytes(samsung)
    version = base.index(b"JFIF\0") + 5
    yield "jfif-2.01.jpg", base[:version] + b"\2\1" + base[version + 2 :]
    both = bytearray(_with_strays(4))
    both[version : version + 2] = b"\2\1"
    yield "strays-and-jfif.jpg", bytes(both)
    adobe = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\x02"
    yield "adobe-2.jpg", base[:2] + adobe + base[2:]
    yield "motion.jpg", base + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40
    yield "padded.jpg", base + bytes(65536)
    yield "two.jpg", base + encoded(WIDE.resize((64, 48)), "JPEG")
    yield "fill-bytes.jpg", base[:2] + b"\xff\xff\xff" + base[2:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def _pngs() -> Iterator[tuple[str, bytes]]:
    png = encoded(WIDE, "PNG")
    long = zlib.compress(b"seed=1234 prompt=can " * 70_000)
    for name, kind, body in (
        ("ztxt", b"zTXt", b"workflow\0\0" + long),
        ("itxt", b"iTXt", b"workflow\0\1\0\0\0" + long),
        ("icc", b"iCCP", b"printer\0\0" + zlib.compress(b"x" * 1_300_000)),
        ("text", b"tEXt", b"workflow\0" + b"word " * 300_000),
    ):
        yield f"long-{name}.png", png[:33] + _chunk(kind, body) + png[33:]
    many = _chunk(b"zTXt", b"k\0\0" + zlib.compress(b"y" * 1_000_000)) * 70
    yield "many-ztxt.png", png[:33] + many + png[33:]
    yield "trailing.png", png + b"appended by a camera"
    apng = encoded(WIDE, "PNG", save_all=True, append_images=[WIDE.rotate(180)])
    yield "animated.png", apng


def _bitmaps() -> Iterator[tuple[str, bytes]]:
    bmp = encoded(WIDE, "BMP")
    for name, size in (("two-more", len(bmp) + 2), ("most", 0xFFFFFFFF), ("none", 0)):
        yield f"size-{name}.bmp", bmp[:2] + struct.pack("<I", size) + bmp[6:]
    pixels = np.zeros((*WIDE.size[::-1], 4), np.uint8)
    pixels[..., :3] = np.asarray(WIDE)[..., ::-1]
    width, height = WIDE.size
    for name, size, more in (
        ("v4", 108, struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)),
        ("plain", 40, b""),
    ):
        dib = struct.pack(
            "<IiiHHIIiiII", size, width, height, 1, 32, 3 if more else 0, pixels.size, 1, 1, 0, 0
        )
        head = struct.pack("<IHHI", 14 + size + pixels.size, 0, 0, 14 + size)
        yield f"alpha-0-{name}.bmp", b"BM" + head + dib + more + pixels[::-1].tobytes()


def _exif(order: str, kind: int) -> bytes:
    mark = "<" if order == "II" else ">"
    value = struct.pack(mark + {1: "B", 3: "H", 4: "I"}[kind], 6).ljust(4, b"\0")
    entry = struct.pack(mark + "HHHI", 1, 274, kind, 1) + value + bytes(4)
    return order.encode() + struct.pack(mark + "HI", 42, 8) + entry


def _turned() -> Iterator[tuple[str, bytes]]:
    """LYING, with orientation 6 noted in every place and type that writers use."""
    jpeg, png = encoded(LYING, "JPEG", quality=95), encoded(LYING, "PNG")
    for order in ("II", "MM"):
        for number_type in (1, 3, 4):
            block = b"Exif\0\0" + _exif(order, number_type)
            app1 = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
            yield f"{order}-{number_type}.jpg", jpeg[:2] + app1 + jpeg[2:]
    short = b"Exif\0\0" + _exif("MM", 3)
    raw = b"\nexif\n%8d\n" % len(short) + short.hex().encode() + b"\n"
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></x:xmpmeta>'
    )
    for name, kind, body in (
        ("exif", b"eXIf", _exif("MM", 3)),
        ("exif-long", b"eXIf", _exif("II", 4)),
        ("raw", b"tEXt", b"Raw profile type exif\0" + raw),
        ("raw-z", b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw)),
        ("xmp", b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        ("xmp-z", b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
    ):
        yield f"turned-{name}.png", png[:33] + _chunk(kind, body) + png[33:]
    tiff = bytearray(encoded(LYING, "TIFF", tiffinfo={274: 6}))
    yield "turned.tif", bytes(tiff)
    (start,) = struct.unpack_from("<I", tiff, 4)
    for i in range(struct.unpack_from("<H", tiff, start)[0]):
        at = start + 2 + 12 * i
        if struct.unpack_from("<H", tiff, at)[0] == 274:
            struct.pack_into("<HHII", tiff, at, 274, 4, 1, 6)
    yield "turned-long.tif", bytes(tiff)
