"""Which pictures were in the folder before the station was ready: those never move the gate.

Owns that question. Reads files, but only a few bytes of each and only where it must; records
nothing and knows no clock.

Stamps cannot answer it. A `chmod`, a backup's hard link, a rename, a `touch`, a clock that was set,
a folder that was mounted again: all of them give an old picture a new ctime, mtime, inode or name.
Its bytes stay. So the question is asked of the bytes, when a picture has been read and is about to
be handed over: are these the bytes of an old one?

Old pictures that were read already are in the journal, which knows their bytes (`same`, `twin`).
Only those not read yet must be known here. Hashing 20,000 of them before READY would hold up the
start for minutes on a small box, so a name, a size, an inode and an mtime are kept of each, and
they are hashed as they are recorded. Meanwhile bytes of another *length* are surely other bytes,
which settles it for nearly every new JPEG or PNG without a look at any file. Where an unread old
picture has the same length (cameras that write BMP), a new file is told from it by one page read
from the middle of both, once a file, and by all bytes where that page agrees. Where an old picture
of that length is gone or changed before anyone read it, nobody can say what it held: a file of its
name, its inode or its mtime is then taken for it. That errs on the side that moves nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sorter.domain import Identity
from sorter.station.intake.reading import read_all

PAGE_BYTES = 4096
"""Read from the middle of a file to tell it from another of its length."""

PATIENCE_S = 1.0
"""For telling one picture from thousands of its length. What is still in doubt then stays put."""


@dataclass(slots=True)
class _Unread:
    inode: int
    mtime_ns: int
    page: bytes | None = None
    """Digest of its middle page, once it was read."""


class Backlog:
    """The old pictures of `folder` that nobody has read yet."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._unread: dict[int, dict[str, _Unread]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._unread.values()))

    def add(self, name: str, identity: Identity) -> None:
        """Take in a file that is there before the station is ready."""
        same_length = self._unread.setdefault(identity.size, {})
        same_length[name] = _Unread(identity.inode, identity.mtime_ns)

    def has(self, name: str, identity: Identity) -> bool:
        """True where an unread old picture of this name has this length."""
        return name in self._unread.get(identity.size, ())

    def forget(self, name: str, identity: Identity) -> None:
        """The journal knows this old file's bytes by now."""
        same_length = self._unread.get(identity.size, {})
        if same_length.pop(name, None) is not None and not same_length:
            del self._unread[identity.size]

    def claims(self, name: str, identity: Identity, data: bytes) -> bool:
        """True where `data`, just read from `name`, are or may be an old picture's bytes.

        That one then counts as read.
        """
        of_length = self._unread.get(identity.size)
        if not of_length:
            return False
        if name in of_length:
            self.forget(name, identity)
            return True
        at = _middle_at(len(data))
        page = _digest(data[at : at + PAGE_BYTES])
        until = self._clock() + PATIENCE_S
        gone: list[tuple[bool, str]] = []
        for old_name, old in of_length.items():
            if self._clock() > until or self._has(old_name, old, data, page):
                return True
            same_inode = old.inode == identity.inode
            if (same_inode or old.mtime_ns == identity.mtime_ns) and not self._is_there(
                old_name, old, identity.size
            ):
                gone.append((same_inode, old_name))
        if not gone:
            return False
        self.forget(max(gone)[1], identity)
        return True

    def _is_there(self, name: str, old: _Unread, size: int) -> bool:
        try:
            status = (self._folder / name).stat()
        except OSError:
            return False
        was = (size, old.inode, old.mtime_ns)
        return (status.st_size, status.st_ino, status.st_mtime_ns) == was

    def _has(self, name: str, old: _Unread, data: bytes, page: bytes) -> bool:
        """True where the file `name` can be read and holds `data`."""
        if old.page is not None and old.page != page:
            return False
        try:
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            status = os.fstat(handle)
            if status.st_size != len(data) or not stat.S_ISREG(status.st_mode):
                return False
            found = _digest(os.pread(handle, PAGE_BYTES, _middle_at(len(data))))
            if (status.st_ino, status.st_mtime_ns) == (old.inode, old.mtime_ns):
                old.page = found
            return found == page and read_all(handle, len(data)) == data
        except OSError:
            return False
        finally:
            os.close(handle)


def _middle_at(size: int) -> int:
    return max(0, size // 2 - PAGE_BYTES // 2)


def _digest(page: bytes) -> bytes:
    return hashlib.blake2b(page, digest_size=8).digest()
