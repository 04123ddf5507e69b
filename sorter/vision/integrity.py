"""Is this file one whole picture? What its bytes alone can tell, before any decoder is asked.

Decoders fill in what is missing and say nothing; these checks say no. Knows file formats, not
pixels; raises ImageError only.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from sorter.errors import ImageError

HOLE = bytes(512)
"""A run of zeros that no encoder writes into compressed picture data; a disk or a copy does."""


def sniff(data: bytes) -> str:
    """The format by its first bytes, as Pillow calls it. Raises ImageError for anything else."""
    head = data[:16]
    if head[:2] == b"\xff\xd8":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:2] == b"BM":
        return "bmp"
    if head[4:8] == b"ftyp":
        brands = data[8 : 8 + min(64, int.from_bytes(data[:4], "big"))]
        return "avif" if b"avif" in brands or b"avis" in brands else "heif"
    raise ImageError(f"not a picture: {_guess(data)}")


def check_jpeg(data: bytes) -> None:
    """Refuse a JPEG with a hole of zeros in its compressed data.

    A short hole may decode without an error. By the Huffman tables of most files, zero bits spell
    one coefficient after another, and never go on for long. Where the tables let zeros mean a flat
    area, the strict decoder has to judge, and this check passes.
    """
    flat_dc: dict[int, bool] = {}
    flat_ac: dict[int, bool] = {}
    scans = 0
    for marker, start, end in _jpeg_segments(data):
        if marker == 0xC4:
            _read_tables(data[start + 4 : end], flat_dc, flat_ac)
        elif marker == 0xDA:
            scans += 1
            if data.find(HOLE, start, end) >= 0 and not _zeros_are_flat(
                data[start + 4 : start + 16], flat_dc, flat_ac
            ):
                raise ImageError("damaged JPEG: a hole of zeros in the picture data")
    if not scans:
        raise ImageError("damaged JPEG: no picture data")


def check_other(data: bytes, kind: str) -> None:
    """Refuse a PNG, WebP, GIF, BMP, HEIF or AVIF that is cut short or has a hole.

    PNG has checksums, which are all compared. The others have lengths, and their compressed data
    no long run of zeros. TIFF has neither; its decoder finds missing strips.
    """
    if kind == "png":
        _check_png(data)
    elif kind == "webp":
        _check_webp(data)
    elif kind == "bmp":
        declared = int.from_bytes(data[2:6], "little")
        if declared > len(data):
            raise ImageError(f"cut short: {len(data)} of {declared} bytes")
    elif kind == "gif":
        _check_gif(data)
    elif kind in ("heif", "avif") and data.endswith(HOLE):
        raise ImageError(f"damaged {kind.upper()}: ends in zeros")


def _check_png(data: bytes) -> None:
    view = memoryview(data)
    position = 8
    while True:
        length = int.from_bytes(view[position : position + 4], "big")
        end = position + 12 + length
        if end > len(data):
            raise ImageError("damaged PNG: cut short")
        body = view[position + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError(f"damaged PNG: wrong checksum at byte {position}")
        if bytes(body[:4]) == b"IEND":
            return
        position = end


def _check_webp(data: bytes) -> None:
    declared = int.from_bytes(data[4:8], "little") + 8
    if declared > len(data):
        raise ImageError(f"damaged WEBP: {len(data)} of {declared} bytes")
    position = 12
    while position + 8 <= declared:
        name = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + length + (length & 1)
        if end > declared + 1:
            raise ImageError("damaged WEBP: cut short")
        if name in (b"VP8 ", b"VP8L", b"ANMF") and data.find(HOLE, position, end) >= 0:
            raise ImageError("damaged WEBP: a hole of zeros")
        position = end


def _check_gif(data: bytes) -> None:
    """Walk the blocks: a hole or a cut breaks their chain. A missing trailer alone is fine."""
    position = 13 + _palette_bytes(data[10:11])
    while position < len(data) and data[position] != 0x3B:
        if data[position] == 0x2C:
            position += 10 + _palette_bytes(data[position + 9 : position + 10]) + 1
        elif data[position] == 0x21:
            position += 2
        else:
            raise ImageError(f"damaged GIF: a broken block at byte {position}")
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
    if position > len(data):
        raise ImageError("damaged GIF: cut short")


def _palette_bytes(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Each segment as (marker, start, end); a scan's includes the compressed data after it."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xD9:
            return
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
        if marker == 0xDA:
            after = _SCAN_END.search(data, end)
            end = after.start() if after else len(data)
        yield marker, position, end
        position = end


def _read_tables(block: bytes, flat_dc: dict[int, bool], flat_ac: dict[int, bool]) -> None:
    """Note for each Huffman table whether its all-zero code says "nothing more here"."""
    position = 0
    while position + 17 < len(block):
        kind, number = block[position] >> 4, block[position] & 15
        symbol = block[position + 17]
        if kind == 0:
            flat_dc[number] = symbol == 0
        else:  # symbols 0x00, 0x10 … 0xE0 end a block or a run of blocks
            flat_ac[number] = symbol & 15 == 0 and symbol != 0xF0
        position += 17 + sum(block[position + 1 : position + 17])


def _zeros_are_flat(header: bytes, flat_dc: dict[int, bool], flat_ac: dict[int, bool]) -> bool:
    """Whether a scan with this header may go on in zeros for long, for a flat area."""
    count = header[0] if header else 0
    if len(header) < 1 + 2 * count + 3:
        return False
    first, last, approximation = header[1 + 2 * count : 4 + 2 * count]
    if approximation >> 4:  # a refinement: bare bits, and zeros are as good as any
        return True
    tables = [header[2 + 2 * i] for i in range(count)]
    dc = first > 0 or all(flat_dc.get(t >> 4, False) for t in tables)
    ac = last == 0 or all(flat_ac.get(t & 15, False) for t in tables)
    return dc and ac


def _guess(data: bytes) -> str:
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (HTML)"
    if start.startswith((b"<?xml", b"<svg")):
        return "XML or SVG"
    if start.startswith(b"%pdf"):
        return "a PDF"
    if start.startswith(b"pk\x03\x04"):
        return "a ZIP archive"
    if not data.strip(b"\0"):
        return "nothing but zeros"
    if all(32 <= b < 127 or b in b"\t\r\n" for b in data[:64]):
        return "text"
    return "unknown bytes"
