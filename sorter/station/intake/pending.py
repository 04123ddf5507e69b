"""Files of the folder that are still to be read, and which of them lies still for long enough.

Owns the bounded table of waiting names. Reads no file, lists no folder, knows the time only as
an argument (seconds of a monotonic clock).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sorter.domain import Identity

FORGET = 0.9
"""What remains, after each next picture, of the longest time that one took."""

MAX_LISTED = 2_000
"""Names taken from the listing at once; the next listing brings the rest."""

MAX_HINTED = 4_000
"""Names in all: an event for a fresh picture still finds room when the listing filled the table."""


@dataclass(slots=True)
class Entry:
    """One waiting file.

    `since` is when its identity was first seen, `arrived` when its bytes came to be as they are.
    `closed` says that its writer is known to have finished. `backlog` says that it may be an old
    picture, by its name, which decides the order of work; `is_old`, that its bytes say so. `broken`
    says why these very bytes were no picture, "" where they were not tried. `sha256` is set where
    they were read once and are to be found the same a second time.
    """

    name: str
    identity: Identity
    since: float
    arrived: float
    closed: bool
    backlog: bool
    hinted: bool = False
    broken: str = ""
    is_old: bool = False
    sha256: str = ""
    not_before: float = 0.0


class Pending:
    """The table. All times are seconds on the caller's monotonic clock.

    A file is read after `settle_s` without a change where its writer closed it, `open_settle_s`
    where no close was heard of. One that is not a picture has `reject_after_s` without a change
    to become one, three times as long where it was never closed: writers pause.
    """

    def __init__(
        self, *, settle_s: float, open_settle_s: float, reject_after_s: float, fresh_s: float
    ) -> None:
        self._settle_s = settle_s
        self._open_settle_s = max(settle_s, open_settle_s)
        self._reject_after_s = reject_after_s
        self._fresh_s = fresh_s
        self._took_s = 0.0
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def is_full(self, *, hinted: bool) -> bool:
        """True where a new name would find no room."""
        return len(self._entries) >= (MAX_HINTED if hinted else MAX_LISTED)

    @property
    def roomy(self) -> bool:
        """True where the next listing could bring something in."""
        return len(self._entries) < MAX_LISTED // 2

    def get(self, name: str) -> Entry | None:
        """The entry of `name`, if it waits."""
        return self._entries.get(name)

    def note(self, entry: Entry) -> bool:
        """Take `entry` in, or refresh what is there; False where the table is full."""
        old = self._entries.get(entry.name)
        if old is None:
            if self.is_full(hinted=entry.hinted):
                return False
            self._entries[entry.name] = entry
            return True
        if old.identity != entry.identity:
            entry.hinted = entry.hinted or old.hinted
            self._entries[entry.name] = entry
        else:
            old.closed = old.closed or entry.closed
            old.hinted = old.hinted or entry.hinted
        return True

    def put_back(self, entry: Entry, why: str) -> None:
        """What `entry` names is not a whole picture: it waits until it changes, or for good."""
        entry.broken = why
        self.note(entry)

    def took(self, seconds: float) -> None:
        """Take note of how long the last picture took."""
        self._took_s = max(seconds, FORGET * self._took_s)

    def drop(self, name: str) -> None:
        """Forget `name`: taken, or gone."""
        self._entries.pop(name, None)

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget every name that a complete listing did not show."""
        for gone in self._entries.keys() - set(names):
            del self._entries[gone]

    def clear(self) -> None:
        """Forget all: the folder itself is gone."""
        self._entries.clear()

    def due_at(self, entry: Entry) -> float:
        """When `entry` may be read, if it stays as it is."""
        if entry.broken:
            return entry.since + self._patience_s(entry)
        wait_s = self._settle_s if entry.closed else self._open_settle_s
        return max(entry.since + wait_s, entry.not_before)

    def is_final(self, entry: Entry, now: float) -> bool:
        """True where what is broken now has had its time to grow whole."""
        return now >= entry.since + self._patience_s(entry)

    def _patience_s(self, entry: Entry) -> float:
        return self._reject_after_s * (1 if entry.closed else 3)

    def next_due(self, now: float, *, backlog: bool = True) -> tuple[Entry | None, float]:
        """The entry to read now, if any, and the seconds until the next one might be due.

        Fresh ones first, oldest first among them; then the stale ones, oldest first, since for
        those nothing is lost by waiting. A file counts as fresh if it will still be so after the
        time that the last pictures took: under a flood every oldest one would otherwise become
        too old while it is in hand. Without `backlog`, what was found at start is passed over.
        """
        # However long that takes, half of the time is left for those that wait.
        fresh_s = self._fresh_s - min(self._took_s, self._fresh_s / 2)
        best: Entry | None = None
        best_key = (True, 0.0)
        soonest = float("inf")
        for entry in self._entries.values():
            if entry.backlog and not backlog:
                continue
            due = self.due_at(entry)
            if due > now:
                soonest = min(soonest, due)
                continue
            stale = entry.backlog or now - entry.arrived > fresh_s
            key = (stale, entry.arrived)
            if best is None or key < best_key:
                best, best_key = entry, key
        return best, max(0.0, soonest - now)
