"""The witness of physical events: one JSON line each, on disk before anything else happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from sorter.errors import FolderError


class EventLog:
    """One JSON line an event, flushed at once; `move` is written when the movement starts."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = None
        if path is not None:
            try:
                self._file = path.open("a", encoding="utf-8")
            except OSError as error:
                raise FolderError(f"log {path}: {error.strerror}; choose another --log") from error

    def __call__(self, event: str, n: int | None, bin_number: int | None) -> None:
        if self._file:
            at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            print(
                json.dumps({"t": at, "event": event, "n": n, "bin": bin_number}),
                file=self._file,
                flush=True,
            )

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
