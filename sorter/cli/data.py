"""`sorter data check`: is this data fit to train on?"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sorter.cli.options import AsJson
from sorter.errors import UsageError
from sorter.files import STDOUT
from sorter.text import counted

if TYPE_CHECKING:
    from sorter.dataset.check import Pair, Report

SHOWN = 10
"""Lines of each kind on the screen; --json has all."""


def check(
    data: Annotated[Path, typer.Argument(help="DATA/{train,val}/<class>/ or DATA/<class>/.")],
    extra: Annotated[list[Path] | None, typer.Option(help="More: DIR/<source>/<class>/.")] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="Other classes and bins, a TOML file.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="oof.npz of a training run, to find wrong labels."),
    ] = None,
    groups_out: Annotated[
        Path | None,
        typer.Option(help="Write path,group here, for train --groups."),
    ] = None,
    keypoints: Annotated[
        bool, typer.Option("--keypoints/--no-keypoints", help="Compare keypoints too (OpenCV).")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Find unreadable pictures, leaks between splits, duplicates, rare classes, label conflicts.

    Exit code 1 where something was found that makes figures dishonest or a picture useless.

    Example: sorter data check pictures --groups-out groups.csv
    """
    from sorter.dataset.check import check as look
    from sorter.dataset.duplicates import has_keypoints
    from sorter.dataset.layout import note_loose, read_extra, read_labelled
    from sorter.taxonomy import default_taxonomy, read_taxonomy

    printed = groups_out == STDOUT
    if printed and as_json:
        raise UsageError("--groups-out -: only one thing can be printed; name a file")
    words = read_taxonomy(taxonomy) if taxonomy else default_taxonomy()
    read = {data: read_labelled(data, words)}
    read |= {folder: read_extra(folder, words) for folder in extra or []}
    samples = [sample for part in read.values() for sample in part]
    for line in filter(None, (note_loose(folder, part) for folder, part in read.items())):
        typer.echo(line, err=True)
    if keypoints and not has_keypoints():
        typer.echo(
            "OpenCV is not installed: crops and flips go unseen (pip install 'sorter[train]')",
            err=True,
        )
    from rich.console import Console
    from rich.progress import Progress

    screen = Console(stderr=True)
    # Off a terminal it would leave an empty line.
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("comparing", total=None)
        report = look(
            samples,
            words,
            predictions=predictions,
            keypoints=keypoints and has_keypoints(),
            tick=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if groups_out is not None:
        _write_groups(groups_out, report)
    if as_json:
        typer.echo(json.dumps(_document(report), ensure_ascii=False))
    else:
        _show(report, err=printed)
    if not report.is_clean:
        raise typer.Exit(1)


def _write_groups(file: Path, report: Report) -> None:
    """Paths are relative to the file's folder where they lie below it, otherwise absolute."""
    import csv
    import os

    from sorter.files import begins, open_report
    from sorter.text import cell

    home = file.parent.resolve()
    # Paths keep bytes that are not UTF-8: `read_groups` takes them back.
    with open_report(file, option="--groups-out", ours=begins(b"path,group")) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "group"))
        for path, group in report.groups.items():
            whole = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as named.
            place = str(whole.relative_to(home) if whole.is_relative_to(home) else whole)
            # A spreadsheet would run a name that begins like a formula; ./ changes no path.
            writer.writerow((f"./{place}" if cell(place).startswith("'") else place, group))


def _document(report: Report) -> dict[str, Any]:
    def pairs(found: tuple[Pair, ...]) -> list[dict[str, Any]]:
        return [
            {
                "first": str(p.first),
                "second": str(p.second),
                "kind": p.kind.value,
                "score": round(p.score, 3),
            }
            for p in found
        ]

    return {
        "pictures": report.pictures,
        "photographs": len(set(report.groups.values())),
        "unreadable": [{"path": str(p), "why": why} for p, why in report.unreadable],
        "leaked": [str(p) for p in report.leaked],
        "leaks": pairs(report.leaks),
        "conflicts": pairs(report.conflicts),
        "duplicates": pairs(report.duplicates),
        "counts": report.counts,
        "rare": list(report.rare),
        "missing": list(report.missing),
        "doubts": [
            {
                "path": str(d.path),
                "label": d.label,
                "probability": round(d.probability, 5),
                "likelier": d.likelier,
            }
            for d in report.doubts
        ],
        "keypoints": report.keypoints,
    }


def _show(report: Report, *, err: bool) -> None:
    from sorter.text import escape

    say = functools.partial(typer.echo, err=err)

    def lines(title: str, rows: list[str]) -> None:
        say(f"{title}: {len(rows)}")
        for row in rows[:SHOWN]:
            say(f"  {row}")
        if len(rows) > SHOWN:
            say(f"  … and {len(rows) - SHOWN} more (--json has all)")

    def pair(p: Pair) -> str:
        return f"{escape(str(p.first))} ~ {escape(str(p.second))} ({p.kind.value}, {p.score:.2f})"

    photographs = counted(len(set(report.groups.values())), "photograph")
    say(f"{counted(report.pictures, 'picture')}, {photographs}")
    lines("unreadable", [f"{escape(str(p))}: {why}" for p, why in report.unreadable])
    say(f"validation pictures with a sibling elsewhere: {len(report.leaked)}")
    lines("leaks", [pair(p) for p in report.leaks])
    lines("label conflicts", [pair(p) for p in report.conflicts])
    lines("duplicates", [pair(p) for p in report.duplicates])
    for title, names in (("rare classes", report.rare), ("classes without", report.missing)):
        if names:
            say(f"{title}: {', '.join(names)}")
    if report.doubts:
        lines(
            "doubtful labels",
            [
                f"{escape(str(d.path))}: {d.label} has {d.probability:.3f}, rather {d.likelier}"
                for d in report.doubts
            ],
        )
