"""What a run of `classify` has sorted so far, as the table that closes it."""

from __future__ import annotations

import time
from collections import Counter

from sorter.domain import Outcome, Status, Taxonomy
from sorter.text import columns, pad


class Tally:
    """Counts, and their table. `zh`: the Chinese names of bins."""

    def __init__(self, taxonomy: Taxonomy, *, zh: bool) -> None:
        self.kept = 0
        self.errors = 0
        self._taxonomy = taxonomy
        self._zh = zh
        self._sorted: Counter[str] = Counter()
        self._unsure: Counter[str] = Counter()
        self._begun = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        if outcome.decision is None:
            self.errors += 1
        elif outcome.status is Status.SORTED:
            self._sorted[outcome.decision.bin.key] += 1
        else:
            self._unsure[outcome.decision.bin.key] += 1

    def table(self) -> str:
        """Lines for the terminal: a row a bin, then the totals."""
        names = [b.name_zh if self._zh else b.name for b in self._taxonomy.bins]
        width = max(map(columns, [*names, "bin"]))
        lines = [f"{pad('bin', width)}  sorted  unsure"]
        for b, name in zip(self._taxonomy.bins, names, strict=True):
            lines.append(f"{pad(name, width)}  {self._sorted[b.key]:6d}  {self._unsure[b.key]:6d}")
        done = self._sorted.total() + self._unsure.total() + self.errors
        seconds = time.monotonic() - self._begun
        rate = f", {done / seconds:.0f} a second" if seconds > 0.5 and done else ""
        kept = f", {self.kept} kept from before" if self.kept else ""
        lines.append(f"{done} pictures in {seconds:.1f} s{rate}; {self.errors} errors{kept}")
        return "\n".join(lines) + "\n"
