"""Is this file one whole picture? What its bytes alone can tell, before any decoder is asked.

Decoders fill in what is missing and say nothing; these checks say no. And they know what looks
like damage and is not: the oddities of cameras and encoders whose pictures are whole. Knows file
formats, not pixels; raises ImageError only.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from sorter.errors import ImageError
from sorter.vision.containers import (
    av1_size,
    iso_items,
    jpeg_frame,
    jpeg_segments,
    png_chunks,
    riff_chunks,
    tiff_bytes,
    tiff_directory,
)

HOLE = bytes(512)
"""A run of zeros that encoders hardly write into compressed picture data; a disk or a copy does."""

ITEM_HOLE = bytes(64)
"""The same in HEVC, which escapes three zeros, and in AV1, where flat pictures have 16 at most."""

SPARE_BYTES = 16
"""A whole part of a WebP does not decode without its last bytes; half of these are never read."""

STRAY_BYTES = 8
"""So many bytes too many before a restart marker are a camera's slip; more are damage."""

MOST_INTERVALS = 4096

_PLAIN_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_STRAYS = re.compile(r"extraneous bytes before marker 0xd[0-7]")
STRAYS_AT_END = re.compile(r" [1-8] extraneous bytes before marker 0xd9")
"""A decoder says it after it read all: so nothing else was wrong."""


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
    for marker, start, end in jpeg_segments(data):
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


def mended_jpeg(data: bytes, complaint: str) -> bytes:
    """`data` without the oddity in its headers that a strict decoder's `complaint` is about.

    Decoders ignore them: a JFIF version of the future, a transform that Adobe never defined, a
    baseline scan that claims none of its coefficients (Samsung). The same bytes where it is about
    something else.
    """
    out = bytearray(data)
    for marker, start, end in jpeg_segments(data):
        body = data[start + 4 : end]
        if marker == 0xE0 and "JFIF revision" in complaint and body[:5] == b"JFIF\0":
            out[start + 9 : start + 11] = b"\1\2"
        elif marker == 0xEE and "Adobe color transform" in complaint and body[:5] == b"Adobe":
            frame = jpeg_frame(data)
            out[start + 15] = 2 if frame and len(frame.samplings) == 4 else 1
        elif marker == 0xDA and "SOS parameters for sequential" in complaint and body:
            place = start + 5 + 2 * body[0]
            out[place : place + 3] = b"\0\x3f\0"
    return bytes(out) if len(out) == len(data) else data


