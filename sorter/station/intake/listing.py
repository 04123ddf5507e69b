"""What a folder holds now: every name that may be a picture, with its state.

Owns one look at the directory. Remembers nothing and reads no file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sorter.station.intake.reading import is_picture_name, look


def listing(folder: Path, suffixes: frozenset[str]) -> Iterator[tuple[str, os.stat_result]]:
    """(name, state) of each regular file, in no order. OSError where the folder has none to give.

    A file that cannot be looked at now is left out; the next listing tries again.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_picture_name(entry.name, suffixes):
                continue
            try:
                status = look(folder / entry.name)
            except OSError:
                continue
            if status is not None:
                yield entry.name, status
