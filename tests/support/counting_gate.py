"""A gate that is always ready and only counts."""

from __future__ import annotations

from collections.abc import Callable

from sorter.domain import Delivery, LinkStatus, Movement


class CountingGate:
    """A gate that is always ready and remembers the numbers that it moved for."""

    def __init__(self) -> None:
        self.moved: list[int] = []
        self._beat: Callable[[], None] = lambda: None

    def start(self, sid: str, next_n: int, *, beat: Callable[[], None] = lambda: None) -> None:
        """See Actuator."""
        self._beat = beat

    def status(self) -> LinkStatus:
        """Ready."""
        self._beat()
        return LinkStatus(ready=True, state="ready", boot="b")

    def move(self, n: int, bin_number: int, *, boot: str, deadline: float) -> Movement:
        """Remembered."""
        self.moved.append(n)
        return Movement(Delivery.DONE, boot=boot)

    def resolve(self, n: int, *, boot: str) -> Movement:
        """Never asked."""
        raise AssertionError(n)

    def clear(self) -> Movement:
        """See Actuator."""
        return Movement(Delivery.DONE)

    def home(self) -> Movement:
        """See Actuator."""
        return Movement(Delivery.DONE)

    def stop(self) -> None:
        """See Actuator."""

    def close(self) -> None:
        """See Actuator."""
