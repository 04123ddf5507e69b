"""`sorter` commands as processes of their own, for tests of the whole."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SORTER = [sys.executable, "-m", "sorter"]


def with_sorter(folder: Path) -> dict[str, str]:
    """An environment whose `sorter` is this checkout's, with this Python; made in `folder`."""
    folder.mkdir()
    command = folder / "sorter"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sorter "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    search = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": search, "PYTHONPATH": str(ROOT)}


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
