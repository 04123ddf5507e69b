"""A serial port of our own whose device takes nothing, as a USB board with a hung sketch does."""

from __future__ import annotations

import threading

from sorter.actuator.protocol import seal


class Clogged:
    """A port whose device takes nothing: what is written lies in the queue until it is closed."""

    def __init__(self) -> None:
        self.queue = b""
        self.closed = threading.Event()
        self._woken = threading.Event()

    def read(self, wait_s: float, *, wanted_room: bool = False) -> bytes:
        self._woken.wait(wait_s)
        self._woken.clear()
        return b""

    def write(self, data: bytes) -> int:
        self.queue += data
        return len(data)

    def unsent(self) -> int | None:
        return len(self.queue)

    def wake(self) -> None:
        self._woken.set()

    def is_current(self) -> bool:
        return True

    def close(self) -> None:
        self.queue = b""
        self.closed.set()


class Hanging(Clogged):
    """Shakes hands as session s1, then takes nothing more once it `hangs`."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self._says = [seal("BOOT WS1 f b1 sim - - IDLE")]

    def read(self, wait_s: float, *, wanted_room: bool = False) -> bytes:
        if self._says:
            return self._says.pop()
        return super().read(wait_s)

    def write(self, data: bytes) -> int:
        if self.hangs:
            return super().write(data)
        if data.startswith(b"HI"):
            self._says.append(seal("HI b1 sim s1 0 IDLE"))
            self.wake()
        return len(data)
