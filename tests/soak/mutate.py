"""Damage to bytes, seeded: what a broken disk, a cut line or somebody hostile makes of a file.

Owns the damage only; what is damaged, and what must hold then, belongs to `fuzz_targets`.
"""

from __future__ import annotations

import zlib
from random import Random

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 1 << 31, (1 << 31) - 1)
EDGES_LAST = (0xFFFFFFFF, 0xFFFFFFFE)

TOKENS = (
    *(b"\0", b"\n", b"\r", b"\x1b", b'"', b"'", b",", b"<", b">", b"&", b"[", b"]", b"{", b"}"),
    *(b"-1", b"NaN", b"Infinity", b"1e999", b"9" * 400, b"[" * 400, b"\xff\xfe", b"\xed\xa0\x80"),
    *(b"../../", b"/dev/zero", b"true", b"null", b'""', b"\\u0000", b"\\ud800", "é罐".encode()),
)


def mutate(data: bytes, random: Random, *, text: bool = False) -> bytes:
    """`data` with one to eight damages; more of them strike the head, where formats decide."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 2, 4, 8))):
        if not out:
            return bytes(out)
        kind = random.randrange(9 if text else 7)
        at = _place(len(out), random)
        if kind == 0:
            out[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            out[at] = random.randrange(256)
        elif kind == 2:
            _put_number(out, at, random)
        elif kind == 3:
            del out[at : at + random.choice((1, 2, 4, 16, 256, len(out)))]
        elif kind == 4:
            length = random.choice((1, 2, 8, 64, 512))
            start = random.randrange(len(out))
            out[at:at] = out[start : start + length] * random.choice((1, 1, 2, 16))
        elif kind == 5:
            length = random.choice((4, 32, 600))
            out[at : at + length] = bytes([random.choice((0, 255))]) * length
        elif kind == 6:
            out[at:at] = random.randbytes(random.choice((1, 4, 64)))
        else:
            out[at : at + random.choice((0, 1, 4))] = random.choice(TOKENS)
    return bytes(out[: 4 << 20])


def mutate_png(data: bytes, random: Random) -> bytes:
    """Damage one chunk and mend its checksum, so that the decoder itself has to refuse it."""
    chunks = []
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append((data[position + 4 : position + 8], data[position + 8 :][:length]))
        position += 12 + length
    where = random.randrange(len(chunks))
    kind, body = chunks[where]
    if kind == b"IDAT" and random.random() < 0.5:
        body = zlib.compress(mutate(zlib.decompress(body), random))
    else:
        body = mutate(body or b"\0", random)
    chunks[where] = (kind, body)
    if random.random() < 0.2:
        random.shuffle(chunks)
    out = data[:8]
    for kind, body in chunks:
        crc = zlib.crc32(kind + body)
        out += len(body).to_bytes(4, "big") + kind + body + crc.to_bytes(4, "big")
    return out


def _place(length: int, random: Random) -> int:
    return random.randrange(min(length, 64 if random.random() < 0.4 else length))


def _put_number(out: bytearray, at: int, random: Random) -> None:
    width = random.choice((1, 2, 4))
    number = random.choice((*EDGES, *EDGES_LAST)) & ((1 << 8 * width) - 1)
    out[at : at + width] = number.to_bytes(width, random.choice(("big", "little")))
