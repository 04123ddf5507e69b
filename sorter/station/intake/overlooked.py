"""What lies in the watched folder and is not taken, named once each, so that the operator does not
wait in vain.

Owns those words. Takes nothing and changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from sorter.files import is_not_taken, is_picture_name, suffix_of
from sorter.station.intake.reading import is_entered
from sorter.text import escape

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Between two looks into sub-folders."""

LOOK_AT = 200
"""Entries of a sub-folder that are looked at before it counts as one without pictures."""


def holds_pictures(folder: Path) -> bool:
    """True where a picture lies directly in `folder`; False where it cannot be listed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for _, entry in zip(range(LOOK_AT), entries, strict=False):
            if is_picture_name(entry.name):
                return True
    return False


class Overlooked:
    """Hears of each entry that a listing passed over, and warns of pictures among them."""

    def __init__(self, *, recursive: bool) -> None:
        self._recursive = recursive
        self._said: set[str] = set()
        self._looks_inside = False
        self._next_look = 0.0

    def begin(self, now: float) -> None:
        """A listing begins at `now`, seconds of a monotonic clock."""
        self._looks_inside = not self._recursive and now >= self._next_look
        if self._looks_inside:
            self._next_look = now + EVERY_S

    def __call__(self, entry: os.DirEntry[str]) -> None:
        """Look at one entry; never raises."""
        suffix = suffix_of(entry.name)
        if is_not_taken(entry.name) and suffix not in self._said:
            self._said.add(suffix)
            log.warning(
                "%s: sorter opens no %s pictures; none of them gets a record",
                escape(entry.name),
                suffix,
            )
        if not self._looks_inside or entry.name in self._said or not is_entered(entry.name):
            return
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False) and holds_pictures(Path(entry.path)):
                self._said.add(entry.name)
                log.warning(
                    "%s: holds pictures and is not watched; --recursive watches sub-folders",
                    escape(entry.path),
                )
