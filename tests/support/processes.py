"""`sorter` commands as processes of their own, for tests of the whole."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SORTER = [sys.executable, "-m", "sorter"]


@contextlib.contextmanager
def process(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running command that writes both its streams to the end of `log`; killed at the end."""
    with log.open("ab") as stream:
        started = subprocess.Popen([*SORTER, *words], stdout=stream, stderr=stream)
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()
            started.wait()
