"""Look at files: what a folder lists, what identifies a file, its bytes.

Owns one look at a time. Remembers nothing, knows no clock and no model, and never writes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sorter.domain import Identity
from sorter.files import is_housekeeping, is_picture_name, is_unfinished

MAX_BYTES = 256 * 1024 * 1024
"""More than any camera writes; a larger file is rejected without being read."""

_BLIND = re.compile(
    rb"BM | II\*\0 | MM\0\* | II\+\0 | MM\0\+"
    rb"| ....ftyp(avi[fs] | hei[cmsx] | hev[cmsx] | mi[af]1 | msf1)",
    re.DOTALL | re.VERBOSE,
)
"""How BMP, TIFF, AVIF and HEIC begin."""


def is_taken(name: str) -> bool:
    """True where a file called `name`, relative to the watched folder, may be a picture."""
    *folders, file = Path(name).parts
    return is_picture_name(file) and not is_unfinished(file) and all(map(is_entered, folders))


def is_entered(folder: str) -> bool:
    """True where a sub-folder called `folder` may hold a user's pictures."""
    return not folder.startswith(".") and not is_housekeeping(folder)


def shows_its_end(data: bytes) -> bool:
    """False for pictures whose bytes cannot tell whether the last of them were written.

    JPEG, PNG, GIF and WebP end in a mark or are checked piece by piece. A BMP, a TIFF, an AVIF or a
    HEIC of full length may still hold zeros where its writer has not been yet.
    """
    return _BLIND.match(data) is None


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
        if error.errno == errno.ELOOP:  # Links in a circle lead to no file.
            return None
        raise
    return status if stat.S_ISREG(status.st_mode) else None


def listing(
    folder: Path,
    *,
    recursive: bool = False,
    other: Callable[[os.DirEntry[str]], None] | None = None,
) -> Iterator[tuple[str, os.stat_result]]:
    """(name, state) of each file that may be a picture, in no order; names relative to `folder`.

    OSError where the folder has none to give. A file that cannot be looked at now is left out; the
    next listing tries again. `other` hears of every entry that is not taken.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if is_picture_name(name) and not is_unfinished(name):
                try:
                    status = look(folder / name)
                except OSError:
                    continue
                if status is not None:
                    yield name, status
            elif recursive and is_entered(name) and entry.is_dir(follow_symlinks=False):
                # A sub-folder that vanishes or is closed to us ends nothing.
                with contextlib.suppress(OSError):
                    for below, status in listing(folder / name, recursive=True, other=other):
                        yield os.path.join(name, below), status  # noqa: PTH118
            elif other is not None:
                other(entry)


def read_whole(path: Path, *, max_bytes: int = MAX_BYTES) -> Whole | None:
    """Read `path` twice; None where it changed meanwhile, vanished, or is not a regular file.

    Two readings, because a coarse mtime (FAT, some servers) hides a change within its grain.
    Raises OSError where it cannot be read, OverflowError where it is longer than `max_bytes`.
    """
    # O_NONBLOCK: a FIFO put in the file's place must not hang the station.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            return None
        if before.st_size > max_bytes:
            raise OverflowError(f"{before.st_size} bytes, more than {max_bytes}")
        data = read_all(handle, before.st_size)
        if len(data) != before.st_size or not _same_again(handle, data):
            return None
        after = os.fstat(handle)
    finally:
        os.close(handle)
    identity = Identity.of(before)
    if Identity.of(after) != identity:
        return None
    there = look(path)
    if there is None or Identity.of(there) != identity:
        return None
    return Whole(data, hashlib.sha256(data).hexdigest(), identity)


def read_all(handle: int, size: int) -> bytes:
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
