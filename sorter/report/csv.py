"""Outcomes as CSV: the columns, the cells made safe for a spreadsheet, and back.

One row is one line: names are escaped as `text.escape` does. A cell that a spreadsheet would run
as a formula gets an apostrophe in front; so does one that begins with an apostrophe, which makes
the rule reversible.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from sorter.domain import Decision, Outcome, Status, Taxonomy
from sorter.report.resumable import RowFile
from sorter.text import escape, unescape

COLUMNS = (
    "path",
    "status",
    "label",
    "code",
    "confidence",
    "bin",
    "bin_confidence",
    "top",
    "width",
    "height",
    "ms",
    "error",
)

_FORMULA = ("=", "+", "-", "@", "'", "＝", "＋", "－", "＠")
_HEADER = ",".join(COLUMNS) + "\n"


def open_csv(path: Path, *, resume: bool = False) -> RowFile:
    """A CSV report to write `to_line`s into. Raises FolderError where it cannot be written."""
    return RowFile(path, header=_HEADER, read_row=read_row, resume=resume)


def to_line(outcome: Outcome, *, lang: str = "en") -> str:
    """One row, with its newline. `lang` ("en" or "zh") picks the names of classes and bins."""
    cells = [cell(os.fspath(outcome.path)), outcome.status.value]
    decision = outcome.decision
    if decision is None:
        cells += [""] * 6
    else:
        zh = lang == "zh"
        top = ";".join(f"{i.name_zh if zh else i.name}={p:.4f}" for i, p in decision.top)
        cells += [
            cell(decision.label.name_zh if zh else decision.label.name),
            cell(decision.label.code),
            f"{decision.confidence:.4f}",
            cell(decision.bin.name_zh if zh else decision.bin.name),
            f"{decision.bin_confidence:.4f}",
            cell(top),
        ]
    size = (outcome.width_px, outcome.height_px) if outcome.width_px else ("", "")
    cells += [str(size[0]), str(size[1]), f"{outcome.elapsed_ms:.1f}", cell(outcome.error)]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def read_row(line: str) -> tuple[str, bool] | None:
    """The path of a row and whether it is finished (not an error); None for anything else."""
    try:
        cells = next(csv.reader([line], strict=True), [])
    except csv.Error:
        return None
    if len(cells) != len(COLUMNS) or cells[1] not in list(Status):
        return None
    return uncell(cells[0]), cells[1] != Status.ERROR.value


def read_outcome(line: str, taxonomy: Taxonomy) -> Outcome | None:
    """The outcome of a finished row; None for a class that is none of the taxonomy's, or no row.

    The reason and what came second are not in the columns, or not exactly; they come back empty.
    """
    cells = next(csv.reader([line]), [])
    try:
        item = taxonomy.find(uncell(cells[3]))
        if item is None:
            return None
        status = Status(cells[1])
        decision = Decision(status, item, float(cells[4]), taxonomy.bin_of(item), float(cells[6]))
        width, height = (int(text or 0) for text in cells[8:10])
        path = Path(uncell(cells[0]))
        return Outcome(path, status, decision, width, height, float(cells[10]))
    except (IndexError, ValueError):  # somebody's hand was in the file
        return None


def cell(text: str) -> str:
    """`text` as one harmless cell; `uncell` takes it back."""
    safe = escape(text)
    return "'" + safe if safe.startswith(_FORMULA) else safe


def uncell(text: str) -> str:
    """The text that `cell` was given."""
    return unescape(text.removeprefix("'"))
