"""What signals ask of a station: to stop, or to try new weights.

Owns the handlers while a station is wired and runs. Decides nothing.
"""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from sorter.host.signals import handled

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

    def listening(self) -> AbstractContextManager[None]:
        """Take the signals; the handlers of before come back at the end."""
        return handled(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, by=self._hear)

    def _hear(self, number: int) -> None:
        if number != signal.SIGHUP:
            self.to_stop = True
            if self.station is not None:
                self.station.stop()
        elif self.station is not None:
            self.station.reload()
