"""Outcomes as CSV: the columns, the cells made safe for a spreadsheet, and back.

One row is one line, its names are `text.cell`s.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from sorter.domain import Decision, Outcome, Reason, Status, Taxonomy
from sorter.report.resumable import NO_SUCH_BEGINNING, Rows, RowWriter, open_rows
from sorter.text import cell, csv_row, named, uncell

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
    "reason",
)

BOM = "\ufeff"
"""What a spreadsheet program wants to see before it reads UTF-8."""

_HEADER = ",".join(COLUMNS) + "\n"
_OLDER = ",".join(COLUMNS[:-1]) + "\n"
"""Of reports that were written before rows said their reason; going on adds an empty one."""


def open_csv(path: Path, *, resume: bool = False, excel: bool = False) -> RowWriter:
    """A CSV report to write `to_line`s into; `excel` begins it with the BOM. As `open_rows`."""
    header = BOM + _HEADER if excel else _HEADER
    rows = Rows(header, read_row, _read_last, older=(_OLDER,), renew=_renewed, why_not=_why_not)
    return open_rows(path, rows, option="--csv", resume=resume)


def to_line(outcome: Outcome, *, lang: str = "en") -> str:
    """One row, with its newline. `lang` ("en" or "zh") picks the names of classes and bins."""
    cells = [cell(os.fspath(outcome.path)), outcome.status.value]
    decision = outcome.decision
    if decision is None:
        cells += [""] * 6
    else:
        top = ";".join(f"{named(i, lang)}={p:.4f}" for i, p in decision.top)
        cells += [
            cell(named(decision.label, lang)),
            cell(decision.label.code),
            f"{decision.confidence:.4f}",
            cell(named(decision.bin, lang)),
            f"{decision.bin_confidence:.4f}",
            cell(top),
        ]
    size = (outcome.width_px, outcome.height_px) if outcome.width_px else ("", "")
    cells += [str(size[0]), str(size[1]), f"{outcome.elapsed_ms:.1f}", cell(outcome.error)]
    cells.append(decision.reason.value if decision is not None else "")
    return csv_row(cells)


def read_row(line: str) -> tuple[str, bool] | None:
    """The path of a row and whether it is finished (not an error); None for anything else."""
    try:
        cells = next(csv.reader([line], strict=True), [])
    except csv.Error:
        return None
    if len(cells) not in (len(COLUMNS), len(COLUMNS) - 1) or cells[1] not in list(Status):
        return None
    return uncell(cells[0]), cells[1] != Status.ERROR.value


def _read_last(line: str) -> tuple[str, bool] | None:
    """As `read_row`, of a line without its end: None where some of the row may be missing.

    A reason may be missing as a whole: such a row is kept, and its picture tried again.
    """
    row = read_row(line)
    if row is None:
        return None
    cells = next(csv.reader([line]), [])
    if len(cells) != len(COLUMNS) or cells[-1] not in list(Reason):
        return None
    path, finished = row
    return path, finished and (cells[1] == Status.SORTED or cells[-1] != "")


def _why_not(first: bytes) -> str:
    """Why a file that begins with `first` is no report of ours, as far as that shows."""
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16; save it as CSV in UTF-8"
    text = first.decode("utf-8", "replace").removeprefix(BOM).rstrip("\r\n")
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if text.replace(mark, ",").startswith(",".join(COLUMNS[:4])) and mark in text:
            return f"its columns are parted by {name}, not by commas"
    try:
        cells = next(csv.reader([text]), [])
    except csv.Error:
        return NO_SUCH_BEGINNING
    if len(set(cells) & set(COLUMNS)) < len(COLUMNS) / 2:
        return NO_SUCH_BEGINNING
    more = [cell(c) for c in cells if c not in COLUMNS]
    less = [c for c in COLUMNS if c not in cells]
    if more:
        return f"it has columns of another: {', '.join(more)}"
    if less:
        return f"it lacks columns: {', '.join(less)}"
    return "its columns are quoted, or in another order"


def _renewed(line: str) -> str:
    """A row of an older report with the columns of today."""
    cells = next(csv.reader([line]), [])
    return line if len(cells) == len(COLUMNS) else csv_row([*cells, ""])


def read_outcome(line: str, taxonomy: Taxonomy) -> Outcome | None:
    """The outcome of a finished row; None for a class that the taxonomy does not have, or for a
    line that is not a row.

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
