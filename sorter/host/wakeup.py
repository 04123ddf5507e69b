"""Wake a waiting thread: safe from a signal handler, another thread, or both at once.

Owns one pipe. `threading.Event` would not do: setting it in a signal handler can dead-lock with
the very wait that the signal interrupted, and `select` cannot wait for it.
"""

from __future__ import annotations

import contextlib
import os
import select


class Wakeup:
    """A call is remembered until the next wait; many calls wake once. `select` takes it too."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(self) -> None:
        """Wake the waiter now, or at its next wait. Never blocks, never raises."""
        with contextlib.suppress(OSError):
            os.write(self._write, b".")

    def wait(self, timeout_s: float) -> bool:
        """Wait for a call at most `timeout_s` seconds; True if there was one."""
        poller = select.poll()
        poller.register(self._read, select.POLLIN)
        if not poller.poll(max(0.0, timeout_s) * 1000):
            return False
        self.clear()
        return True

    def fileno(self) -> int:
        """Readable while a call waits to be taken."""
        return self._read

    def clear(self) -> None:
        """Take all calls so far."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass

    def close(self) -> None:
        """Close the pipe; calls after this are ignored."""
        os.close(self._read)
        write, self._write = self._write, -1
        os.close(write)
