"""`sorter status` and `sorter journal export`: what the station did, from its journal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sorter.cli.options import LangName
from sorter.text import Lang, counted

if TYPE_CHECKING:
    from sorter.station.journal.history import Summary

_Journal = Annotated[
    Path | None,
    typer.Option(
        "--journal", envvar="SORTER_JOURNAL", help="The journal. [default: the user's state folder]"
    ),
]


def status(
    journal: _Journal = None,
    last: Annotated[int, typer.Option(help="Newest items to show.", min=0)] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", help="Until Ctrl-C: a live screen; piped, each change.")
    ] = False,
    reviewed: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            envvar="SORTER_REVIEWED",
            help="Count audited items by what sorter review filed here, not by the journal.",
        ),
    ] = None,
    lang: LangName = Lang.EN,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object on stdout; with --follow one each second.")
    ] = False,
) -> None:
    """Show what the station did: items by bin and state, the last ones, link, restarts.

    Example: sorter status --journal /var/lib/sorter/journal.sqlite --follow
    """
    from sorter.cli.watch import default_journal
    from sorter.display import status_screen
    from sorter.display.output import has_screen
    from sorter.station.journal.history import summarise

    file = journal or default_journal()
    names = status_screen.Names(lang)
    found = None
    if reviewed is not None:
        from sorter.review.log import read_audit

        found = read_audit(reviewed)
    if follow and as_json:
        status_screen.follow(file, last, lambda seen: typer.echo(_json(seen)), each_second=True)
    elif follow and has_screen():
        status_screen.show_live(file, last, names)
    elif follow:
        status_screen.follow(file, last, lambda seen: typer.echo(status_screen.text(seen, names)))
    else:
        seen = summarise(file, last=last)
        seen = replace(seen, audit=found or seen.audit)
        typer.echo(_json(seen) if as_json else status_screen.text(seen, names))


def export(
    csv: Annotated[Path, typer.Option(help="The file to write; replaced whole.")],
    journal: _Journal = None,
) -> None:
    """Write every item of the journal as CSV, times in ISO 8601 UTC.

    Example: sorter journal export --csv items.csv
    """
    import csv as table

    from sorter.cli.watch import default_journal
    from sorter.files import begins, open_report
    from sorter.station.journal.history import COLUMNS, read_items

    count = 0
    rows = read_items(journal or default_journal())
    ours = begins(",".join(COLUMNS[:4]).encode())
    with open_report(csv, option="--csv", ours=ours) as stream:
        writer = table.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            count += 1
            writer.writerow([_cell(row[name]) for name in COLUMNS])
    typer.echo(counted(count, "item"), err=True)


def _cell(value: Any) -> str:
    """Numbers as they are: a minus sign in front of one does not make a formula."""
    from sorter.text import cell

    return cell(value) if isinstance(value, str) else "" if value is None else str(value)


def _json(seen: Summary | str) -> str:
    if isinstance(seen, str):
        return json.dumps({"problem": seen}, ensure_ascii=False)
    counts: dict[str, dict[str, int]] = {}
    for (bin_key, state), count in sorted(seen.counts.items()):
        counts.setdefault(bin_key or "-", {})[state] = count
    pace, audit = seen.pace, seen.audit
    document = {
        "sid": seen.sid,
        "items": seen.items,
        "counts": counts,
        "starts": seen.starts,
        "unclean_stops": seen.unclean,
        "running": seen.live is not None,
        "station": seen.live,
        "per_minute": pace.per_minute,
        "respond_s": {"median": pace.respond[0], "max": pace.respond[1]} if pace.respond else None,
        "move_s": {"median": pace.move[0], "max": pace.move[1]} if pace.move else None,
        "audit": {"judged": audit.judged, "wrong": audit.wrong, "bound": audit.bound},
        "last": seen.last,
    }
    return json.dumps(document, ensure_ascii=False)
