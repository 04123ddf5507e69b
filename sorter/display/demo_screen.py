"""What the demo shows: one live screen on a terminal, one line per record elsewhere.

Owns words and colours. Runs nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from types import TracebackType
from typing import Protocol

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sorter.demo.stage import Tally
from sorter.domain import ItemState, Record, Taxonomy
from sorter.text import escape

SHOWN = 10
"""Records on the screen; the newest is first."""

COLOURS = {
    ItemState.DONE: "green",
    ItemState.UNSURE_HELD: "yellow",
    ItemState.DUPLICATE: "cyan",
    ItemState.REJECTED: "magenta",
}


class Screen(Protocol):
    """Shows records as they come; a context manager."""

    def __enter__(self) -> Screen: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def show(self, record: Record) -> None:
        """One more record."""


def open_screen(console: Console, taxonomy: Taxonomy, *, total: int, chinese: bool) -> Screen:
    """The screen that fits `console`."""
    if console.is_terminal:
        return Live_(console, taxonomy, total=total, chinese=chinese)
    return Lines(console, chinese=chinese)


class Lines:
    """One line per record."""

    def __init__(self, console: Console, *, chinese: bool) -> None:
        self._console, self._chinese = console, chinese

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, record: Record) -> None:
        """See Screen."""
        self._console.print(
            f"n={record.n} {record.state.value} {escape(record.picture.path.name)}"
            f"{_what(record, chinese=self._chinese)} after {record.age_s:.2f} s",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )


class Live_:  # noqa: N801 - `Live` is rich's.
    """Records above, bins below, redrawn in place."""

    def __init__(self, console: Console, taxonomy: Taxonomy, *, total: int, chinese: bool) -> None:
        self._taxonomy, self._total, self._chinese = taxonomy, total, chinese
        self._records: deque[Record] = deque(maxlen=SHOWN)
        self._bins: Counter[str] = Counter()
        self._seen = 0
        self._live = Live(self._draw(), console=console, refresh_per_second=8)

    def __enter__(self) -> Live_:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, record: Record) -> None:
        """See Screen."""
        self._records.appendleft(record)
        self._seen += 1
        if record.state is ItemState.DONE and record.bin is not None:
            self._bins[record.bin.key] += 1
        self._live.update(self._draw())

    def _draw(self) -> RenderableType:
        table = Table(expand=True, box=None, header_style="dim")
        for name in ("n", "picture", "item", "sure", "bin", "record", "after"):
            table.add_column(name, justify="right" if name in ("n", "sure", "after") else "left")
        for record in self._records:
            decision = record.decision
            table.add_row(
                str(record.n),
                Text(escape(record.picture.path.name)),
                Text(_item(record, chinese=self._chinese)),
                f"{decision.bin_confidence:.0%}" if decision else "",
                Text(_bin(record, chinese=self._chinese)),
                Text(record.state.value, COLOURS.get(record.state, "red")),
                f"{record.age_s:.2f} s",
            )
        newest = self._records[0].bin if self._records else None
        gates = [
            Panel(
                Text(str(self._bins[b.key]), justify="center"),
                title=Text(b.name_zh if self._chinese else b.name),
                border_style="green" if newest is not None and b.key == newest.key else "dim",
                width=20,
            )
            for b in self._taxonomy.bins
        ]
        title = f"sorter demo: {self._seen} of {self._total} pictures"
        return Group(Panel(table, title=title, height=SHOWN + 3), Columns(gates))


def closing(tally: Tally) -> str:
    """The last line: what came in, what became of it, and what the gate says."""
    parts = [f"{count} {state.value}" for state, count in sorted(tally.states.items())]
    verdict = "every picture has one record and every DONE one movement"
    if not tally.honest:
        verdict = "records and movements do not agree"
    elif tally.cut_short:
        verdict = "ended before the last picture; every DONE has one movement"
    return (
        f"{tally.delivered} pictures: {', '.join(parts) or 'no record'}; "
        f"the gate moved {len(tally.moved)} times; {verdict}"
    )


def _what(record: Record, *, chinese: bool) -> str:
    if record.decision is None:
        return f": {escape(record.reason)}"
    return (
        f": {_item(record, chinese=chinese)} → {_bin(record, chinese=chinese)} "
        f"({record.decision.bin_confidence:.2f})"
    )


def _item(record: Record, *, chinese: bool) -> str:
    if record.decision is None:
        return escape(record.reason)
    label = record.decision.label
    return label.name_zh if chinese else label.name


def _bin(record: Record, *, chinese: bool) -> str:
    if record.bin is None:
        return "held" if record.decision is not None else ""
    return record.bin.name_zh if chinese else record.bin.name
