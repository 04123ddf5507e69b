"""Small files that ask for gigabytes: a box of one gigabyte stays alive, and sorts what is good.

    python -m tests.soak.bombs --files 200
    python -m tests.soak.bombs --files 200 --cgroup /sys/fs/cgroup/sorter-bombs

Flat pictures of `--side` squared pixels in every format, and small ones whose headers lie, with a
good picture after each. One `sorter classify` takes them all, with the released network and its
usual threads. Reports its peak of resident memory, and exits with 1 where that is above 1,000 MB
less what is spare, where a good picture was not sorted, or where the process did not end by itself.
With `--cgroup`, a new group of that name limits it to 1,000 MB (cgroup 2, root).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.corpus import good_jpeg

LIMIT_MB = 1000


def main() -> int:
    """Run what the command line says, print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=40, help="Bombs; kinds come in turn.")
    parser.add_argument("--side", type=int, default=14_000, help="Of the flat ones, in pixels.")
    parser.add_argument("--cgroup", type=Path, help="A control group to make and to remove.")
    words = parser.parse_args()
    figures = measure(words.files, words.side, words.cgroup)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if figures["ended"] and figures["peak_mb"] < LIMIT_MB and not figures["lost"] else 1


def measure(files: int, side_px: int, cgroup: Path | None = None) -> dict[str, Any]:
    """Sort `files` bombs with as many good pictures; peak MB, what was lost, what was refused."""
    with tempfile.TemporaryDirectory(prefix="sorter-bombs-") as name:
        folder, report = Path(name) / "in", Path(name) / "out.csv"
        folder.mkdir()
        kinds = list(bombs(side_px))
        for number in range(files):
            suffix, data = kinds[number % len(kinds)]
            first = folder / f"{number % len(kinds):04d}-bomb.{suffix}"
            if first.exists():
                os.link(first, folder / f"{number:04d}-bomb.{suffix}")
            else:
                first.write_bytes(data)
            (folder / f"{number:04d}-good.jpg").write_bytes(good_jpeg(number))
        peak_mb, code = _classify(folder, report, cgroup)
        with report.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    good = [row for row in rows if "good" in row["path"]]
    return {
        "bombs": files,
        "kinds": len(kinds),
        "peak_mb": round(peak_mb),
        "ended": code in (0, 1),
        "lost": 2 * files - len(rows) + sum(row["status"] == "error" for row in good),
        "refused": sum(row["status"] == "error" for row in rows),
    }


def _classify(folder: Path, report: Path, cgroup: Path | None) -> tuple[float, int]:
    if cgroup:
        cgroup.mkdir()
        (cgroup / "memory.max").write_text(f"{LIMIT_MB}M")
        with contextlib.suppress(OSError):
            (cgroup / "memory.swap.max").write_text("0")

    def enter() -> None:
        if cgroup:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    words = [sys.executable, "-m", "sorter", "classify", str(folder), "--csv", str(report)]
    process = subprocess.Popen(words, preexec_fn=enter, stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            text = Path(f"/proc/{process.pid}/status").read_text()
            peak = float(text.split("VmHWM:")[1].split()[0])
        time.sleep(0.02)
    if cgroup:
        cgroup.rmdir()
    return peak / 1024, process.returncode


def bombs(side_px: int) -> Iterator[tuple[str, bytes]]:
    """(suffix, bytes) of each kind: large and flat, then small with headers that lie."""
    for depth, colours, samples in ((8, 2, 3), (8, 0, 1), (16, 2, 6), (16, 0, 2), (8, 6, 4)):
        yield "png", _flat_png(side_px, depth, colours, samples)
    yield "png", _flat_png(side_px, 8, 2, 3, interlaced=1)
    flat = Image.new("L", (side_px, side_px), 90)
    yield "gif", _saved(flat, "GIF")
    yield "tif", _saved(flat, "TIFF", compression="packbits")
    yield "jpg", _saved(flat, "JPEG")
    yield "jpg", _saved(flat, "JPEG", progressive=True)
    del flat
    colour = Image.new("RGB", (side_px, side_px), (90, 120, 60))
    yield "tif", _saved(colour, "TIFF", compression="tiff_lzw")
    yield "tif", _saved(colour, "TIFF", compression="tiff_adobe_deflate")
    yield "jpg", _saved(colour, "JPEG", progressive=True, subsampling=0)
    yield "avif", _saved(colour.resize((8000, 8000)), "AVIF", speed=10)
    yield "webp", _saved(colour.resize((8000, 8000)), "WEBP", method=0)
    del colour
    yield from _liars()


def _liars() -> Iterator[tuple[str, bytes]]:
    small = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
    huge = 14_100
    bmp = bytearray(_saved(small, "BMP"))
    struct.pack_into("<ii", bmp, 18, huge, huge)
    yield "bmp", bytes(bmp)
    gif = bytearray(_saved(small, "GIF"))
    struct.pack_into("<HH", gif, 6, huge, huge)
    yield "gif", bytes(gif)
    for progressive in (False, True):
        jpeg = bytearray(_saved(small, "JPEG", progressive=progressive))
        at = jpeg.index(b"\xff\xc2" if progressive else b"\xff\xc0")
        struct.pack_into(">HH", jpeg, at + 5, huge, huge)
        yield "jpg", bytes(jpeg)
    webp = bytearray(_saved(small, "WEBP"))
    at = webp.index(b"\x9d\x01\x2a") + 3
    struct.pack_into("<HH", webp, at, 16_383, 12_000)
    yield "webp", bytes(webp)
    avif = bytearray(_saved(small, "AVIF"))
    struct.pack_into(">II", avif, avif.index(b"ispe") + 8, huge, huge)
    yield "avif", bytes(avif)
    avif = bytearray(_saved(Image.new("RGB", (9000, 9000), "white"), "AVIF", speed=10))
    struct.pack_into(">II", avif, avif.index(b"ispe") + 8, 64, 64)
    yield "avif", bytes(avif)
    tiff = bytearray(_saved(small, "TIFF", compression="tiff_lzw"))
    (start,) = struct.unpack_from("<I", tiff, 4)
    for tag, value in ((256, huge), (257, huge), (278, huge)):
        _patch_tiff(tiff, start, tag, value)
    yield "tif", bytes(tiff)


def _patch_tiff(data: bytearray, start: int, tag: int, value: int) -> None:
    (count,) = struct.unpack_from("<H", data, start)
    for i in range(count):
        at = start + 2 + 12 * i
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into("<HII", data, at + 2, 4, 1, value)


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _flat_png(side_px: int, depth: int, colours: int, samples: int, interlaced: int = 0) -> bytes:
    """Written by hand, row by row: nothing of it is ever as large as the picture."""
    packed, row = zlib.compressobj(1), bytes(1 + side_px * samples)
    body = b"".join(packed.compress(row) for _ in range(side_px)) + packed.flush()
    header = struct.pack(">IIBBBBB", side_px, side_px, depth, colours, 0, 0, interlaced)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in chunks
    )


if __name__ == "__main__":
    sys.exit(main())
