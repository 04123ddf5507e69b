"""`sorter status` and `sorter journal export`: what the station did, from its journal."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sorter.errors import EnvironmentFault

if TYPE_CHECKING:
    from sorter.station.history import Summary

_Journal = Annotated[
    Path | None,
    typer.Option(
        "--journal", envvar="SORTER_JOURNAL", help="The journal. [default: the user's state folder]"
    ),
]

FOLLOW_S = 1.0


def status(
    journal: _Journal = None,
    last: Annotated[int, typer.Option("--last", help="Newest items to show.", min=0)] = 10,
    follow: Annotated[bool, typer.Option("--follow", help="Again each second.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object on stdout.")] = False,
) -> None:
    """Show what the station did: items by bin and state, the last ones, link, restarts.

    Example: sorter status --journal /var/lib/sorter/journal.sqlite --follow
    """
    from sorter.cli.watch import default_journal
    from sorter.station.history import summarise

    file = journal or default_journal()
    while True:
        summary = summarise(file, last=last)
        if as_json:
            typer.echo(json.dumps(_document(summary), ensure_ascii=False))
        else:
            if follow and sys.stdout.isatty():
                sys.stdout.write("\x1b[2J\x1b[H")
            _show(summary)
        if not follow:
            return
        time.sleep(FOLLOW_S)


def export(
    csv: Annotated[Path, typer.Option("--csv", help="The file to write; replaced whole.")],
    journal: _Journal = None,
) -> None:
    """Write every item of the journal as CSV, times in ISO 8601 UTC.

    Example: sorter journal export --csv items.csv
    """
    import csv as table

    from sorter.cli.watch import default_journal
    from sorter.report.text import escape
    from sorter.station.history import COLUMNS, read_items

    part = csv.with_name(csv.name + ".part")
    count = 0
    rows = read_items(journal or default_journal())
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            writer = table.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in rows:
                count += 1
                row["path"], row["reason"] = escape(row["path"]), escape(row["reason"])
                writer.writerow([_cell(row[name]) for name in COLUMNS])
        part.replace(csv)
    except OSError as error:
        raise EnvironmentFault(f"{csv}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    typer.echo(f"{count} items", err=True)


def _cell(value: Any) -> Any:
    """A spreadsheet runs a text that begins like a formula; a quote in front makes it text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return "'" + value
    return "" if value is None else value


def _document(summary: Summary) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {}
    for (bin_key, state), count in sorted(summary.counts.items()):
        counts.setdefault(bin_key or "-", {})[state] = count
    return {
        "sid": summary.sid,
        "items": summary.items,
        "counts": counts,
        "starts": summary.starts,
        "unclean_stops": summary.unclean,
        "running": summary.live is not None,
        "station": summary.live,
        "last": summary.last,
    }


def _show(summary: Summary) -> None:
    from rich.console import Console
    from rich.markup import escape as no_markup
    from rich.table import Table

    from sorter.report.text import escape

    def safe(text: object) -> str:
        return no_markup(escape(str(text)))

    console = Console(soft_wrap=True)
    live = summary.live
    if live is None:
        console.print("station: not running")
    else:
        problems = live.get("problems") or []
        console.print(f"station: running, pid {safe(live.get('pid'))}, {safe(live.get('folder'))}")
        console.print(f"link: {safe(live.get('link'))} {safe(live.get('link_detail') or '')}")
        for problem in problems if isinstance(problems, list) else []:
            console.print(f"problem: {safe(problem)}")
    console.print(
        f"journal: {summary.items} items, started {summary.starts} times, "
        f"{summary.unclean} of them ended uncleanly"
    )
    states = sorted({state for _, state in summary.counts})
    if states:
        table = Table("bin", *states)
        for bin_key in sorted({b for b, _ in summary.counts}):
            cells = [str(summary.counts.get((bin_key, state), 0)) for state in states]
            table.add_row(safe(bin_key or "-"), *cells)
        console.print(table)
    for row in summary.last:
        console.print(
            f"{row['n']:>6} {row['done_at'] or row['arrived_at']} {row['state']:<11} "
            f"{safe(row['bin'] or '-'):<10} {safe(row['label'] or '-')} "
            f"{safe(Path(row['path']).name)} {safe(row['reason'])}"
        )


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command("status")(status)
    group = typer.Typer(help="The station's journal.", no_args_is_help=True)
    group.command("export")(export)
    # A group of one command needs a callback, or typer would fold it into its parent.
    group.callback()(_journal_group)
    app.add_typer(group, name="journal")


def _journal_group() -> None:
    """The station's journal."""