def restart_intervals(data: bytes, complaint: str) -> Iterator[tuple[bytes, bytes]]:
    """Each restart interval of a baseline JPEG as a small JPEG, and the same too short.

    Cameras (Logitech's among them) leave a few bytes too many before restart markers. Such a
    picture is whole if each interval decodes strictly, and none does without its last bytes but
    for STRAY_BYTES: then little was left over. Gives nothing where the complaint is about
    something else, or where the picture is not cut that way.
    """
    frame = jpeg_frame(data)
    scans = [(s, e) for marker, s, e in jpeg_segments(data) if marker == 0xDA]
    length = next(
        (
            int.from_bytes(data[s + 4 : s + 6], "big")
            for marker, s, _ in jpeg_segments(data, scans=False)
            if marker == 0xDD
        ),
        0,
    )
    if not (_STRAYS.search(complaint) and frame and frame.marker in (0xC0, 0xC1)):
        return
    if len(scans) != 1 or not length or data[scans[0][1] : scans[0][1] + 2] != b"\xff\xd9":
        return
    across, down = frame.unit if len(frame.samplings) > 1 else (8, 8)
    units = -(-frame.width // across) * -(-frame.height // down)
    start, end = scans[0]
    begin = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    marks = [m.start() for m in re.finditer(rb"\xff[\xd0-\xd7]", data[begin:end])]
    if len(marks) != -(-units // length) - 1 or len(marks) >= MOST_INTERVALS:
        return
    head = bytearray(data[:begin])
    for number, (first, last) in enumerate(
        zip([0, *(m + 2 for m in marks)], [*marks, end - begin], strict=True)
    ):
        width = across * min(length, units - number * length)
        struct.pack_into(">HH", head, frame.start + 5, down, width)
        body = data[begin + first : begin + last]
        yield bytes(head) + body + b"\xff\xd9", bytes(head) + body[:-STRAY_BYTES] + b"\xff\xd9"


def jpeg_coefficient_bytes(data: bytes) -> int:
    """What a decoder keeps of a JPEG that comes in several scans: every coefficient; or 0."""
    frame = jpeg_frame(data)
    if frame is None:
        return 0
    first_scan = next((s for marker, s, _ in jpeg_segments(data) if marker == 0xDA), None)
    whole = frame.marker in (0xC0, 0xC1) and (
        first_scan is not None
        and data[first_scan + 4 : first_scan + 5] == bytes([len(frame.samplings)])
    )
    if whole:
        return 0
    across, down = frame.unit
    units = -(-frame.width // across) * -(-frame.height // down)
    return units * sum(h * v for h, v in frame.samplings) * 64 * 2


def plain_png(data: bytes) -> bytes:
    """`data` without what is not picture: texts, profiles, other frames. Its own bytes if plain.

    Texts and profiles may be of any length, which decoders refuse. Raises ImageError for a PNG
    that is cut short or has a wrong checksum.
    """
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise ImageError("damaged PNG: no header")
    view, kept, end = memoryview(data), [], 8
    for kind, start, end in png_chunks(data):
        checksum = int.from_bytes(view[end - 4 : end], "big")
        if zlib.crc32(view[start + 4 : end - 4]) != checksum:
            raise ImageError(f"damaged PNG: wrong checksum at byte {start}")
        if kind in _PLAIN_CHUNKS:
            kept.append(view[start:end])
        if kind == b"IEND":
            plain = 8 + sum(map(len, kept)) == len(data)
            return data if plain else b"".join([view[:8], *kept])
    raise ImageError("damaged PNG: cut short")


def check_other(data: bytes, kind: str) -> None:
    """Refuse a WebP, GIF, BMP, TIFF, HEIF or AVIF that is cut short or has a hole.

    They have lengths, and their compressed data no long run of zeros. Raw pixels (BMP, some TIFF)
    may be zeros anywhere, so one that its writer has not finished can look whole.
    """
    if kind == "webp":
        _check_webp(data)
    elif kind == "bmp":
        _check_bmp(data)
    elif kind == "gif":
        _check_gif(data)
    elif kind == "tiff":
        _check_tiff(data)
    elif kind in ("heif", "avif"):
        _check_items(data, kind.upper())


def buffered_pixels(data: bytes, kind: str, pixels: int) -> int:
    """How many pixels a decoder may hold for a picture of so many.

    A TIFF's tiles may be larger than it, and an AVIF's coded picture.
    """
    if kind == "avif":
        width, height = av1_size(data)
        return max(pixels, width * height)
    if kind != "tiff":
        return pixels
    tags = tiff_directory(data)
    across, down = (tags.get(tag) or (0,) for tag in (322, 323))
    planes = (tags.get(277) or (1,))[0] * max(tags.get(258) or (8,)) // 8
    return max(pixels, across[0] * down[0]) * max(1, planes // 4)


def is_deep(data: bytes) -> bool:
    """Whether an AVIF or a HEIF may have more than eight bits a sample, by its codec's box."""
    for name, at, bits in ((b"hvcC", 17, 0x07), (b"av1C", 2, 0x40)):
        for found in re.finditer(name, data):
            place = found.end() + at
            if data[place : place + 1] and data[place] & bits:
                return True
    return False


def webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels, the largest that a header of a WebP names.

    Pillow takes the memory for all of them when it opens one, before it tells their size.
    """
    width = height = 0
    for name, start, _ in riff_chunks(data, 12, len(data)):
        head = data[start + 8 : start + 18]
        if len(head) < 10:
            continue
        if name == b"VP8X":
            size = 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:], "little")
        elif name == b"VP8L":
            bits = int.from_bytes(head[1:5], "little")
            size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif name == b"VP8 ":
            bits = int.from_bytes(head[6:], "little")
            size = bits & 0x3FFF, bits >> 16 & 0x3FFF
        else:
            continue
        width, height = max(width, size[0]), max(height, size[1])
    return width, height


def shortened_webp(data: bytes) -> Iterator[bytes]:
    """For each part of a still WebP with a long run of zeros, the file without that part's end.

    Large flat areas are such runs too. Where zeros took the place of data, the decoder is done too
    early, needs no end, and decodes what is given here; what is whole it refuses.
    """
    declared = int.from_bytes(data[4:8], "little") + 8
    for name, start, end in riff_chunks(data, 12, declared):
        if name == b"VP8L" and data.find(HOLE, start, end) >= 0:
            yield _without(data, start + 4, [], end)
        elif name == b"VP8 ":
            for size_at, first, last in _vp8_parts(data, start + 8, end):
                if data.find(HOLE, first, last) >= 0:
                    yield _without(data, start + 4, size_at, last)


def _vp8_parts(data: bytes, start: int, end: int) -> Iterator[tuple[list[int], int, int]]:
    """A lossy frame's partitions (RFC 6386, 9.5): where their sizes stand, start, end.

    Only the first and the last: a partition between them cannot be told by its own end alone.
    """
    size = int.from_bytes(data[start : start + 3], "little") >> 5
    first = start + 10
    if first + size > end:
        raise ImageError("damaged WEBP: cut short")
    yield [start], first, first + size
    yield [], first + size, end


def _without(data: bytes, chunk_size_at: int, frame_tag: list[int], end: int) -> bytes:
    """`data` without the SPARE_BYTES before `end`, its lengths put right."""
    out = bytearray(data)
    for at in frame_tag:
        tag = int.from_bytes(out[at : at + 3], "little")
        out[at : at + 3] = (tag - (SPARE_BYTES << 5)).to_bytes(3, "little")
    for at in (4, chunk_size_at):
        (length,) = struct.unpack_from("<I", out, at)
        struct.pack_into("<I", out, at, max(0, length - SPARE_BYTES))
    del out[end - SPARE_BYTES : end]
    return bytes(out)


def _check_webp(data: bytes) -> None:
    declared = int.from_bytes(data[4:8], "little") + 8
    if declared > len(data):
        raise ImageError(f"damaged WEBP: {len(data)} of {declared} bytes")
    for name, start, end in riff_chunks(data, 12, declared):
        if end > declared:
            raise ImageError("damaged WEBP: cut short")
        if name == b"ANMF" and data.find(HOLE, start, end) >= 0:
            raise ImageError("damaged WEBP: a hole of zeros")


def _check_bmp(data: bytes) -> None:
    """By the pixels that must be there: the file's own length field is often wrong."""
    if len(data) < 30:
        raise ImageError(f"cut short: {len(data)} bytes")
    offset, header = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    elif len(data) < 34:
        raise ImageError(f"cut short: {len(data)} bytes")
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    needed = offset + (abs(width) * bits + 31) // 32 * 4 * abs(height)
    if compression in (0, 3, 6) and needed > len(data):
        raise ImageError(f"cut short: {len(data)} of {needed} bytes")


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


def _check_tiff(data: bytes) -> None:
    """No strip or tile past the end, and no hole in compressed ones."""
    tags = tiff_directory(data)
    starts = tags.get(273) or tags.get(324) or ()
    lengths = tags.get(279) or tags.get(325) or ()
    compression = (tags.get(259) or (1,))[0]
    tables = tiff_bytes(data, 347)
    for start, length in zip(starts, lengths, strict=False):
        if start + length > len(data):
            raise ImageError(f"damaged TIFF: cut short at {len(data)} of {start + length} bytes")
        if data.find(HOLE, start, start + length) < 0:
            continue
        if compression == 7:
            check_jpeg(tables[:-2] + data[start + 2 if tables else start : start + length])
        elif compression in (8, 32946):
            _check_deflated(data[start : start + length])
        elif compression in (2, 3, 4, 5, 32773):  # CCITT, LZW and PackBits never write so many
            raise ImageError("damaged TIFF: a hole of zeros")


def _check_deflated(strip: bytes) -> None:
    """Zeros may be stored as they are; the checksum at the end tells."""
    stream, rest = zlib.decompressobj(), strip
    try:
        while not stream.eof:
            stream.decompress(rest, 1 << 20)
            rest = stream.unconsumed_tail
            if not rest and not stream.eof:
                raise ImageError("damaged TIFF: a hole of zeros")
    except zlib.error as error:
        raise ImageError("damaged TIFF: a hole of zeros") from error


def _check_items(data: bytes, name: str) -> None:
    items = iso_items(data)
    for kind, (start, end) in items:
        if end > len(data):
            raise ImageError(f"damaged {name}: cut short at {len(data)} of {end} bytes")
        if kind in (b"av01", b"hvc1", b"hev1") and data.find(ITEM_HOLE, start, end) >= 0:
            raise ImageError(f"damaged {name}: a hole of zeros")
    if not items and data.endswith(HOLE):
        raise ImageError(f"damaged {name}: ends in zeros")


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
