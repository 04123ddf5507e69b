"""Which picture was being opened when the station died: a second time is the last.

Owns that note beside the journal. A picture that makes the decoder crash, or the kernel end the
process for its memory, would otherwise meet every next start. The note costs two small writes a
picture and no sync: it must outlive the process, not the power.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sorter.errors import ImageError

CRASHES = 2
"""How often a process may end with a picture in hand before that picture is given up."""

DIGEST = 64
"""Letters of a SHA-256."""

_NOTHING = "-" * DIGEST


class InHand:
    """The note at `path`. Where it cannot be written the station works without it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._crashes: dict[str, int] = {}
        self._handle: int | None = None
        with contextlib.suppress(OSError, ValueError):
            held, *lines = path.read_text(encoding="ascii").splitlines()
            self._crashes = {line[:DIGEST]: int(line[DIGEST:]) for line in lines}
            if held != _NOTHING:
                self._crashes[held] = self._crashes.get(held, 0) + 1
        self._write()

    @contextlib.contextmanager
    def holding(self, sha256: str) -> Iterator[None]:
        """While a picture of these bytes is opened. Raises ImageError where it must not be.

        An error of ours puts it down again; any other is as good as a crash.
        """
        if self._crashes.get(sha256, 0) >= CRASHES:
            raise ImageError(f"the station died {CRASHES} times while it opened this picture")
        self._note(sha256)
        try:
            yield
        except ImageError:
            self._put_down(sha256)
            raise
        self._put_down(sha256)

    def close(self) -> None:
        """Let the note go; it stays on the disk."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _put_down(self, sha256: str) -> None:
        self._note(_NOTHING)
        if self._crashes.pop(sha256, 0):
            self.close()
            self._write()

    def _note(self, what: str) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._handle, what.encode("ascii"), 0)

    def _write(self) -> None:
        lines = [_NOTHING, *(f"{sha256} {count}" for sha256, count in self._crashes.items())]
        with contextlib.suppress(OSError):
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.pwrite(self._handle, ("\n".join(lines) + "\n").encode("ascii"), 0)
            os.ftruncate(self._handle, sum(len(line) + 1 for line in lines))
