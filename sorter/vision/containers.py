"""The parts that picture files are made of: segments, chunks, directories, boxes.

Walks them and says where they lie, and which way up the picture is by what EXIF or XMP note there;
judges nothing (`integrity`) and decodes nothing. What does not hold together ends a walk early or
gives an empty answer, never an error: what a camera wrote about a picture may be wrong while the
picture is whole.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

Place = tuple[int, int]
"""Where something lies in a file: its first byte, and the one after its last."""

_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""TIFF's types of whole numbers: BYTE, SHORT, LONG, IFD and BigTIFF's two."""

_MOST_NUMBERS = 1 << 20

ORIENTATION_TAG = 0x0112

MAX_TEXT_BYTES = 1 << 20
"""A compressed text is read so far: EXIF and XMP are shorter, and a bomb is longer."""

_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])\b")
_RAW_PROFILE = re.compile(rb"Raw profile type (?:exif|APP1)$")


def jpeg_segments(data: bytes, *, scans: bool = True) -> Iterator[tuple[int, int, int]]:
    """Each segment as (marker, start, end); a scan's includes the compressed data after it.

    Without `scans` only those before the first: finding where a scan ends takes time.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xD9 or (marker == 0xDA and not scans):
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


@dataclass(frozen=True, slots=True)
class Frame:
    """A JPEG's frame header: where it lies, its `marker`, sides, and (across, down) samplings."""

    marker: int
    start: int
    height: int
    width: int
    samplings: tuple[tuple[int, int], ...]

    @property
    def unit(self) -> tuple[int, int]:
        """Width and height in pixels of what an interleaved scan codes at once."""
        return 8 * max(h for h, _ in self.samplings), 8 * max(v for _, v in self.samplings)


def jpeg_frame(data: bytes) -> Frame | None:
    """The frame header, or None where there is none that makes sense."""
    for marker, start, end in jpeg_segments(data, scans=False):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            head = data[start + 4 : end]
            if len(head) < 6 or len(head) < 6 + 3 * head[5]:
                return None
            samplings = tuple((head[7 + 3 * i] >> 4, head[7 + 3 * i] & 15) for i in range(head[5]))
            if not samplings or any(not h or not v for h, v in samplings):
                return None
            height, width = struct.unpack_from(">HH", head, 1)
            return Frame(marker, start, height, width, samplings)
    return None


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk that is there in full as (kind, start, end), its length and checksum included."""
    position = 8
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            return
        yield data[position + 4 : position + 8], position, end
        position = end


def riff_chunks(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk that begins between `start` and `end` as (name, start, end of its data)."""
    while start + 8 <= end:
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        yield data[start : start + 4], start, start + 8 + length
        start += 8 + length + (length & 1)


def tiff_directory(data: bytes) -> dict[int, tuple[int, ...]]:
    """The whole numbers of a TIFF's or an EXIF block's first directory, by tag."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]), "")
    if not order:
        return {}
    tags: dict[int, tuple[int, ...]] = {}
    try:
        (version,) = struct.unpack_from(order + "H", data, 2)
        big = version == 43
        (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
        place += 8 if big else 2
        for _ in range(min(count, 4096)):
            tag, kind, size = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, place)
            letter, room = _WHOLE_NUMBERS.get(kind, ""), 8 if big else 4
            if letter and size <= _MOST_NUMBERS:
                at = place + (12 if big else 8)
                if size * struct.calcsize(letter) > room:
                    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
                try:
                    tags[tag] = struct.unpack_from(f"{order}{size}{letter}", data, at)
                except (struct.error, OverflowError):  # this tag's numbers are not there
                    tags[tag] = ()
            place += 20 if big else 12
    except (struct.error, OverflowError):  # the directory runs past the end
        pass
    return tags


def tiff_bytes(data: bytes, tag: int) -> bytes:
    """What a tag of numbers of one byte holds, such as JPEG tables of type UNDEFINED."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] not in (b"*\0", b"\0*"):
        return b""
    try:
        (place,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, place)
        for i in range(count):
            name, kind, size, at = struct.unpack_from(order + "HHII", data, place + 2 + 12 * i)
            if name == tag and kind in (1, 7):
                return bytes(data[at : at + size])
    except struct.error:
        pass
    return b""


def iso_items(data: bytes) -> list[tuple[bytes, Place]]:
    """A HEIF's or AVIF's items: the type of each, and where a part of it lies in the file."""
    meta = _box(data, 0, len(data), b"meta")
    if meta is None:
        return []
    start, end = meta[0] + 4, meta[1]
    names, places = _box(data, start, end, b"iinf"), _box(data, start, end, b"iloc")
    if names is None or places is None:
        return []
    try:
        types = _item_types(data, *names)
        return [(types.get(item, b""), place) for item, place in _item_places(data, *places)]
    except struct.error:
        return []


def av1_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels, the largest of an AVIF's frames, whatever its boxes say.

    From the sequence header of each coded picture (AV1 specification, 5.5), which is what a decoder
    takes memory for. (0, 0) where none can be found.
    """
    starts = [place[0] for kind, place in iso_items(data) if kind == b"av01"]
    starts += _track_starts(data, 0, len(data))
    width = height = 0
    for start in starts:
        for kind, content in _obus(data, start):
            if kind == 1:
                size = _sequence_size(content)
                width, height = max(width, size[0]), max(height, size[1])
    return width, height


def _track_starts(data: bytes, start: int, end: int) -> Iterator[int]:
    """Where the first sample of each track of an image sequence lies."""
    for kind, at, stop in _boxes(data, start, end):
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            yield from _track_starts(data, at, stop)
        elif kind in (b"stco", b"co64"):
            yield int.from_bytes(data[at + 8 : at + (12 if kind == b"stco" else 16)], "big")


def _obus(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """The first units of an AV1 stream, up to its first frame: the type and content of each."""
    while at < len(data):
        head = data[at]
        at += 2 if head & 4 else 1  # an extension
        length = shift = 0
        while head & 2 and at < len(data) and shift < 56:
            length |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                break
        kind = head >> 3 & 15
        if kind in (3, 6) or not head & 2:
            return
        yield kind, data[at : at + length]
        at += length


class _Bits:
    """Reads numbers of a few bits each; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        bits = self._value >> self._left if self._left >= 0 else 0
        return bits & ((1 << count) - 1)


