"""A journal at a glance, as text and as a live screen that outlives what happens to the journal.

Owns the words of `sorter status` and the following. Reads through `station.history` and writes
nothing: a journal that is not there yet, is replaced or cannot be read is said, and looked at
again.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from sorter.display.dashboard import Board, ItemLine, counts_table, draw
from sorter.errors import JournalError
from sorter.station.journal.history import Summary, summarise
from sorter.taxonomy import default_taxonomy
from sorter.text import Lang, bin_word, counted, escape, named

FOLLOW_S = 1.0
"""Between two looks at the journal."""

SILENT_S = 30.0
"""A running station speaks every ten seconds; after three times that something holds it."""

_RESIZE_S = 0.2


class Names:
    """Category and bin names in a language; the journal's own where our taxonomy has none."""

    def __init__(self, lang: str) -> None:
        taxonomy = default_taxonomy() if lang == Lang.ZH else None
        self._labels = {c.name: named(c, lang) for c in taxonomy.categories} if taxonomy else {}
        self._bins = {b.key: bin_word(b, lang) for b in taxonomy.bins} if taxonomy else {}

    def label(self, label: str) -> str:
        """The name of the category that the journal calls `label`."""
        return self._labels.get(label, label)

    def bin(self, key: str) -> str:
        """The name of bin `key`."""
        return self._bins.get(key, key)


def text(seen: Summary | str, names: Names) -> str:
    """A block of lines: what a pipe and a single look get."""
    if isinstance(seen, str):
        return f"problem: {escape(seen)}"
    console = Console(width=10_000, no_color=True, highlight=False)
    with console.capture() as captured:
        board = _board(seen, names)
        for name, fact in board.facts:
            console.print(f"{name}: {escape(fact)}", markup=False)
        for problem in board.problems:
            console.print(f"problem: {escape(problem)}", markup=False)
        if board.counts:
            console.print(counts_table(board.counts))
        for row in seen.last:
            console.print(_row(row, names), markup=False)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))


def follow(
    journal: Path, last: int, tell: Callable[[Summary | str], None], *, each_second: bool = False
) -> None:
    """Tell what is seen, or what is wrong with it, whenever it changes (or each second)."""
    before: object = None
    for seen in _looks(journal, last):
        now = seen if isinstance(seen, str) else (seen.sid, seen.counts, seen.last, _facts(seen))
        if each_second or now != before:
            tell(seen)
        before = now


def show_live(journal: Path, last: int, names: Names) -> None:
    """Redraw the terminal each second, and when its size changes, until Ctrl-C."""
    # A terminal must not be left on the other screen, whoever ends us.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        rows = max(last, console.height)
        for seen in _looks(journal, rows, pause=lambda: _pause(console)):
            if isinstance(seen, str):
                board = Board(facts=[("journal", str(journal))], problems=[seen])
            else:
                board = _board(seen, names)
            live.update(draw(board, width=console.width, height=console.height), refresh=True)


def _looks(
    journal: Path, last: int, *, pause: Callable[[], None] = lambda: time.sleep(FOLLOW_S)
) -> Iterator[Summary | str]:
    while True:
        try:
            yield summarise(journal, last=last)
        except JournalError as error:
            yield str(error)
        pause()


def _pause(console: Console) -> None:
    size, until = console.size, time.monotonic() + FOLLOW_S
    while (left_s := until - time.monotonic()) > 0 and console.size == size:
        time.sleep(min(left_s, _RESIZE_S))


def _board(seen: Summary, names: Names) -> Board:
    counts: dict[tuple[str, str], int] = {}
    for (key, state), count in seen.counts.items():
        name = names.bin(key)
        counts[name, state] = counts.get((name, state), 0) + count
    return Board(
        facts=[*_facts(seen), *_pace(seen)],
        problems=_problems(seen),
        counts=counts,
        items=[_line(row, names) for row in seen.last],
    )


def _facts(seen: Summary) -> list[tuple[str, str]]:
    live = seen.live
    facts = [("station", "not running")]
    if live is not None:
        mode = f" ({live['mode']})" if live.get("mode") else ""
        facts = [
            ("station", f"running, pid {live.get('pid')}, watching {live.get('folder')}{mode}")
        ]
        facts.append(("link", f"{live.get('link')} {live.get('link_detail') or ''}".strip()))
        facts.append(("weights", str(live.get("model", ""))[:12]))
        facts.append(("waiting", counted(live.get("pending", 0), "picture")))
    ended = f"started {counted(seen.starts, 'time')}, {seen.unclean} of them ended uncleanly"
    facts.append(("journal", f"{counted(seen.items, 'item')}, {ended}"))
    return [*facts, ("this site", seen.audit.told())] if seen.audit.judged else facts


def _pace(seen: Summary) -> list[tuple[str, str]]:
    parts = [f"{counted(seen.pace.per_minute, 'record')} in the last minute"]
    for what, seconds in (("command after", seen.pace.respond), ("movement", seen.pace.move)):
        if seconds is not None:
            parts.append(f"{what} {seconds[0]:.2f} s, at most {seconds[1]:.2f} s")
    return [("pace", "; ".join(parts))]


def _problems(seen: Summary) -> list[str]:
    if seen.live is None:
        return []
    found = seen.live.get("problems")
    problems = [str(problem) for problem in found] if isinstance(found, list) else []
    if seen.silent_s > SILENT_S:
        problems.insert(
            0, f"no sign of life for {seen.silent_s:.0f} s: it hangs, or its disk is full"
        )
    return problems


def _line(row: dict[str, Any], names: Names) -> ItemLine:
    moment = str(row["done_at"] or row["arrived_at"])
    return ItemLine(
        n=row["n"],
        time=f"{moment[11:19]}Z" if len(moment) > 19 else "",
        state=row["state"],
        bin=names.bin(row["bin"]),
        label=names.label(row["label"]),
        sure=row["bin_confidence"],
        name=Path(row["path"]).name,
        reason=row["reason"],
    )


def _row(row: dict[str, Any], names: Names) -> str:
    line = _line(row, names)
    moment = row["done_at"] or row["arrived_at"]
    words = f"{line.n:>6} {moment} {line.state:<11} {escape(line.bin or '-'):<10}"
    reason = f" {escape(line.reason)}" if line.reason else ""
    return f"{words} {escape(line.label or '-')} {escape(line.name)}{reason}"
