"""`sorter report`: what a station did, in numbers. Parses, wires, prints."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sorter.cli.options import AsJson
from sorter.errors import UsageError
from sorter.text import Lang

if TYPE_CHECKING:
    from sorter.domain import Taxonomy

_UNITS_S = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def report(
    journal: Annotated[
        Path | None,
        typer.Option(
            envvar="SORTER_JOURNAL",
            help="The journal. [default: the user's state folder]",
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option(help="A date, such as 2026-11-20, or so long: 24h, 30d, 8w, all."),
    ] = "30d",
    by: Annotated[
        Literal["hour", "day", "week"], typer.Option(help="How long a period is.")
    ] = "day",
    station: Annotated[
        str | None, typer.Option(help="Only this one. [default: all in the journal]")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="F", help="Write a page with charts.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="F", help="Write a row a period.")] = None,
    excel: Annotated[
        bool, typer.Option("--excel", help="Begin --csv with a mark, so that Excel reads UTF-8.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar="SORTER_MODEL",
            help="The model: names of bins, and the card that the trend is held against.",
            show_default="the one that ships",
        ),
    ] = None,
    lang: Annotated[Lang, typer.Option(help="Language of the report.")] = Lang.EN,
    as_json: AsJson = False,
) -> None:
    """Sum up a journal: items by the bin they moved to, the unsure and why, and the trend.

    Days are those of this machine's time zone. Empty trays and unknown objects are counted apart
    from items. The last line says whether it is time to teach the model this place.

    Example: sorter report --since 7d --html week.html
    """
    from sorter.cli.watch import default_journal
    from sorter.display.numbers import text
    from sorter.files import begins, open_report
    from sorter.report.csv import BOM
    from sorter.report.numbers import (
        By,
        Period,
        Release,
        begin,
        csv_columns,
        csv_rows,
        numbers,
        to_dict,
    )
    from sorter.report.numbers_page import write_page
    from sorter.station.journal.history import read_counts
    from sorter.text import cell, csv_row

    if excel and csv is None:
        raise UsageError("--excel says how to write a table: give --csv F too")
    file, period = journal or default_journal(), By(by)
    counted = read_counts(
        file, lambda hour: begin(hour, period), since=_moment(since), station=station
    )
    taxonomy, card = _model(model)
    names = _Names(taxonomy, lang)
    found = numbers(counted, by=period, bins=names.keys, release=Release.of(card))
    if html is not None:
        write_page(html, found, lang=lang.value, bin_name=names.bin, class_name=names.item)
    if csv is not None:
        heads = ",".join(list(Period().to_row())[:3]).encode()
        with open_report(csv, option="--csv", ours=begins(heads, BOM.encode() + heads)) as out:
            out.write(BOM if excel else "")
            out.write(csv_row(map(cell, csv_columns(found))))
            out.writelines(map(csv_row, csv_rows(found)))
    if as_json:
        typer.echo(json.dumps(to_dict(found), ensure_ascii=False))
    elif Path("-") not in (html, csv):
        typer.echo(text(found, lang=lang.value, bin_name=names.bin, class_name=names.item))


class _Names:
    """Names of bins and classes in a language; the journal's own where the model has none."""

    def __init__(self, taxonomy: Taxonomy, lang: Lang) -> None:
        from sorter.text import named

        self.keys = [b.key for b in taxonomy.bins]
        self._bins = {b.key: named(b, lang) for b in taxonomy.bins}
        self._items = {c.name: named(c, lang) for c in taxonomy.categories}

    def bin(self, key: str) -> str:
        return self._bins.get(key, key)

    def item(self, label: str) -> str:
        return self._items.get(label, label)


def _model(model: Path | None) -> tuple[Taxonomy, Mapping[str, Any]]:
    """The classes and bins of the model, and its card."""
    from sorter.taxonomy import default_taxonomy
    from sorter.vision.bundle import default_bundle, open_bundle, read_card

    if model is None:  # It ships with these classes; to open it would take a large file's digest.
        return default_taxonomy(), read_card(default_bundle() / "card.json")
    bundle = open_bundle(model)
    return bundle.taxonomy, bundle.card


def _moment(since: str) -> float:
    """Unix time. UsageError for what is no time."""
    if since == "all":
        return 0.0
    match = re.fullmatch(r"(\d+)([hdw])", since)
    if match is not None:
        return max(0.0, time.time() - int(match[1]) * _UNITS_S[match[2]])
    try:
        return datetime.fromisoformat(since).astimezone().timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"--since {since}: give a date, such as 2026-11-20, or so long: 24h, 30d, 8w, all"
        ) from error
