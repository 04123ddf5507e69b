"""A report file that grows one whole line at a time and can be gone on with.

Owns how rows reach the disk. The file is replaced when a run begins and every row is one write of
one line, so that a kill at any moment leaves a readable file. Going on (`resume`) copies finished
rows and new ones, in order, into `NAME.part`, which takes the file's place at the end; a kill
leaves both, and the next run reads both. No row is ever lost by going on: those of pictures that
are not asked for this time stay. A file that is not ours is never touched, and one file is written
by one run at a time. Knows lines, not what is in them.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from sorter.errors import FolderError, UsageError
from sorter.files import STDOUT, make_durable, part_name, place_for
from sorter.text import counted, escape

ReadRow = Callable[[str], tuple[str, bool] | None]
"""A line → (path, whether it is finished), or None for a line that is not a whole row."""

NO_SUCH_BEGINNING = "it does not begin like one"


def _no_such_beginning(_: bytes) -> str:
    return NO_SUCH_BEGINNING


@dataclass(frozen=True, slots=True)
class Rows:
    """What a kind of report looks like.

    `header` is its first line, "" without one; `read` takes a row, and `read_last` one without its
    line end, which a kill may have cut short; `torn` is what a row begins with, so that a first
    one that was cut short is known. `older` are headers of earlier versions, whose rows `renew`
    brings up to date. `why_not` says of a foreign file's first line what is wrong with it.
    """

    header: str
    read: ReadRow
    read_last: ReadRow
    torn: str = ""
    older: tuple[str, ...] = ()
    renew: Callable[[str], str] = str
    why_not: Callable[[bytes], str] = _no_such_beginning

    def is_header(self, line: str) -> bool:
        """Whether `line` is the first of such a report, however its end is spelled."""
        mark = "\ufeff"  # which a spreadsheet program may put there or take away
        ours = {known.strip("\n" + mark) for known in (self.header, *self.older)}
        return bool(self.header) and line.rstrip("\r\n").removeprefix(mark) in ours

    def is_first(self, line: str) -> bool:
        """Whether a report of ours may begin with `line`."""
        if self.header:
            return self.is_header(line)
        torn = bool(self.torn) and not line.endswith("\n") and line.startswith(self.torn)
        return torn or self.read(line) is not None


class RowWriter(Protocol):
    """Where rows go, and what an earlier run left there. A context manager."""

    path: Path

    def finished(self, path: str) -> str | None: ...
    def write(self, line: str) -> None: ...
    def __enter__(self) -> RowWriter: ...
    def __exit__(self, *_: Any) -> None: ...


def open_rows(path: Path, rows: Rows, *, option: str = "", resume: bool = False) -> RowWriter:
    """A report to write: a file, or the standard output for `-`.

    Raises UsageError for a file that is not ours, FolderError where the disk refuses or another
    run writes the same file.
    """
    if path == STDOUT:
        return _PrintedRows(rows)
    return RowFile(path, rows, option=option, resume=resume)


class _PrintedRows:
    """Rows on the standard output as it is now, whatever is redirected later."""

    def __init__(self, rows: Rows) -> None:
        self.path = STDOUT
        self._out = sys.stdout
        self._out.write(rows.header)

    def finished(self, path: str) -> str | None:  # noqa: ARG002 - nothing was kept of any
        return None

    def write(self, line: str) -> None:
        self._out.write(line)
        self._out.flush()

    def __enter__(self) -> _PrintedRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.flush()


class RowFile:
    """One report being written; a context manager. Raises as `open_rows`."""

    def __init__(self, path: Path, rows: Rows, *, option: str = "", resume: bool = False) -> None:
        self.path = path = place_for(path, option=option)
        self.rows = 0
        self.left_over = 0
        self._kind = rows
        self._part = path.with_name(path.name + ".part")
        self._left = path.with_name(path.name + ".left")
        self._earlier: list[BinaryIO] = []
        # Two integers a row, so that a million of them fit beside a network: the hash of a path,
        # and the place of its row with two bits for which file holds it and whether it is finished.
        self._index: dict[int, int] = {}
        self._end = 0
        self._resuming = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two runs that begin at once look at each other's files one after the other.
            with _locked_folder(path.parent):
                self._open_earlier(resume=resume)
                self._now = self._part if self._resuming else path
                self._file = self._create(iter(()))
        except OSError as error:
            self._close_earlier()
            raise FolderError(
                f"{path}: cannot be written: {error.strerror or error}; name another file"
            ) from error
        except (FolderError, UsageError):
            self._close_earlier()
            raise

    def finished(self, path: str) -> str | None:
        """The line that an earlier run finished for this path, with its line end, if any.

        The path is asked for this time: whatever an earlier run said of it gives way to a new row.
        """
        entry = self._index.pop(hash(path), 0)
        return self._line(entry) if entry & 1 else None

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
                f"{self._now}: {error.strerror or error} after {counted(self.rows, 'row')}; "
                "make room and go on with --resume"
            ) from error
        self._end += len(data)
        self.rows += 1

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._resuming and kind is None:
                self._take_place()
        except OSError as failure:
            raise FolderError(
                f"{self.path}: cannot be replaced: {failure.strerror}; "
                f"its rows are in {self._part.name}"
            ) from failure
        finally:
            self._close_earlier()
            with contextlib.suppress(OSError):
                os.fsync(self._file.fileno())
            self._file.close()

    def _take_place(self) -> None:
        """The rows of this run and the earlier ones outside it, as one file, in order."""
        self.left_over = len(self._index)
        if self._index:
            new = self._part.open("rb")
            self._earlier.append(new)
            # Each file in its own order, which is that of paths but for what a kill left over.
            files: list[list[int]] = [[] for _ in self._earlier]
            for entry in sorted(self._index.values()):
                files[entry >> 1 & 15].append(entry)
            rest = [(self._line(entry).encode() for entry in entries) for entries in files]
            if self._kind.header:
                new.readline()
            merged = self._create(heapq.merge(iter(new.readline, b""), *rest, key=self._place_of))
            self._file.close()
            self._file = merged
        os.fsync(self._file.fileno())
        self._part.replace(self.path)
        self._left.unlink(missing_ok=True)
        make_durable(self.path.parent)

    def _place_of(self, raw: bytes) -> tuple[bool, str]:
        """Where a row stands in the order of paths; URLs come after files."""
        path, _ = self._kind.read(raw.decode()) or ("", False)
        return "://" in path, path

    def _create(self, lines: Iterator[bytes]) -> BinaryIO:
        """A new file of the header and `lines`, in place, ours alone; a row is one write later."""
        fresh = self._now.with_name(part_name(self._now.name))
        # Closed by `__exit__`; a `with` here would close it too early.
        file = fresh.open("wb", buffering=0)
        try:
            _lock(file, self.path)
            file.write(self._kind.header.encode())
            file.writelines(lines)
            fresh.replace(self._now)
        except BaseException:
            file.close()
            fresh.unlink(missing_ok=True)
            raise
        self._end = file.tell()
        return file

    def _open_earlier(self, *, resume: bool) -> None:
        """Look at what is there: refuse what is not ours, index what is to be gone on with."""
        places = [self.path, self._left, self._part]
        files = {place: self._open_ours(place) for place in places if place.exists()}
        if not resume:
            for place in (self._left, self._part):
                if files.get(place) is not None:
                    place.unlink()
            return
        for place, file in files.items():
            if file is None and place.stat().st_size:
                raise self._foreign(place, NO_SUCH_BEGINNING)
        self._resuming = bool(files)
        if self._part in files:
            self._absorb()
        for place in (self.path, self._left):
            if place.exists():
                self._read(place)

    def _open_ours(self, place: Path) -> BinaryIO | None:
        """A file of ours, locked for as long as we live; None for an empty or a foreign one.

        A foreign file of the report's own name is refused.
        """
        file = place.open("rb")
        self._earlier.append(file)
        first = file.readline(1 << 20)
        try:
            text = first.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if first and not self._kind.is_first(text):
            if place == self.path:
                raise self._foreign(place, self._kind.why_not(first))
            return None
        _lock(file, self.path)
        return file if first else None

    def _foreign(self, place: Path, why: str) -> UsageError:
        return UsageError(
            f"{escape(str(place))}: is there already and is no such report of sorter's ({why}); "
            "name another file, or move that one away"
        )

    def _absorb(self) -> None:
        """Add what a killed run left in NAME.part to what earlier ones left."""
        if not self._left.exists():
            self._part.replace(self._left)
            return
        with self._left.open("ab") as target, self._part.open("rb") as source:
            target.write(b"\n")
            while chunk := source.read(1 << 20):
                target.write(chunk)
        self._part.unlink()

    def _read(self, source: Path) -> None:
        """Note where each row of an earlier run is; the rows stay on the disk."""
        file = source.open("rb")
        self._earlier.append(file)
        which = len(self._earlier) - 1
        offset = 0
        for number, raw in enumerate(file, 1):
            row = None
            with contextlib.suppress(UnicodeDecodeError):
                text = raw.decode("utf-8")
                read = self._kind.read if raw.endswith(b"\n") else self._kind.read_last
                row = read(text)
                if row is not None:
                    self._index[hash(row[0])] = offset << 5 | which << 1 | row[1]
                elif not text.strip() or self._kind.is_header(text):
                    row = ("", False)
            # Of ours only the last line may be torn, or one in the middle of what was left over.
            if row is None and raw.endswith(b"\n") and source == self.path:
                raise self._foreign(source, f"line {number} is not a row")
            offset += len(raw)

    def _line(self, entry: int) -> str:
        file = self._earlier[entry >> 1 & 15]
        file.seek(entry >> 5)
        line = file.readline().decode("utf-8")
        # An editor may have taken the last one's end away.
        return self._kind.renew(line if line.endswith("\n") else line + "\n")

    def _close_earlier(self) -> None:
        for file in self._earlier:
            file.close()
        self._earlier.clear()


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # some network shares lock nothing
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _lock(file: BinaryIO, name: Path) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderError(
            f"{escape(str(name))}: another run is writing it; let it end, or name another file"
        ) from error
    except OSError:
        return  # some network shares lock nothing
