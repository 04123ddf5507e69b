"""Which pictures were in the folder before the station was ready: those never move the gate.

Owns that question. Reads files, but only a few bytes of each and only where it must; records
nothing and knows no clock.

Stamps cannot answer it. A `chmod`, a backup's hard link, a rename, a `touch`, a clock that was set,
a folder that was mounted again: all of them give an old picture a new ctime, mtime, inode or name.
Its bytes stay. So the question is asked of the bytes, when a picture has been read and is about to
be handed over: are these the bytes of an old one?

Old pictures that were read already are in the journal, which knows their bytes (`same`, `twin`).
Only those not read yet must be known here. Hashing 20,000 of them before READY would hold up the
start for minutes on a small box, so of each a name, a size, an inode and an mtime are kept, and one
page from its middle for as many as a second allows: all of them, but on the slowest disks. They are
hashed as they are recorded. Meanwhile bytes of another *length* are surely other bytes, which
settles it for nearly every new JPEG or PNG without a look at any file, and so are those of another
page. Where both agree the old file is read whole, if it still lies there; if it does not, it is
believed. Only of an old picture without its page that is gone or changed before anyone read it,
nobody can say what it held: a file of its inode or its mtime is then taken for it, once for each.
That errs on the side that moves nothing.
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

PREPARE_S = 1.0
"""For the pages of old pictures before READY."""

PATIENCE_S = 1.0
"""For telling one picture from thousands of its length. What is still in doubt then stays put."""


@dataclass(slots=True)
class _Unread:
    inode: int | None
    mtime_ns: int | None
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

    def prepare(self) -> None:
        """Read a page of each old picture, as far as a second goes."""
        until = self._clock() + PREPARE_S
        for size, of_length in self._unread.items():
            for name, old in of_length.items():
                if self._clock() > until:
                    return
                if old.page is None:
                    self._compare(name, old, size)

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
        at = _middle_at(len(data))
        page = _digest(data[at : at + PAGE_BYTES])
        if name in of_length:
            if of_length[name].page in (None, page):
                self.forget(name, identity)
                return True
            # Other bytes have its name by now; it may still lie here under another one.
            of_length[name + os.sep] = of_length.pop(name)
        until = self._clock() + PATIENCE_S
        gone: list[tuple[bool, bool, str]] = []
        for old_name, old in of_length.items():
            if old.page is not None and old.page != page:
                continue
            if self._clock() > until:
                return True
            agrees = self._compare(old_name, old, identity.size, data, page)
            if agrees:
                return True
            if agrees is None and old.page is not None:
                self.forget(old_name, identity)
                return True
            signs = old.inode == identity.inode, old.mtime_ns == identity.mtime_ns
            if agrees is None and any(signs):
                gone.append((*signs, old_name))
        if not gone:
            return False
        # One file uses up one sign: inodes are given to other files, and a tick's files share an
        # mtime, so the other sign may still be needed by the file that this old one really became.
        by_inode, by_mtime, old_name = max(gone)
        old = of_length[old_name]
        old.inode = None if by_inode else old.inode
        old.mtime_ns = None if by_mtime else old.mtime_ns
        if old.inode is None and old.mtime_ns is None:
            self.forget(old_name, identity)
        return True

    def _compare(
        self, name: str, old: _Unread, size: int, data: bytes = b"", page: bytes = b""
    ) -> bool | None:
        """Whether the file `name` holds `data`; None where the old one does not lie there any more.

        Keeps the old one's page. `page` is that of `data`: where it differs, that is enough.
        """
        try:
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(handle)
            if status.st_size != size or not stat.S_ISREG(status.st_mode):
                return None
            is_old = (status.st_ino, status.st_mtime_ns) == (old.inode, old.mtime_ns)
            if is_old and old.page is None:
                old.page = _digest(os.pread(handle, PAGE_BYTES, _middle_at(size)))
            if is_old and old.page != page:
                return False
            if read_all(handle, size) == data:
                return True
            return False if is_old else None
        except OSError:
            return None
        finally:
            os.close(handle)


def _middle_at(size: int) -> int:
    return max(0, size // 2 - PAGE_BYTES // 2)


def _digest(page: bytes) -> bytes:
    return hashlib.blake2b(page, digest_size=8).digest()
