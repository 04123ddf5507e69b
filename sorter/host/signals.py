"""Signals taken for a while: the handlers of before come back at the end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def handled(*numbers: int, by: Callable[[int], object]) -> Iterator[None]:
    """`by` is called with the number of each signal that comes; for the main thread alone."""
    before = {number: signal.signal(number, lambda n, _: by(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
