"""Outcomes as JSON lines: one object per picture, numbers as numbers, names as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sorter.domain import Decision, Outcome, Status, Taxonomy
from sorter.report.resumable import Rows, RowWriter, open_rows
from sorter.text import named


def open_jsonl(path: Path, *, resume: bool = False) -> RowWriter:
    """A report to write `to_line`s into. Raises as `open_rows`."""
    rows = Rows("", read_row, read_row, torn='{"path": "')
    return open_rows(path, rows, option="--jsonl", resume=resume)


def to_row(outcome: Outcome, *, lang: str = "en") -> dict[str, Any]:
    """The CSV's columns, and `reason`, `unknown`, `bin_number`, as values."""
    path = os.fspath(outcome.path)
    row: dict[str, Any] = {"path": path, "status": outcome.status.value}
    decision = outcome.decision
    if decision is not None:
        row |= {
            "label": named(decision.label, lang),
            "code": decision.label.code,
            "confidence": round(decision.confidence, 6),
            "bin": named(decision.bin, lang),
            "bin_number": decision.bin.number,
            "bin_confidence": round(decision.bin_confidence, 6),
            "reason": decision.reason.value,
            "unknown": round(decision.unknown, 6),
            "top": [
                {"label": named(item, lang), "code": item.code, "confidence": round(p, 6)}
                for item, p in decision.top
            ],
            "width": outcome.width_px,
            "height": outcome.height_px,
        }
    return row | {"ms": round(outcome.elapsed_ms, 3), "error": outcome.error}


def to_line(outcome: Outcome, *, lang: str = "en") -> str:
    """One object with its newline.

    A name that is not UTF-8 keeps its bytes as the escapes `\\udc80` to `\\udcff`, which Python
    reads back (`os.fsencode`).
    """
    row = to_row(outcome, lang=lang)
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(row)
    # JSON allows these two inside a text; many readers of lines do not.
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029") + "\n"


def read_row(line: str) -> tuple[str, bool] | None:
    """The path of a row and whether it is finished (not an error); None for anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("path"), str):
        return None
    status = row.get("status")
    if status not in list(Status):
        return None
    return row["path"], status != Status.ERROR.value


def read_outcome(line: str, taxonomy: Taxonomy) -> Outcome | None:
    """The outcome of a finished row, as `csv.read_outcome`."""
    row = json.loads(line)
    try:
        item = taxonomy.find(row["code"])
        if item is None:
            return None
        status = Status(row["status"])
        sure, bin_sure = float(row["confidence"]), float(row["bin_confidence"])
        decision = Decision(status, item, sure, taxonomy.bin_of(item), bin_sure)
        width, height = int(row["width"]), int(row["height"])
        return Outcome(Path(row["path"]), status, decision, width, height, float(row["ms"]))
    except (AttributeError, KeyError, TypeError, ValueError):  # somebody's hand was in the file
        return None
