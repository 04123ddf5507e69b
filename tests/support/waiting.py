"""Waiting for what another process or thread does, with a limit and a word of what it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: Callable[[], T], *, within_s: float = 60.0, told: Callable[[], str] = str) -> T:
    """The first true value of `what`; AssertionError, with what `told` says, if none comes."""
    until = time.monotonic() + within_s
    while not (value := what()):
        assert time.monotonic() < until, f"waited in vain {told()}"
        time.sleep(0.01)
    return value
