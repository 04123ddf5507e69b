"""Where a report may be written: a file's name, not a folder, a device or a pipe.

Reports are replaced whole. Root, asked for a device, would put a file in its place.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from sorter.errors import FolderError


def place_for(path: Path, *, option: str = "") -> Path:
    """The file that a report named `path` replaces, links followed. Raises FolderError.

    `option` is what the user named it by, "" where the caller says so itself.
    """
    by = f" with {option}" if option else ""
    try:
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        if not place.name or place.is_dir():
            raise FolderError(f"{path}: is a folder; name a file to write{by}")
        if path.exists() and not path.is_file():
            raise FolderError(
                f"{path}: is a device or a pipe; name a file{by}, or take what is printed"
            )
    except OSError as error:
        raise FolderError(f"{path}: cannot be written: {error.strerror}; name another") from error
    return place


@contextlib.contextmanager
def whole_file(path: Path, *, option: str, errors: str = "strict") -> Iterator[TextIO]:
    """A UTF-8 text file to write that takes the place of `path` at the end, synced, or not at all.

    `option` is what the user named it by. Raises FolderError where the disk refuses.
    """
    place = place_for(path, option=option)
    part = place.with_name(place.name + ".part")
    try:
        with part.open("w", encoding="utf-8", errors=errors, newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(place)
    except OSError as error:
        raise FolderError(
            f"{path}: cannot be written: {error.strerror}; name another {option}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
