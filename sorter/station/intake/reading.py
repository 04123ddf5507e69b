"""Look at files: what a folder lists, what identifies a file, its bytes.

Owns one look at a time. Remembers nothing, knows no clock and no model, and never writes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sorter.domain import Identity
from sorter.files import is_picture_name

MAX_BYTES = 256 * 1024 * 1024
"""More than any camera writes; a larger file is rejected without being read."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A file's bytes, their SHA-256 (hex), and the identity that held before and after."""

    data: bytes
    sha256: str
    identity: Identity


def look(path: Path) -> os.stat_result | None:
    """Stat a regular file, through links; None for anything else or nothing. Raises OSError."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # Links in a circle are no file.
            return None
        raise
    return status if stat.S_ISREG(status.st_mode) else None


def listing(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """(name, state) of each regular file, in no order. OSError where the folder has none to give.

    A file that cannot be looked at now is left out; the next listing tries again.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_picture_name(entry.name):
                continue
            try:
                status = look(folder / entry.name)
            except OSError:
                continue
            if status is not None:
                yield entry.name, status


def read_whole(path: Path, *, max_bytes: int = MAX_BYTES) -> Whole | None:
    """Read `path` twice; None where it changed meanwhile, vanished, or is no regular file.

    Two readings, because a coarse mtime (FAT, some servers) hides a change within its grain.
    Raises OSError where it cannot be read, OverflowError where it is longer than `max_bytes`.
    """
    # O_NONBLOCK: a FIFO put in the file's place must not hang the station.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(handle, "rb", buffering=0) as file:  # noqa: PTH123
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            return None
        if before.st_size > max_bytes:
            raise OverflowError(f"{before.st_size} bytes, more than {max_bytes}")
        data = _read(file.fileno(), before.st_size)
        if len(data) != before.st_size or not _same_again(handle, data):
            return None
        after = os.fstat(handle)
    identity = Identity.of(before)
    if Identity.of(after) != identity:
        return None
    there = look(path)
    if there is None or Identity.of(there) != identity:
        return None
    return Whole(data, hashlib.sha256(data).hexdigest(), identity)


def _read(handle: int, size: int) -> bytes:
    """Read `size` bytes and try for one more, so that growth shows as a longer result."""
    pieces, left = [], size + 1
    while left > 0:
        piece = os.read(handle, min(left, 8 * 1024 * 1024))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _same_again(handle: int, data: bytes) -> bool:
    os.lseek(handle, 0, os.SEEK_SET)
    view, at = memoryview(data), 0
    while at < len(data):
        piece = os.read(handle, min(len(data) - at, 1024 * 1024))
        if not piece or piece != view[at : at + len(piece)]:
            return False
        at += len(piece)
    return True
