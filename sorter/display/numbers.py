"""A station's numbers on a terminal or into a pipe, as lines of text."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from sorter.domain import ItemState, Reason
from sorter.report import words
from sorter.report.numbers import DOUBTS, Numbers, Period
from sorter.report.numbers_page import sentence, when

_APART = (Reason.UNKNOWN_OBJECT, Reason.EMPTY)
_STATES = (ItemState.UNSURE_HELD, ItemState.FAILED, ItemState.UNCERTAIN, ItemState.EXPIRED)


def text(
    found: Numbers,
    *,
    lang: str,
    bin_name: Callable[[str], str],
    class_name: Callable[[str], str],
) -> str:
    """A table of the periods, then the facts, then what the trend means."""
    say = words.of_numbers(lang)
    if not found.periods:
        return say["nothing"]
    moves = found.total.moved.total() > 0
    table = Table(box=None, pad_edge=False, title=say["moved" if moves else "decided"])
    table.title_justify = "left"
    table.add_column(say[found.by.value])
    for name in (
        *map(bin_name, found.bins),
        say["share"],
        *(say[reason.value] for reason in _APART),
        *(say[state.value] for state in _STATES),
    ):
        table.add_column(name, justify="right")

    def add(name: str, period: Period) -> None:
        count = period.moved if moves else period.decided
        table.add_row(
            name,
            *(f"{count[key]:,}" for key in found.bins),
            "–" if period.unsure is None else f"{period.unsure:.0%}",
            *(f"{period.why[reason]:,}" for reason in _APART),
            *(f"{period.states[state]:,}" for state in _STATES),
        )

    for period in found.periods:
        add(when(period, found.by), period)
    add("", found.total)
    total = found.total
    console = Console(width=10_000, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().rstrip("\n").split("\n")]
    reasons = ", ".join(f"{say[r.value]} {total.why[r]:,}" for r in DOUBTS)
    lines.append(f"{say['why']}: {reasons}")
    if found.classes:
        kinds = ", ".join(f"{class_name(label)} {n:,}" for _, label, n in found.classes)
        lines.append(f"{say['classes']}: {kinds}")
    if found.moves_s is not None:
        lines.append(f"{say['moves']}: {say['quick'].format(*found.moves_s)}")
    judged = total.right + total.wrong
    if judged:
        lines.append(f"{say['audit']}: {say['audited'].format(wrong=total.wrong, judged=judged)}")
    lines.append(sentence(found, lang))
    return "\n".join(lines)
