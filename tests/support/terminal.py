"""A command on a real terminal: a pty with a size, what it showed, and keys and signals to it.

Owns the process and the pty. Judges nothing.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType

from tests.support.processes import SORTER

LEFT = b"\x1b[?1049l"
"""What a terminal is told when a program leaves the second screen."""

_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`sorter WORDS` (or another program) on a pty; killed at the end, if it still runs."""

    def __init__(
        self,
        *words: str,
        lines: int = 24,
        columns: int = 100,
        program: Sequence[str] = SORTER,
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(lines, columns)
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [*program, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**kept, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(slave)
        self.raw = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._master >= 0:
            os.close(self._master)

    @property
    def text(self) -> str:
        """All that was ever shown, without colours and movements of the cursor."""
        return _CONTROL.sub(b"", self.raw).decode("utf-8", "replace")

    def resize(self, lines: int, columns: int) -> None:
        """Give the window another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type `keys`."""
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """Close the window; the process stays."""
        os.close(self._master)
        self._master = -1

    def wait_for(self, words: str, *, within_s: float = 60.0) -> None:
        """Read until `words` appear in what is shown from now on."""
        begin, until = len(self.text), time.monotonic() + within_s
        while words not in self.text[begin:]:
            assert time.monotonic() < until, f"no {words!r} in {self.text[begin:][-2000:]}"
            assert self._read(), f"ended without {words!r}: {self.text[begin:][-2000:]}"

    def end(self, number: signal.Signals | None = None, *, within_s: float = 30.0) -> int:
        """Send a signal, if one is given, and read to the end; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        until = time.monotonic() + within_s
        while self._master >= 0 and self._read() and time.monotonic() < until:
            pass
        return self.process.wait(timeout=within_s)

    def _read(self) -> bool:
        """What came within a moment; False once the other side is closed."""
        if select.select([self._master], [], [], 0.2)[0]:
            try:
                self.raw += os.read(self._master, 65536)
            except OSError:
                return False
        return True
