"""A station on one screen: what it is at, what is wrong, what it did. Redrawn, never scrolled.

Owns layout and colours, for `status --follow` and `watch` alike. Reads nothing: what is shown comes
in as a value, already safe for a terminal or not; everything is escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sorter.domain import ItemState
from sorter.text import escape

COLOURS: Mapping[str, str] = {
    ItemState.DONE: "green",
    ItemState.FAILED: "bold red",
    ItemState.UNCERTAIN: "bold red",
    ItemState.UNSURE_HELD: "yellow",
    ItemState.EXPIRED: "yellow",
    ItemState.REJECTED: "magenta",
    ItemState.DUPLICATE: "cyan",
}

NO_BIN = "-"

ITEMS_FIRST = 8
"""Lines that items get before the log gets any."""


@dataclass(frozen=True, slots=True)
class ItemLine:
    """One item: its number, the time of day, and what became of it. `sure` is the bin's score."""

    n: int
    time: str
    state: str
    bin: str
    label: str
    sure: float | None
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Head:
    """The top of the screen: what the station is at, and what is wrong."""

    facts: Sequence[tuple[str, str]]
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Board(Head):
    """Everything on the screen, the most important first. `items` is newest first."""

    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    items: Sequence[ItemLine] = ()
    log: Sequence[str] = ()


def draw(board: Board, *, width: int, height: int) -> RenderableType:
    """The board for a terminal of that size: what does not fit is cut at the oldest items."""
    parts: list[RenderableType] = [_facts(board.facts)]
    used = len(board.facts)
    if board.problems:
        # These wrap: their end says what to do.
        problems = [Text(f"! {escape(text)}", "bold red") for text in board.problems]
        parts += problems
        used += sum(-(-text.cell_len // width) for text in problems)
    if board.counts:
        parts += [Text(), counts_table(board.counts)]
        used += 2 + len({bin_ for bin_, _ in board.counts})
    log = board.log[-((height - used) // 3) :] if height - used > ITEMS_FIRST else ()
    left = height - used - len(log) - (1 if log else 0) - 2
    if board.items and left > 0:
        parts += [Text(), _items(board.items[:left])]
    if log:
        parts += [Text(), *(_cut(text, "dim") for text in log)]
    return Group(*parts)


def counts_table(counts: Mapping[tuple[str, str], int]) -> Table:
    """Items by bin (a row each) and state (a column each), with their sums."""
    states = sorted({state for _, state in counts}, key=_order)
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("bin", no_wrap=True)
    for state in states:
        table.add_column(Text(state, COLOURS.get(state, "")), justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    for bin_ in sorted({bin_ for bin_, _ in counts}, key=lambda key: (key == "", key)):
        row = [counts.get((bin_, state), 0) for state in states]
        cells = [Text(str(count), "" if count else "dim") for count in (*row, sum(row))]
        table.add_row(Text(escape(bin_ or NO_BIN)), *cells)
    return table


def _facts(facts: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, text in facts:
        table.add_row(name, _cut(text))
    return table


def _items(items: Sequence[ItemLine]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, expand=True)
    table.add_column("n", justify="right", no_wrap=True)
    for name in ("time", "record", "bin"):
        table.add_column(name, no_wrap=True)
    table.add_column("sure", justify="right", no_wrap=True)
    for name in ("item", "picture", "reason"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1)
    for item in items:
        table.add_row(
            str(item.n),
            item.time,
            Text(item.state, COLOURS.get(item.state, "")),
            Text(escape(item.bin or NO_BIN)),
            "" if item.sure is None else f"{item.sure:.0%}",
            Text(escape(item.label)),
            Text(escape(item.name)),
            Text(escape(item.reason), "dim"),
        )
    return table


def _cut(text: str, style: str = "") -> Text:
    return Text(escape(text), style, no_wrap=True, overflow="ellipsis")


def _order(state: str) -> int:
    states = [str(known) for known in ItemState]
    return states.index(state) if state in states else len(states)
