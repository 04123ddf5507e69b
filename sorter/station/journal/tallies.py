"""What a report is made of: ended records, counted by the hour as they come.

Owns the SQL of three small tables, and of what a record says that its columns do not hold as such.
A year's records are never read whole: on a small box that takes minutes. The counts stay when old
records go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sorter.domain import ItemState, Reason

HOUR_S = 3600
"""Counts belong to whole hours of Unix time, by the picture's arrival."""

SORTED = "sorted"
"""What `why` says of a decision without a doubt; of any other its `Reason`."""


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_ENDED = _listed(state for state in ItemState if state.is_terminal)
_DOUBTS = _listed(reason for reason in Reason if reason is not Reason.NONE)

# `@` stands for the row: "" in a query, "new." in a trigger. Records of versions 1 and 2 have
# neither `why` nor `bin_decided`: both are what `reason` and `bin` tell. The bin decided for an
# unsure item is unknown there, because its `bin` was the route.
_OLD_WHY = (
    f"CASE WHEN @decided_at IS NULL THEN '' WHEN @reason IN ({_DOUBTS}) THEN @reason"
    f" ELSE '{SORTED}' END"
)
_OLD_BIN_DECIDED = f"CASE WHEN ({_OLD_WHY}) = '{SORTED}' THEN @bin ELSE '' END"

DERIVED = {
    "bin_decided": f"CASE WHEN @why = '' THEN {_OLD_BIN_DECIDED} ELSE @bin_decided END",
    "bin_moved": f"CASE WHEN @state = '{ItemState.DONE}' AND @sent_at IS NOT NULL"
    " THEN @bin ELSE '' END",
    "why": f"CASE WHEN @why = '' THEN {_OLD_WHY} ELSE @why END",
    "station": "@station",
    "audited": "@audited",
}
"""Columns of an exported record that version 3 brought, as SQL over `items`."""

DERIVED_BEFORE = {
    **DERIVED,
    "bin_decided": _OLD_BIN_DECIDED,
    "why": _OLD_WHY,
    "station": "''",
    "audited": "''",
}
"""The same over the `items` of versions 1 and 2."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One table: its keys and what is summed, as SQL over one record, and which records count."""

    name: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    counts: str = "1"

    def table(self) -> str:
        """The statement that makes it."""
        keys, sums = ", ".join(self.keys), ", ".join(f"{name} NOT NULL" for name in self.sums)
        return f"CREATE TABLE {self.name} ({keys}, {sums}, PRIMARY KEY ({keys})) WITHOUT ROWID"

    def fill(self) -> str:
        """The statement that counts what is there already."""
        sums = ", ".join(f"sum({name})" for name in self.sums)
        return f"INSERT INTO {self.name} SELECT {', '.join(self.keys)}, {sums} {self._grouped()}"

    def counted(self) -> str:
        """The same counts as a sub-query, for a journal of version 1 or 2, which has no tables."""
        sums = ", ".join(f"sum({name}) AS {name}" for name in self.sums)
        return f"(SELECT {', '.join(self.keys)}, {sums} {self._grouped(DERIVED_BEFORE)})"

    def add(self, *, times: int = 1, row: str = "new.") -> str:
        """The statement in a trigger that counts the record `row`, or with −1 takes it back."""
        more = ", ".join(f"{name} = {name} + excluded.{name}" for name in self.sums)
        columns = self._columns(DERIVED, row)
        sums = ", ".join(f"{times} * {columns[name]}" for name in self.sums)
        return (
            f"INSERT INTO {self.name} SELECT {', '.join(columns[k] for k in self.keys)}, {sums}"
            f" WHERE {self._condition(DERIVED, row)} ON CONFLICT DO UPDATE SET {more};"
        )

    def _grouped(self, derived: dict[str, str] = DERIVED) -> str:
        columns = ", ".join(f"{sql} AS {name}" for name, sql in self._columns(derived, "").items())
        where = self._condition(derived, "")
        return f"FROM (SELECT {columns} FROM items WHERE {where}) GROUP BY {', '.join(self.keys)}"

    def _columns(self, derived: dict[str, str], row: str) -> dict[str, str]:
        known = _OF_A_RECORD | derived
        return {name: f"({known[name].replace('@', row)})" for name in (*self.keys, *self.sums)}

    def _condition(self, derived: dict[str, str], row: str) -> str:
        counts = self.counts.format(**{name: f"({sql})" for name, sql in derived.items()})
        return f"{row}state IN ({_ENDED}) AND {counts.replace('@', row)}"


_OF_A_RECORD = {
    "hour": f"CAST(@arrived_at / {HOUR_S} AS INTEGER)",
    "model": "substr(@model, 1, 12)",
    "state": "@state",
    "code": "@code",
    "label": "@label",
    # Tens of milliseconds are enough for a percentile; a clock may have been set back meanwhile.
    "ms": "max(0, CAST((@done_at - @sent_at) * 100 AS INTEGER) * 10)",
    "items": "1",
    "score": "coalesce(@bin_confidence, 0)",
}

HOURS = Tally(
    "hours",
    ("hour", "station", "model", "state", "why", "bin_decided", "bin_moved", "audited"),
    ("items", "score"),
)
CLASSES = Tally(
    "hourly_classes", ("hour", "station", "why", "code", "label"), ("items",), "@code != ''"
)
MOVES = Tally("hourly_moves", ("hour", "station", "ms"), ("items",), "{bin_moved} != ''")
TALLIES = (HOURS, CLASSES, MOVES)

STEP = (
    "ALTER TABLE items ADD COLUMN bin_decided TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE items ADD COLUMN why TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE items ADD COLUMN station TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE items ADD COLUMN audited TEXT NOT NULL DEFAULT ''",
    *(tally.table() for tally in TALLIES),
    *(tally.fill() for tally in TALLIES),
    "CREATE TRIGGER items_tally_come AFTER INSERT ON items"
    f" BEGIN {' '.join(tally.add() for tally in TALLIES)} END",
    "CREATE TRIGGER items_tally_end AFTER UPDATE OF state ON items"
    f" WHEN old.state NOT IN ({_ENDED}) BEGIN {' '.join(tally.add() for tally in TALLIES)} END",
    "CREATE TRIGGER items_tally_audit AFTER UPDATE OF audited ON items"
    f" BEGIN {HOURS.add(times=-1, row='old.')} {HOURS.add()} END",
)
"""What leads from version 2 of the journal to 3.

`audited` is "" for an item that need not be looked at again, `waiting` for one that was chosen, and
then what a person found: `right` or `wrong`, by bin.
"""