def _sequence_size(header: bytes) -> tuple[int, int]:
    bits = _Bits(header[:512])
    bits.take(4)
    if bits.take(1):  # a reduced header, of a still picture
        bits.take(5)
    else:
        _skip_operating_points(bits)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(across) + 1, bits.take(down) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            zeros = 0
            while zeros < 32 and not bits.take(1):
                zeros += 1
            bits.take(zeros)
        if bits.take(1):  # the decoder's model
            delay_bits = bits.take(5) + 1
            bits.take(32 + 5 + 5)
    has_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_delay and bits.take(1):
            bits.take(4)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each box between as (type, start of its content, end)."""
    while start + 8 <= end:
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        content = start + 8
        if length == 1:
            length = int.from_bytes(data[content : content + 8], "big")
            content += 8
        stop = start + length if length else end
        if stop <= start or stop < content:
            return
        yield kind, content, min(stop, end)
        start = stop


def _box(data: bytes, start: int, end: int, kind: bytes) -> Place | None:
    return next(((a, b) for name, a, b in _boxes(data, start, end) if name == kind), None)


def _item_types(data: bytes, start: int, end: int) -> dict[int, bytes]:
    first = start + (6 if data[start] == 0 else 8)
    types = {}
    for kind, at, _ in _boxes(data, first, end):
        if kind == b"infe" and data[at] in (2, 3):
            item, _, name = struct.unpack_from(">HH4s" if data[at] == 2 else ">IH4s", data, at + 4)
            types[item] = name
    return types


def _item_places(data: bytes, start: int, end: int) -> Iterator[tuple[int, Place]]:
    version, sizes = data[start], int.from_bytes(data[start + 4 : start + 6], "big")
    offset_size, length_size, base_size, index_size = ((sizes >> s) & 15 for s in (12, 8, 4, 0))
    at = start + 6

    def number(size: int) -> int:
        nonlocal at
        if at + size > end:
            raise struct.error
        at += size
        return int.from_bytes(data[at - size : at], "big")

    for _ in range(number(2 if version < 2 else 4)):
        item = number(2 if version < 2 else 4)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size)
        for _ in range(number(2)):
            if version:
                number(index_size)
            first, length = base + number(offset_size), number(length_size)
            if method == 0:
                yield item, (first, first + length if length else len(data))


# Which way up a picture is.


def jpeg_orientation(data: bytes) -> int:
    """The orientation, 1 to 8, in a JPEG's APP1 segment; 1 where there is none."""
    for marker, start, end in jpeg_segments(data, scans=False):
        if marker == 0xE1 and data[start + 4 : start + 10] == b"Exif\0\0":
            return tiff_orientation(data[start + 10 : end])
    return 1


def png_orientation(data: bytes) -> int:
    """The orientation, 1 to 8, in a PNG: EXIF's, whole or as ImageMagick's text, or XMP's."""
    xmp = 1
    for kind, start, end in png_chunks(data):
        body = data[start + 8 : end - 4]
        if kind == b"eXIf":
            return tiff_orientation(body)
        if kind in (b"zTXt", b"tEXt", b"iTXt"):
            keyword, _, rest = body.partition(b"\0")
            if _RAW_PROFILE.match(keyword):
                return _raw_profile(_text(kind, rest))
            if keyword == b"XML:com.adobe.xmp":
                found = _XMP.search(_text(kind, rest))
                xmp = int(found[1]) if found else xmp
    return xmp


def tiff_orientation(block: bytes) -> int:
    """The orientation, 1 to 8, in a TIFF or an EXIF block, whatever type of number holds it."""
    values = tiff_directory(block).get(ORIENTATION_TAG, ())
    return values[0] if len(values) == 1 and values[0] in range(1, 9) else 1


def orientation_of(image: Image.Image) -> int:
    """The orientation, 1 to 8, in the EXIF block of a picture that Pillow opened."""
    block = image.info.get("exif")
    return tiff_orientation(block.removeprefix(b"Exif\0\0")) if isinstance(block, bytes) else 1


def _raw_profile(text: bytes) -> int:
    """EXIF as ImageMagick writes it: a name, a length, and hexadecimal digits in lines."""
    try:
        block = bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return 1
    return tiff_orientation(block.removeprefix(b"Exif\0\0"))


def _text(kind: bytes, rest: bytes) -> bytes:
    """What stands after a text chunk's keyword, decompressed as far as MAX_TEXT_BYTES."""
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed = rest[:1] == b"\1"
        rest = b"\0" + b"\0".join(rest[2:].split(b"\0", 2)[2:])
    elif kind == b"tEXt":
        return rest[:MAX_TEXT_BYTES]
    if not compressed:
        return rest[1 : MAX_TEXT_BYTES + 1]
    try:
        return zlib.decompressobj().decompress(rest[1:], MAX_TEXT_BYTES)
    except zlib.error:
        return b""
