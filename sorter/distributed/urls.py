"""Pictures behind a URL: list them and read one, through pyarrow's file systems or fsspec's.

Owns what an address is; the rules of what looks like a picture are those of `images`. Only the
Ray engine takes addresses; pyarrow comes with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import Any

from sorter.errors import FolderError, ImageError
from sorter.files import is_housekeeping, is_picture_name
from sorter.text import first_line
from sorter.vision import images

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Source:
    """One file system, and the place in it that a user's URL means."""

    url: str
    files: Any
    root: str


class Address(PosixPath):
    """A URL where a Path is expected, shown exactly as it was given.

    One that `find` gave also knows where it lies: `place` in the file system of `source`.
    """

    _url: str
    source: Source | None
    place: str

    def __str__(self) -> str:
        return self._url

    def __fspath__(self) -> str:
        return self._url

    def __reduce__(self) -> tuple[Any, ...]:
        return address, (self._url,)


def address(url: str, source: Source | None = None, place: str = "") -> Address:
    """The address `url`."""
    made = Address(url)
    made._url, made.source, made.place = url, source, place
    return made


def is_url(text: str) -> bool:
    """True for `scheme://…`."""
    return _URL.match(text) is not None


def open_source(url: str) -> Source:
    """The file system behind `url`. Raises FolderError where nothing knows such a URL."""
    from pyarrow import ArrowInvalid, fs

    try:
        try:
            files, root = fs.FileSystem.from_uri(url)
        except ArrowInvalid:  # a scheme that pyarrow does not have itself
            from fsspec.core import url_to_fs

            inner, root = url_to_fs(url)
            files = fs.PyFileSystem(fs.FSSpecHandler(inner))
    except (ImportError, OSError, ValueError) as error:
        raise FolderError(f"{url}: cannot be opened: {first_line(error)}") from error
    return Source(url, files, root)


def find(
    paths: Iterable[Path],
    *,
    recursive: bool = True,
    leave_out: Callable[[Path], object] | None = None,
) -> Iterator[Path]:
    """As `images.find`, where some of `paths` are Addresses; theirs come after the local ones.

    Raises FolderError where there is nothing at an address, or it cannot be listed.
    """
    everything = list(paths)
    local = [path for path in everything if not isinstance(path, Address)]
    yield from images.find(local, recursive=recursive, leave_out=leave_out)
    for url in sorted({str(path) for path in everything if isinstance(path, Address)}):
        source = open_source(url)
        for name, place in _listed(source, recursive=recursive):
            yield address(name, source, place)


def read(files: Any, place: str) -> bytes:
    """One file's bytes. Raises ImageError."""
    try:
        with files.open_input_file(place) as stream:
            size = stream.size()
            if size > images.MAX_FILE_BYTES:
                raise ImageError(f"{size} bytes is too long for a picture")
            data = bytes(stream.read())
    except OSError as error:
        raise ImageError(f"cannot be opened: {first_line(error)}") from error
    if not data:
        raise ImageError("empty file")
    return data


def _listed(source: Source, *, recursive: bool) -> Iterator[tuple[str, str]]:
    """(URL, place in the file system) of each picture, in the order of the URLs."""
    from pyarrow import fs

    try:
        info = source.files.get_file_info(source.root)
        if info.type == fs.FileType.NotFound:
            raise FolderError(f"{source.url}: no such file or folder")
        if info.type == fs.FileType.File:
            yield source.url, source.root
            return
        listing = source.files.get_file_info(fs.FileSelector(source.root, recursive=recursive))
    except OSError as error:
        raise FolderError(f"{source.url}: cannot be listed: {first_line(error)}") from error
    head, mark, query = source.url.partition("?")
    root = source.root.rstrip("/")
    found = []
    for entry in listing:
        inside = entry.path.removeprefix(root).lstrip("/")
        *folders, name = inside.split("/")
        if any(part.startswith(".") or is_housekeeping(part) for part in folders):
            continue
        if entry.type == fs.FileType.File and is_picture_name(name):
            found.append((f"{head.rstrip('/')}/{inside}{mark}{query}", entry.path))
    yield from sorted(found)
