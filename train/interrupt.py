"""Ctrl-C while training: it waits for the end of a step, and elsewhere acts at once.

Everything outside the steps is either on the disk already or done again by `--resume`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ECHO_S = 1.0
"""`torchrun` passes on what the terminal has sent already: a second one so soon is the same."""


class Interrupt:
    """A context manager that owns SIGINT. Inside `hold` the first one only sets `wanted`."""

    def __init__(self) -> None:
        self.wanted = False
        self._holding = False
        self._first_s = 0.0
        self._before: Any = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Whoever is inside looks at `wanted`, saves, and raises KeyboardInterrupt himself."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self.wanted:  # it came after the last look
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        now = time.monotonic()
        if not self._holding or (self.wanted and now - self._first_s >= _ECHO_S):
            raise KeyboardInterrupt
        if not self.wanted:
            self.wanted, self._first_s = True, now
