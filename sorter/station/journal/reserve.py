"""A file that holds disk space, given up so that the last records of a full disk can be written.

Owns that one file. Knows nothing of SQLite.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

RESERVE_BYTES = 1024 * 1024
"""Room for some hundred records with their write-ahead log."""


class Reserve:
    """Space beside the journal. All methods are harmless when repeated."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def held(self) -> bool:
        """True where the space is set aside now."""
        try:
            return self._path.stat().st_size >= self._size_bytes
        except OSError:
            return False

    def take(self) -> bool:
        """Set the space aside, where the disk has twice of it free; True if it is held now."""
        if self.held:
            return True
        try:
            if shutil.disk_usage(self._path.parent).free < 2 * self._size_bytes:
                return False
            handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                # Allocated, not sparse: a hole would give nothing back.
                os.posix_fallocate(handle, 0, self._size_bytes)
            finally:
                os.close(handle)
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            return False
        return True

    def give(self) -> bool:
        """Give the space back to the disk; True if there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
