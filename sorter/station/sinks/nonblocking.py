"""A stream whose reader may stop reading: what it does not take is dropped, never waited for.

Owns the look before a write. A terminal halted by Ctrl-S, a stopped pipe or a stuck log daemon
would else hold the loop in the middle of an item.
"""

from __future__ import annotations

import contextlib
import os
import select
from typing import TextIO

PATIENCE_S = 0.2
"""How long a line may wait for a busy reader; one that let it pass once gets no more patience."""


class NonblockingWriter:
    """Writes whole lines, or drops them and says later how many. Never raises for the reader.

    `note` is the line that says so, a `%d` in it for the number. A stream with a descriptor is
    written past its buffer, in which a lost line would wait to spoil the exit code.
    """

    def __init__(self, stream: TextIO, *, note: str = "# %d lines not shown: nobody read") -> None:
        self._stream, self._note = stream, note
        self._dropped = 0

    def write(self, text: str) -> int:
        """Write `text`, whole lines, if there is room for it; its length (as a text stream)."""
        with contextlib.suppress(OSError, ValueError):  # The reader went away.
            if not self._has_room(0.0 if self._dropped else PATIENCE_S):
                self._dropped += text.count("\n")
                return len(text)
            missing, self._dropped = self._dropped, 0
            self._put((self._note % missing + "\n" if missing else "") + text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def _has_room(self, patience_s: float) -> bool:
        number = self._descriptor()
        if number is None:
            return True
        poller = select.poll()
        poller.register(number, select.POLLOUT)
        return bool(poller.poll(patience_s * 1000))

    def _put(self, text: str) -> None:
        number = self._descriptor()
        if number is None:
            self._stream.write(text)
            return
        self._stream.flush()
        data = text.encode(self._stream.encoding, "backslashreplace")
        while data:
            data = data[os.write(number, data) :]

    def _descriptor(self) -> int | None:
        try:
            return self._stream.fileno()
        except OSError:  # In memory.
            return None
