"""Where a report may be written: a file's name, not a folder, a device or a pipe.

Reports are replaced whole. Root, asked for a device, would put a file in its place.
"""

from __future__ import annotations

import os
from pathlib import Path

from sorter.errors import FolderError


def place_for(path: Path) -> Path:
    """The file that a report named `path` replaces, links followed. Raises FolderError."""
    try:
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        if not place.name or place.is_dir():
            raise FolderError(f"{path}: is a folder; name a file to write")
        if path.exists() and not path.is_file():
            raise FolderError(
                f"{path}: is a device or a pipe; name a file, or take what is printed"
            )
    except OSError as error:
        raise FolderError(f"{path}: cannot be written: {error.strerror}; name another") from error
    return place
