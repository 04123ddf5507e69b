"""What the demo shows: the station's own screen on a terminal, one line per record elsewhere.

Owns the demo's words. Runs nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console

from sorter.demo.stage import DemoProof
from sorter.display.dashboard import Head
from sorter.display.watch_screen import StationScreen
from sorter.domain import Record
from sorter.text import counted, escape, named


@contextlib.contextmanager
def open_screen(console: Console, *, total: int, lang: str) -> Iterator[Callable[[Record], None]]:
    """What to tell each record to. `total` is how many pictures will come."""
    if not console.is_terminal:
        yield lambda record: _print(console, record, lang)
        return
    records = 0

    def head() -> Head:
        return Head([("demo", f"{records} of {counted(total, 'picture')}; Ctrl-C ends it")])

    def show(record: Record) -> None:
        nonlocal records
        records += 1
        screen(record)

    with StationScreen(console, lang=lang, head=head, stays=True) as screen:
        yield show


def closing(proof: DemoProof) -> str:
    """The last line: what came in, what became of it, and what the gate says."""
    parts = [f"{count} {state.value}" for state, count in sorted(proof.states.items())]
    verdict = "every picture has one record and every DONE one movement"
    if not proof.honest:
        verdict = "records and movements do not agree"
    elif proof.cut_short:
        verdict = "ended before the last picture; every DONE has one movement"
    return (
        f"{counted(proof.delivered, 'picture')}: {', '.join(parts) or 'no record'}; "
        f"the gate moved {counted(len(proof.moved), 'time')}; {verdict}"
    )


def _print(console: Console, record: Record, lang: str) -> None:
    became = escape(record.reason)
    if record.decision is not None:
        where = named(record.bin, lang) if record.bin is not None else "held"
        label, sure = named(record.decision.label, lang), record.decision.bin_confidence
        became = f"{label} → {where} ({sure:.2f})"
    console.print(
        f"n={record.n} {record.state.value} {escape(record.picture.path.name)}: {became} "
        f"after {record.age_s:.2f} s",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
