"""`sorter classify`: pictures in, one row per picture out.

Parses, wires vision to report, and prints; decides nothing about pictures or rows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sorter.cli.options import LangName, ModelFolder, Precision, PrecisionName
from sorter.domain import Outcome
from sorter.errors import FolderError, UsageError
from sorter.report.writers import Formatter, KeptRow, Reports, Wanted
from sorter.text import Lang, escape, named, pad


class Engine(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    RAY = "ray"


def _given(text: str) -> Path:
    """A URL keeps its slashes, which a Path would lose."""
    if not text:  # an unset variable, which as a Path would be this folder
        raise UsageError("an empty PATH; name pictures or folders, . for this one")
    if "://" not in text:
        return Path(text)
    from sorter.distributed.urls import address, is_url

    return address(text) if is_url(text) else Path(text)


def classify(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Pictures and folders of pictures; with --engine ray also URLs.",
            show_default=False,
            parser=_given,
        ),
    ],
    csv: Annotated[
        Path | None, typer.Option(metavar="F", help="Write rows to this CSV file.")
    ] = None,
    excel: Annotated[
        bool, typer.Option("--excel", help="Begin --csv with a mark, so that Excel reads UTF-8.")
    ] = False,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="F", help="Write JSON lines to this file.")
    ] = None,
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Write a Parquet file (needs sorter[ray])."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Write a contact sheet: one page, by bin."),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy pictures to DIR/<bin>/<label>/."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="With --sort-into: hard links instead of copies.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead of text.")] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive/--flat", help="Look into folders inside folders.")
    ] = True,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep every row that F already holds; retry its errors."),
    ] = False,
    model: ModelFolder = None,
    precision: PrecisionName = Precision.INT8,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0.0,
            max=1.0,
            help="Bin confidence below which a picture is unsure.",
            show_default="the model's own, per bin",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=0, max=1000, help="Classes listed a row.")] = 3,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Worker threads; with --engine ray, actors.",
            show_default="the usable cores",
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="This machine, or a Ray cluster (needs sorter[ray]).")
    ] = Engine.LOCAL,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse larger pictures unopened.")
    ] = 200_000_000,
    lang: LangName = Lang.EN,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no closing table.")
    ] = False,
) -> None:
    """Classify pictures: a row for every file that looks like one, failures included.

    Rows come in the order of their paths. Without a report or --sort-into they are printed.
    Files and folders whose names start with a dot, links to folders, and the housekeeping folders
    of a NAS or a desktop (@eaDir, #recycle, $RECYCLE.BIN, __MACOSX, lost+found) are skipped.
    --sort-into moves and overwrites nothing; DIR/filed.csv says where each file came from.
    Exit code 1: done, but some pictures could not be read.

    Example: sorter classify photos/ --csv out.csv --resume
    """
    from sorter.distributed.urls import Address

    for path in paths:
        if isinstance(path, Address):
            if engine is not Engine.RAY:
                raise UsageError(f"{_shown(path)}: a URL needs --engine ray")
        elif not path.exists() and not path.is_symlink():
            raise FolderError(f"{_shown(path)}: no such file or folder")
    wanted = Wanted(
        read_from=[path for path in paths if not isinstance(path, Address)],
        urls=any(isinstance(path, Address) for path in paths),
        csv=csv,
        jsonl=jsonl,
        parquet=parquet,
        html=html,
        sort_into=sort_into,
        link=link,
        resume=resume,
        json=json,
        excel=excel,
        lang=lang,
    )
    wanted.check()

    from dataclasses import replace

    from sorter.display.summary import BatchSummary
    from sorter.report import jsonl as jsonl_report
    from sorter.vision import batch, images, thumbnail
    from sorter.vision.bundle import default_bundle, open_bundle
    from sorter.vision.decide import with_min_confidence

    find, work = images.find, batch.classify
    if engine is Engine.RAY:
        from sorter.distributed import cluster, urls

        cluster.require()
        find, work = urls.find, cluster.classify
    bundle = open_bundle(model or default_bundle())
    policy = replace(bundle.policy, top=top)
    if min_confidence is not None:
        policy = with_min_confidence(policy, min_confidence)

    with ExitStack() as stack:
        out = sys.stdout
        reports = stack.enter_context(
            Reports(
                wanted,
                bundle.taxonomy,
                policy,
                thumbnail=lambda path: thumbnail.of_file(
                    path, bundle.size_px, max_pixels=max_pixels
                ),
                complain=lambda text: typer.echo(text, err=True),
            )
        )
        if engine is Engine.RAY:
            # Ray prints what happens on the cluster to stdout, which is for results alone.
            stack.enter_context(redirect_stdout(sys.stderr))
        show: Formatter | None = None
        if json:
            show = lambda o: jsonl_report.to_line(o, lang=lang)  # noqa: E731
        elif not wanted.any:
            show = lambda o: _readable(o, lang)  # noqa: E731

        summary = BatchSummary(bundle.taxonomy, lang=lang)
        listing = find(paths, recursive=recursive, leave_out=summary.leave_out)
        items = reports.mark_kept(listing) if resume else listing
        results = stack.enter_context(
            closing(
                work(
                    items,
                    bundle,
                    precision=precision.value,
                    policy=policy,
                    jobs=jobs,
                    max_pixels=max_pixels,
                    thumbnails=html is not None,
                )
            )
        )
        progress = None
        if not quiet and sys.stderr.isatty() and show is None:
            from sorter.display.progress import Progress

            progress = stack.enter_context(
                Progress(lambda: sum(1 for _ in find(paths, recursive=recursive)))
            )
        if wanted.csv is not None or wanted.jsonl is not None:
            stack.enter_context(_naming_resume())
        for result in results:
            if isinstance(result, KeptRow):
                reports.keep(result)
                summary.kept += 1
            else:
                reports.write(result)
                if show is not None:
                    out.write(show(result))
                    out.flush()
                summary.add(result)
            if progress is not None:
                progress.advance()
    summary.left_over = reports.left_over
    if not quiet:
        sys.stderr.write(summary.table())
    left_out = summary.left_out()
    if left_out:
        typer.echo(f"sorter: {left_out}", err=True)
    if not summary.pictures and not left_out:
        where = ", ".join(_shown(path) for path in paths)
        typer.echo(f"sorter: {where}: holds no pictures", err=True)
    if summary.errors or reports.not_filed or not summary.pictures:
        raise typer.Exit(1)


@contextmanager
def _naming_resume() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("sorter: the same command with --resume goes on from here", err=True)
        raise


def _readable(outcome: Outcome, lang: Lang) -> str:
    """One line for a person: status, bin, label and the name last, so that columns line up."""
    decision = outcome.decision
    if decision is None:
        return f"{outcome.status:<7} {_shown(outcome.path)}: {escape(outcome.error)}\n"
    place, label = named(decision.bin, lang), named(decision.label, lang)
    why = f"  ({decision.reason.value.replace('_', ' ')})" if decision.reason else ""
    return (
        f"{outcome.status:<7} {pad(place, 11)} {decision.bin_confidence:4.2f}  "
        f"{pad(label, 20)} {decision.confidence:4.2f}  {_shown(outcome.path)}{why}\n"
    )


def _shown(path: Path) -> str:
    return escape(str(path))
