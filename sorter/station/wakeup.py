"""A bell that wakes the loop: safe to ring from a signal handler, a thread, or both at once.

Owns one pipe. `threading.Event` would not do: setting it in a signal handler can dead-lock with
the very wait that the signal interrupted.
"""

from __future__ import annotations

import contextlib
import os
import select


class Bell:
    """Rings are remembered until the next wait; many rings wake once."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def ring(self) -> None:
        """Wake the waiter now, or at its next wait. Never blocks, never raises."""
        with contextlib.suppress(OSError):
            os.write(self._write, b".")

    def wait(self, timeout_s: float) -> bool:
        """Wait for a ring at most `timeout_s` seconds; True if there was one."""
        poller = select.poll()
        poller.register(self._read, select.POLLIN)
        if not poller.poll(max(0.0, timeout_s) * 1000):
            return False
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass
        return True

    def close(self) -> None:
        """Close the pipe; rings after this are ignored."""
        os.close(self._read)
        write, self._write = self._write, -1
        os.close(write)
