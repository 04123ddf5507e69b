"""A report file that grows one whole line at a time and can be gone on with.

Owns how rows reach the disk. The file is replaced when a run begins and every row is one write of
one line, so that a kill at any moment leaves a readable file. Going on (`resume`) copies finished
rows and new ones, in order, into `NAME.part`, which takes the file's place at the end; a kill
leaves both, and the next run reads both. Knows lines, not what is in them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from sorter.errors import FolderError
from sorter.files import place_for

ReadRow = Callable[[str], tuple[str, bool] | None]
"""A line → (path, whether it is finished), or None for a line that is no whole row."""


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What an earlier run left: the file, and where in it the finished row of a path begins.

    Two integers a row, so that a million of them fit beside a network.
    """

    file: BinaryIO
    finished: dict[int, int] = field(default_factory=dict)


class RowFile:
    """One report being written; a context manager. Raises FolderError where the disk refuses."""

    def __init__(
        self, path: Path, *, header: str | None, read_row: ReadRow, resume: bool = False
    ) -> None:
        self.path = path = place_for(path)
        self.rows = 0
        self._part = path.with_name(path.name + ".part")
        self._resuming = resume and (path.exists() or self._part.exists())
        self._earlier: list[_Earlier] = []
        self._end = 0
        try:
            if self._resuming:
                # The part is read under another name: a new one is about to be written.
                left_over = path.with_name(path.name + ".left")
                if self._part.exists():
                    self._absorb(self._part, left_over)
                for source in (path, left_over):
                    if source.exists():
                        self._index(source, read_row)
            else:
                for stale in (self._part, path.with_name(path.name + ".left")):
                    stale.unlink(missing_ok=True)
            self._file = self._begin(header)
        except OSError as error:
            self._close_earlier()
            raise FolderError(
                f"{path}: cannot be written: {error.strerror or error}; name another file"
            ) from error

    def finished(self, path: str) -> str | None:
        """The line that an earlier run finished for this path, with its line end, if any."""
        for earlier in reversed(self._earlier):
            offset = earlier.finished.get(hash(path))
            if offset is not None:
                earlier.file.seek(offset)
                return earlier.file.readline().decode("utf-8")
        return None

    def write(self, line: str) -> None:
        """Append one row. `line` must be one line and end in a newline."""
        data = line.encode("utf-8")
        try:
            written = self._file.write(data)
            if written != len(data):  # a full disk may take the half of a row
                self._file.write(data[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise FolderError(
                f"{self._now}: {error.strerror or error} after {self.rows} rows; "
                "make room and go on with --resume"
            ) from error
        self._end += len(data)
        self.rows += 1

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_earlier()
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()
        if self._resuming and kind is None:
            try:
                self._part.replace(self.path)
                self.path.with_name(self.path.name + ".left").unlink(missing_ok=True)
            except OSError as failure:
                raise FolderError(
                    f"{self.path}: cannot be replaced: {failure.strerror}; "
                    f"its rows are in {self._part.name}"
                ) from failure

    def _begin(self, header: str | None) -> BinaryIO:
        """A new file holding the header, in place; unbuffered, so that a row is one write."""
        self._now = self._part if self._resuming else self.path
        self.path.parent.mkdir(parents=True, exist_ok=True)
        first = self.path.with_name(self.path.name + ".new")
        # Closed by `__exit__`; a `with` here would close it too early.
        file = first.open("wb", buffering=0)
        try:
            if header is not None:
                file.write(header.encode("utf-8"))
            first.replace(self._now)
        except OSError:
            file.close()
            first.unlink(missing_ok=True)
            raise
        self._end = file.tell()
        return file

    @staticmethod
    def _absorb(part: Path, left_over: Path) -> None:
        """Add what a killed run left in `part` to what earlier ones left."""
        if not left_over.exists():
            part.replace(left_over)
            return
        with left_over.open("ab") as target, part.open("rb") as source:
            target.write(b"\n")
            while chunk := source.read(1 << 20):
                target.write(chunk)
        part.unlink()

    def _index(self, source: Path, read_row: ReadRow) -> None:
        """Note where each finished row of an earlier run is; the rows stay on the disk."""
        earlier = _Earlier(source.open("rb"))
        self._earlier.append(earlier)
        offset = 0
        for raw in earlier.file:
            with contextlib.suppress(UnicodeDecodeError):
                row = read_row(raw.decode("utf-8")) if raw.endswith(b"\n") else None
                if row is not None and row[1]:
                    earlier.finished[hash(row[0])] = offset
            offset += len(raw)

    def _close_earlier(self) -> None:
        for earlier in self._earlier:
            earlier.file.close()
        self._earlier.clear()
