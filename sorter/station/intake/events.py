"""Events of the watched folder, and how far they may be trusted.

Owns their beginning, their deaths and the doubt in them. Lists no folder and reads no file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sorter.host.mounts import SILENT, file_system
from sorter.station.intake.hints import Hints

RETRY_S = 5.0
"""Between two tries to get events back."""

MISSED_LIMIT = 3
"""Finished files that events never told of, before the events are doubted."""


class Ears:
    """Listens to one folder at a time; `mode` says how, in words for an operator.

    `wanted` False never listens. `ring` is called from another thread when something was heard.
    """

    def __init__(
        self,
        ring: Callable[[], None],
        *,
        wanted: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hints = Hints(ring)
        self._wanted = wanted
        self._clock = clock
        self._missed = 0
        self._next_try = 0.0
        self.mode = "not started"

    @property
    def trusted(self) -> bool:
        """True where a rare listing is enough."""
        return self.mode == "inotify"

    def listen(self, folder: Path) -> None:
        """Begin, or begin again, on `folder`."""
        self._missed = 0
        self._next_try = self._clock() + RETRY_S
        why = self._hints.watch(folder) if self._wanted else "events switched off"
        kind = file_system(folder)
        if not why and kind in SILENT:
            # Events of local writers still help; those of others never come.
            why = f"{kind} hides other machines' writes"
        self.mode = f"polling ({why})" if why else "inotify"

    def heard(self) -> tuple[set[str], bool]:
        """The names since the last call, and whether more were lost than are given."""
        return self._hints.take()

    def missed(self) -> None:
        """A finished file was found that nothing had been heard of."""
        self._missed += 1

    @property
    def failing(self) -> bool:
        """True where it is time to begin again: they died, or miss what they should hear."""
        if self._clock() < self._next_try:
            return False
        return (self.trusted and not self._hints.alive) or self._missed > MISSED_LIMIT

    def deafen(self, why: str) -> None:
        """End the threads; `mode` says why nobody listens."""
        self._hints.stop()
        self.mode = why
