"""The clock that ages and deadlines are measured on.

Owns one choice: it goes on while the machine sleeps, as Linux's CLOCK_BOOTTIME does and
`time.monotonic` does not. A picture that was fresh when a box was suspended is stale when it wakes.
"""

from __future__ import annotations

import time


def uptime_s() -> float:
    """Seconds since some moment before the start; never set back, not even by the wall clock."""
    return _read()


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_read = _boot_time if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
