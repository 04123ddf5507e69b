"""What a run of `classify` has sorted so far, as the table that closes it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from sorter.domain import Outcome, Status, Taxonomy
from sorter.files import suffix_of
from sorter.text import columns, counted, escape, named, pad

ERRORS_NAMED = 10
"""So many errors are named under the table; the reports have them all."""


class BatchSummary:
    """Counts, and their table, with the names of bins in `lang`."""

    def __init__(self, taxonomy: Taxonomy, *, lang: str) -> None:
        self.kept = 0
        self.left_over = 0
        self.errors = 0
        self.named: list[str] = []
        self._taxonomy = taxonomy
        self._lang = lang
        self._sorted: Counter[str] = Counter()
        self._unsure: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._begun = time.monotonic()

    @property
    def pictures(self) -> int:
        """How many have a row now, failures and those of earlier runs included."""
        return self._sorted.total() + self._unsure.total() + self.errors + self.kept

    def leave_out(self, path: Path) -> None:
        """Count a picture in a format that sorter does not open."""
        self._left_out[suffix_of(path.name)] += 1

    def left_out(self) -> str:
        """A line on them; "" where there are none."""
        if not self._left_out:
            return ""
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self._left_out.items()))
        return (
            f"left out {counted(self._left_out.total(), 'picture')} in formats that sorter does "
            f"not open ({kinds}); convert them to JPEG or PNG"
        )

    def add(self, outcome: Outcome) -> None:
        if outcome.decision is None:
            self.errors += 1
            if len(self.named) < ERRORS_NAMED:
                self.named.append(f"{escape(str(outcome.path))}: {escape(outcome.error)}")
        elif outcome.status is Status.SORTED:
            self._sorted[outcome.decision.bin.key] += 1
        else:
            self._unsure[outcome.decision.bin.key] += 1

    def table(self) -> str:
        """Lines for the terminal: a row per bin, then the totals."""
        names = [named(b, self._lang) for b in self._taxonomy.bins]
        width = max(map(columns, [*names, "bin"]))
        lines = [f"{pad('bin', width)}  sorted  unsure"]
        for b, name in zip(self._taxonomy.bins, names, strict=True):
            lines.append(f"{pad(name, width)}  {self._sorted[b.key]:6d}  {self._unsure[b.key]:6d}")
        done = self.pictures - self.kept
        seconds = time.monotonic() - self._begun
        rate = f", {done / seconds:.0f} a second" if seconds > 0.5 and done else ""
        kept = f", {self.kept} kept from before" if self.kept or self.left_over else ""
        if self.left_over:
            kept += f", {self.left_over} of pictures not given this time"
        errors = counted(self.errors, "error")
        lines.append(f"{counted(done, 'picture')} in {seconds:.1f} s{rate}; {errors}{kept}")
        lines += [f"error: {name}" for name in self.named]
        if self.errors > len(self.named):
            lines.append(f"and {counted(self.errors - len(self.named), 'more error')}")
        return "\n".join(lines) + "\n"
