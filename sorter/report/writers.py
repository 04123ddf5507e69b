"""Where the rows of `classify` go: its reports, its contact sheet, its folders.

Owns opening them together, writing to all of them, and what an earlier run left in them. Prints
nothing and classifies nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sorter.domain import Outcome, Policy, Taxonomy
from sorter.errors import ImageError, UsageError
from sorter.files import STDOUT, refuse_overlap, refuse_picture_name
from sorter.text import escape

if TYPE_CHECKING:
    from sorter.report.resumable import RowWriter

Formatter = Callable[[Outcome], str]
Thumbnail = Callable[[Path], bytes]
"""A small JPEG of a file; empty where it cannot be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user asked for. `read_from` are the paths given, `urls` whether any is a URL.

    `json` is whether rows are printed as well.
    """

    read_from: list[Path]
    urls: bool = False
    csv: Path | None = None
    jsonl: Path | None = None
    parquet: Path | None = None
    html: Path | None = None
    sort_into: Path | None = None
    link: bool = False
    resume: bool = False
    json: bool = False
    excel: bool = False
    lang: str = "en"

    @property
    def any(self) -> bool:
        """True where rows go anywhere but to the screen."""
        return any((self.csv, self.jsonl, self.parquet, self.html, self.sort_into))

    def check(self) -> None:
        """Raise UsageError for what cannot be, before anything is opened or written."""
        if self.excel and self.csv is None:
            raise UsageError("--excel says how to write a table: give --csv F too")
        if self.resume and self.csv is None and self.jsonl is None:
            raise UsageError("--resume needs a report to go on with: --csv F or --jsonl F")
        if self.resume and self.parquet is not None:
            raise UsageError("--resume cannot go on with a Parquet file; use --csv or --jsonl")
        if self.resume and self.urls and self.html is not None:
            raise UsageError("--html with --resume reads kept pictures again; it cannot read a URL")
        reports = {
            "--csv": self.csv,
            "--jsonl": self.jsonl,
            "--parquet": self.parquet,
            "--html": self.html,
        }
        named = {option: file for option, file in reports.items() if file is not None}
        for option, file in named.items():
            refuse_picture_name(file, option=option)
        printed = [option for option, file in named.items() if file == STDOUT]
        if printed and self.resume:
            raise UsageError(
                f"{printed[0]} -: what was printed cannot be gone on with; name a file"
            )
        if len(printed) + self.json > 1:
            raise UsageError(f"{printed[0]} -: only one thing can be printed; name a file")
        files = [file.absolute() for file in named.values()]
        if len(files) > len(set(files)):
            raise UsageError(f"{escape(str(files[0]))}: each report needs a file of its own")
        if self.sort_into is None:
            if self.link:
                raise UsageError("--link says how to file pictures: give --sort-into DIR too")
            return
        if self.urls:
            raise UsageError("--sort-into files pictures of this machine; it cannot file a URL")
        read = [path for path in self.read_from if path.is_dir()]
        refuse_overlap(self.sort_into, read, option="--sort-into")


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A path whose row an earlier run finished, and its line in each report."""

    path: Path
    lines: tuple[str, ...]


class Reports:
    """All of them, open; a context manager. Raises FolderError where one cannot be written.

    `thumbnail` draws the kept rows' pictures, which nobody has in memory. `complain` is told of a
    picture that vanished before it could be filed.
    """

    def __init__(
        self,
        wanted: Wanted,
        taxonomy: Taxonomy,
        policy: Policy,
        *,
        thumbnail: Thumbnail,
        complain: Callable[[str], None],
    ) -> None:
        self.not_filed = 0
        self._wanted, self._taxonomy, self._policy = wanted, taxonomy, policy
        self._thumbnail, self._complain = thumbnail, complain
        self._stack = ExitStack()

    def __enter__(self) -> Reports:
        from sorter.report import csv, jsonl

        wanted, lang = self._wanted, self._wanted.lang
        self._rows: list[tuple[RowWriter, Formatter]] = []
        self._sheet = self._table = self._folders = None
        with ExitStack() as stack:
            # First what is nothing yet, last what replaces the file of an earlier run.
            if wanted.sort_into is not None:
                from sorter.report.folders import SortedFolders

                self._folders = stack.enter_context(
                    SortedFolders(wanted.sort_into, link=wanted.link, lang=lang)
                )
            if wanted.html is not None:
                from sorter.report.cards import OutcomeSheet

                thresholds = self._policy.bin_thresholds
                self._sheet = stack.enter_context(
                    OutcomeSheet(wanted.html, self._taxonomy, thresholds, lang=lang)
                )
            if wanted.parquet is not None:
                from sorter.report.parquet import ParquetFile

                self._table = stack.enter_context(ParquetFile(wanted.parquet, lang=lang))
            if wanted.csv is not None:
                file = stack.enter_context(
                    csv.open_csv(wanted.csv, resume=wanted.resume, excel=wanted.excel)
                )
                self._rows.append((file, lambda o: csv.to_line(o, lang=lang)))
                self._read_outcome = csv.read_outcome
            if wanted.jsonl is not None:
                file = stack.enter_context(jsonl.open_jsonl(wanted.jsonl, resume=wanted.resume))
                self._rows.append((file, lambda o: jsonl.to_line(o, lang=lang)))
                self._read_outcome = jsonl.read_outcome
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *why: Any) -> None:
        self._stack.__exit__(*why)

    def mark_kept(self, paths: Iterable[Path]) -> Iterator[Path | KeptRow]:
        """Each path, or its finished rows where every report has one."""
        for path in paths:
            lines = [file.finished(str(path)) for file, _ in self._rows]
            whole = tuple(line for line in lines if line is not None)
            yield KeptRow(path, whole) if len(whole) == len(lines) else path

    def write(self, outcome: Outcome) -> None:
        """A row in each report. A picture is filed before its row says that it was classified."""
        self._place(outcome, getattr(outcome, "thumbnail", b""))
        for file, formatter in self._rows:
            file.write(formatter(outcome))
        if self._table is not None:
            self._table.write(outcome)

    @property
    def left_over(self) -> int:
        """Rows of earlier runs for pictures that were not asked for; known once all is closed."""
        return max((getattr(file, "left_over", 0) for file, _ in self._rows), default=0)

    def keep(self, kept: KeptRow) -> None:
        """The rows of an earlier run as they stand; what they say is filed and shown as well."""
        if self._folders is not None or self._sheet is not None:
            outcome = self._read_outcome(kept.lines[-1], self._taxonomy)
            if outcome is None:
                raise UsageError(
                    f"{escape(str(self._rows[-1][0].path))}: the row of "
                    f"{escape(str(kept.path))} names no class of this model; run without --resume"
                )
            image = self._thumbnail(kept.path) if self._sheet is not None else b""
            self._place(replace(outcome, path=kept.path), image)
        for (file, _), line in zip(self._rows, kept.lines, strict=True):
            file.write(line)

    def _place(self, outcome: Outcome, thumbnail: bytes) -> None:
        if self._folders is not None:
            try:
                self._folders.file(outcome)
            except ImageError as error:
                self.not_filed += 1
                self._complain(f"not filed: {escape(str(outcome.path))}: {error}")
        if self._sheet is not None:
            self._sheet.show(outcome, thumbnail, linked="://" not in str(outcome.path))
