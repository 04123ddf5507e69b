"""Outcomes as folders: each picture copied or linked to DIR/<bin>/<label>/, and the way back.

Owns what is in DIR. A picture is never moved and nothing there is ever overwritten: a name that is
taken by another picture gets a number, and one that holds the same bytes already is left, so that a
second run changes nothing. A file appears whole, under its own name, or not at all. DIR/filed.csv
names for every file where it came from; it is the way back. Copies are not synced one by one: after
a power cut, remove DIR and run again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from sorter.domain import Bin, Category, Outcome, Status
from sorter.errors import FolderError, ImageError
from sorter.files import NO_HARD_LINK, claim_name, free_names, refuse_foreign
from sorter.text import cell, csv_row, escape, named

UNSURE = "unsure"
MANIFEST = "filed.csv"
COLUMNS = ("filed", "path", "source")
"""Of the manifest: the file inside DIR; the path as every report has it; the same from the root."""

_PART = ".sorter.part"
_CHUNK = 1 << 20


def _is_manifest(head: bytes) -> bool:
    """Also one whose first line a kill cut short."""
    header = csv_row(COLUMNS).encode()
    return head.startswith(header) or header.startswith(head)


class SortedFolders:
    """Files pictures into `folder`; a context manager, one run at a time.

    Raises FolderError where the disk refuses, or another run files into the same folder.
    """

    def __init__(self, folder: Path, *, link: bool = False, lang: str = "en") -> None:
        self.folder = folder
        self._link, self._lang = link, lang
        self._listed: set[int] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            refuse_foreign(folder / MANIFEST, _is_manifest, option="--sort-into")
            # Closed by `__exit__`; unbuffered, so that a row is one write.
            self._manifest: BinaryIO = (folder / MANIFEST).open("a+b", buffering=0)
        except OSError as error:
            raise _refused(folder, error) from error
        try:
            self._lock()
            self._read_manifest()
            for left in (*folder.glob(f"*/{_PART}"), *folder.glob(f"*/*/{_PART}")):
                left.unlink()  # of a run that was killed
        except OSError as error:
            self._manifest.close()
            raise _refused(folder, error) from error
        except FolderError:
            self._manifest.close()
            raise

    def file(self, outcome: Outcome) -> Path | None:
        """Put one picture where its decision says; the filed path, None for one without.

        Raises ImageError, without the path, where the picture itself cannot be read (any more).
        """
        if outcome.decision is None:
            return None
        place = self.folder / UNSURE
        if outcome.status is not Status.UNSURE:
            decision = outcome.decision
            place = self.folder / self._name(decision.bin) / self._name(decision.label)
        with _open_picture(outcome.path) as source:
            try:
                place.mkdir(parents=True, exist_ok=True)
                filed = self._put(outcome.path, source, place)
                self._note(filed, outcome.path)
            except OSError as error:
                raise _refused(place, error) from error
        return filed

    def __enter__(self) -> SortedFolders:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self._manifest.fileno())
        self._manifest.close()

    def _name(self, thing: Bin | Category) -> str:
        """A name that is one folder's: no slash, no leading dot, never empty."""
        text = escape(named(thing, self._lang)).replace("/", "-").strip()
        return text.lstrip(".") or "-"

    def _put(self, path: Path, source: BinaryIO, place: Path) -> Path:
        part: Path | None = None
        names = free_names(place, path.name)
        target = next(names)
        try:
            while True:
                if os.path.lexists(target):
                    if _is_same(source, target):
                        return target
                    target = next(names)
                    continue
                part = part or self._bring(path, source, place / _PART)
                if claim_name(part, target):
                    return target
        finally:
            if part is not None:
                part.unlink(missing_ok=True)

    def _bring(self, path: Path, source: BinaryIO, part: Path) -> Path:
        """The picture's bytes under the name `part`, whole or not at all."""
        part.unlink(missing_ok=True)
        if self._link:
            try:
                # A link to a link would not be the picture.
                os.link(os.path.realpath(path), part)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    why = "lies on another file system, and no hard link leads across"
                elif error.errno in NO_HARD_LINK:
                    why = f"cannot be hard-linked ({error.strerror})"
                else:
                    raise
                raise FolderError(
                    f"{escape(str(path))}: {why}; leave out --link to copy instead"
                ) from error
            return part
        try:
            with part.open("xb") as out:
                source.seek(0)
                shutil.copyfileobj(source, out, _CHUNK)
            found = os.fstat(source.fileno())
            os.utime(part, ns=(found.st_atime_ns, found.st_mtime_ns))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return part

    def _note(self, filed: Path, path: Path) -> None:
        """One row of the manifest, unless it is there already."""
        inside = os.fspath(filed.relative_to(self.folder))
        where = os.path.abspath(path)  # noqa: PTH100  # resolve() would follow links
        cells = (cell(text) for text in (inside, os.fspath(path), where))
        line = csv_row(cells).encode()
        if hash(line) in self._listed:
            return
        end = os.fstat(self._manifest.fileno()).st_size
        try:
            if self._manifest.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):
                self._manifest.truncate(end)
            raise
        self._listed.add(hash(line))

    def _lock(self) -> None:
        try:
            fcntl.flock(self._manifest.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderError(
                f"{escape(str(self.folder))}: another run is filing into this folder; let it end"
            ) from error
        except OSError:
            return  # some network shares lock nothing; names are claimed one by one all the same

    def _read_manifest(self) -> None:
        """Which rows are there; the torn last one of a killed run goes."""
        self._manifest.seek(0)
        whole = size = 0
        with open(self._manifest.fileno(), "rb", closefd=False) as rows:
            for line in rows:
                size += len(line)
                if line.endswith(b"\n"):
                    whole += len(line)
                    self._listed.add(hash(line))
        if whole < size:
            self._manifest.truncate(whole)
        if not whole:
            self._manifest.write(csv_row(COLUMNS).encode())


def _open_picture(path: Path) -> BinaryIO:
    """A regular file, never waiting for a pipe that took its name. Raises ImageError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ImageError("no regular file")
    return open(handle, "rb")  # noqa: PTH123


def _is_same(source: BinaryIO, target: Path) -> bool:
    """Whether `target` is a file of the very same bytes."""
    found, wanted = target.lstat(), os.fstat(source.fileno())
    if os.path.samestat(found, wanted):
        return True
    if not stat.S_ISREG(found.st_mode) or found.st_size != wanted.st_size:
        return False
    source.seek(0)
    with target.open("rb") as other:
        while chunk := source.read(_CHUNK):
            if chunk != other.read(_CHUNK):
                return False
    return True


def _refused(folder: Path, error: OSError) -> FolderError:
    return FolderError(
        f"{escape(str(folder))}: nothing more can be filed: {error.strerror or error}; "
        "put it right or name another folder, and run again: what is filed stays"
    )
