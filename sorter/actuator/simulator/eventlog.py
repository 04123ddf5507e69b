"""The witness of physical events: one JSON line each, on disk before anything else happens."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from sorter.errors import FolderError
from sorter.files import begins, refuse_foreign, refuse_picture_name


class EventLog:
    """One JSON line per event, flushed at once; `move` is written when the movement starts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None
        if path is not None:
            refuse_picture_name(path, option="--log")
            try:
                refuse_foreign(path, begins(b'{"t": '), option="--log")
                self._file = path.open("a", encoding="utf-8")
            except OSError as error:
                raise FolderError(f"log {path}: {error.strerror}; choose another --log") from error

    def __call__(self, event: str, n: int | None, bin_number: int | None) -> None:
        if self._file:
            at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            line = json.dumps({"t": at, "event": event, "n": n, "bin": bin_number})
            try:
                print(line, file=self._file, flush=True)
            except OSError as error:
                raise FolderError(
                    f"log {self._path}: {error.strerror}; make room, or choose another --log"
                ) from error

    def close(self) -> None:
        """Close the file."""
        if self._file:
            with contextlib.suppress(OSError):  # A line that did not fit was told already.
                self._file.close()
