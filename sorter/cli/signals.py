"""What signals ask of a station: to stop, or to try new weights.

Owns the handlers while a station is wired and runs. Decides nothing.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sorter.station.health.status import StationStatus
    from sorter.station.station import Station


class Asked:
    """What signals ask for: SIGTERM and SIGINT to stop, SIGHUP to try new weights.

    Listens before the station exists, so that a stop during the start is a clean one too.
    """

    def __init__(self) -> None:
        self.station: Station | None = None
        self.to_stop = False

    def seen(self) -> StationStatus | None:
        """How the station was when it last looked; None before there is one."""
        return self.station.seen if self.station is not None else None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals; the handlers of before come back at the end."""
        before = {
            number: signal.signal(number, self._hear)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _frame: object) -> None:
        if number != signal.SIGHUP:
            self.to_stop = True
            if self.station is not None:
                self.station.stop()
        elif self.station is not None:
            self.station.reload()
