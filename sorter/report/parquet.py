"""Outcomes as a Parquet file: the CSV's columns, numbers as numbers, names as they are.

Needs pyarrow, which comes with `sorter[ray]`. The file takes its place whole when the run has
ended: half a Parquet file cannot be read, so there is nothing to go on with either.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from sorter.domain import Outcome
from sorter.errors import FolderError, MissingExtraError, UsageError
from sorter.files import STDOUT, make_durable, part_name, place_for
from sorter.report import jsonl

GROUP = 8192
"""Rows in each row group."""


class ParquetFile:
    """One report being written; a context manager. Raises FolderError where the disk refuses."""

    def __init__(self, path: Path, *, lang: str = "en") -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError(
                "--parquet needs pyarrow, which is not installed: pip install 'sorter[ray]'"
            ) from error
        text, number = pyarrow.string(), pyarrow.float64()
        listed = pyarrow.list_(
            pyarrow.struct([("label", text), ("code", text), ("confidence", number)])
        )
        self._schema = pyarrow.schema(
            [
                ("path", text),
                ("status", text),
                ("label", text),
                ("code", text),
                ("confidence", number),
                ("bin", text),
                ("bin_confidence", number),
                ("top", listed),
                ("width", pyarrow.int32()),
                ("height", pyarrow.int32()),
                ("ms", number),
                ("error", text),
                ("reason", text),
            ]
        )
        self._parquet = parquet
        if path == STDOUT:
            raise UsageError("--parquet -: Parquet is not text to print; name a file")
        self.path = path = place_for(path, option="--parquet", ours=lambda _: self._is_ours(path))
        self._lang = lang
        self._rows: list[dict[str, Any]] = []
        self._part = path.with_name(part_name(path.name))
        self._table = pyarrow.Table
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(self._part, self._schema)
        except OSError as error:
            raise _refused(path, error) from error

    def _is_ours(self, path: Path) -> bool:
        try:
            names: list[str] = self._parquet.read_schema(path).names
        except (OSError, ValueError):  # pyarrow's own errors are ValueErrors
            return False
        # Reports from before rows said their reason are ours too.
        return names in (self._schema.names, self._schema.names[:-1])

    def write(self, outcome: Outcome) -> None:
        """Append one row."""
        self._rows.append(to_row(outcome, lang=self._lang))
        if len(self._rows) >= GROUP:
            self._flush()

    def __enter__(self) -> ParquetFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._part.unlink(missing_ok=True)
            return
        self._flush()
        try:
            self._writer.close()
            make_durable(self._part)
            self._part.replace(self.path)
            make_durable(self.path.parent)
        except OSError as error:
            raise _refused(self.path, error) from error

    def _flush(self) -> None:
        try:
            self._writer.write_table(self._table.from_pylist(self._rows, self._schema))
        except OSError as error:
            raise _refused(self.path, error) from error
        self._rows.clear()


def to_row(outcome: Outcome, *, lang: str = "en") -> dict[str, Any]:
    """One row as Parquet takes it; empty cells are null. Bytes that are not UTF-8 become U+FFFD."""
    row = jsonl.to_row(outcome, lang=lang)
    return row | {
        "path": os.fsencode(outcome.path).decode("utf-8", "replace"),
        "error": outcome.error.encode("utf-8", "replace").decode() or None,
        "reason": row.get("reason") or None,
    }


def _refused(path: Path, error: OSError) -> FolderError:
    return FolderError(f"{path}: cannot be written: {error.strerror or error}; name another")
