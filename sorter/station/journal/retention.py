"""Old records go, a few at a time: never one whose picture still lies in the folder.

Owns the walk through the journal. Looks at files between two transactions, never inside one. A
picture whose record went while it stayed would be a new one to the next start.
"""

from __future__ import annotations

import os

from sorter.station.journal.journal import Journal

BATCH = 200
"""Records looked at in one step: some milliseconds, whatever the journal holds."""


class Retention:
    """Walks from the oldest record to the first that is young enough, then from the start again."""

    def __init__(self, journal: Journal, *, batch: int = BATCH) -> None:
        self._journal, self._batch = journal, batch
        self._after = 0

    def step(self, before: float) -> bool:
        """Forget what was done before Unix time `before` and is gone from the folder.

        True where the walk is to go on at the next idle moment. Raises JournalError.
        """
        rows = self._journal.done_before(before, after=self._after, limit=self._batch)
        gone = [n for n, path in rows if not os.path.lexists(path)]
        if gone:
            self._journal.forget(gone)
        self._after = rows[-1][0] if rows else 0
        return bool(rows)
