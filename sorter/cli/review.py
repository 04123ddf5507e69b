"""`sorter review`: label unsure pictures on a local page. Parses, wires `sorter.review`, prints."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorter.cli.options import LangName, ModelFolder
from sorter.domain import Category, Taxonomy
from sorter.errors import FolderError, SorterError
from sorter.files import refuse_overlap
from sorter.host.cores import calm_blas
from sorter.host.signals import handled
from sorter.text import Lang

if TYPE_CHECKING:
    from sorter.review.looks import Read
    from sorter.review.server import ReviewServer
    from sorter.teach.features import FeatureReader


def review(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Pictures to label: a station's --keep-unsure, or any folder."
        ),
    ],
    into: Annotated[
        Path, typer.Option("--into", help="Data folder for sorter train; made if missing.")
    ],
    model: ModelFolder = None,
    taxonomy: Annotated[
        Path | None, typer.Option("--taxonomy", help="Other classes.", show_default="the model's")
    ] = None,
    teach: Annotated[
        Path | None,
        typer.Option(
            "--teach",
            metavar="NEW",
            help="Offer to teach the model what was labelled, into this folder, with one key.",
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            envvar="SORTER_JOURNAL",
            help="The station's journal, told what was found of audited items.",
            show_default="the user's, where there is one",
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Show those skipped in earlier sittings too.")
    ] = False,
    host: Annotated[
        str, typer.Option("--host", help="Address to serve on; others than this machine: 0.0.0.0.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0: any free one.")
    ] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    lang: LangName = Lang.EN,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines: the address, then the totals.")
    ] = False,
) -> None:
    """Label pictures on a local page, one key each, into a folder that sorter train reads.

    Keys: 1 2 3 the likeliest classes, letters to find another and Enter to take it, 9 none of
    these, 0 the empty tray, = to answer for those that look alike too, Space to skip, Backspace to
    undo, 8 teach now (--teach). Pictures that sorter watch --audit kept come first and without the
    station's answer; then what teaches most: unsure, and like many others. DIR is never written to.
    What was answered is kept at once, so that Ctrl-C loses nothing and the next start goes on. The
    address holds a secret: anyone who has it may label.

    Exit code 1 where some pictures could not be shown.

    Example: sorter review /var/lib/sorter/ring --into corrected --teach site
    """
    if teach is not None:
        calm_blas()
    from sorter.cli.teach import teach_reviewed
    from sorter.cli.watch import default_journal
    from sorter.review.log import ReviewLog, read_audit
    from sorter.review.looks import Looks
    from sorter.review.page import Page
    from sorter.review.queue import Queue
    from sorter.review.server import ReviewServer
    from sorter.review.shelf import Shelf
    from sorter.review.words import of
    from sorter.station.journal.verdicts import write_verdict
    from sorter.vision.bundle import refuse_foreign

    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder of pictures; name a station's --keep-unsure")
    refuse_overlap(into, [folder], option="--into")
    if teach is not None:
        refuse_foreign(teach, option="--teach")
    said = of(lang)
    words, suggest = _open_model(model, taxonomy)
    shelf = Shelf(into, words)
    file = journal or default_journal()
    tell = functools.partial(write_verdict, file) if journal or file.exists() else None
    with ReviewLog(into) as book, contextlib.ExitStack() as stack:
        learn = functools.partial(teach_reviewed, into, model, teach, lang) if teach else None
        looks = stack.enter_context(Looks(_reader(model)))
        queue = Queue(folder, shelf, book, again=again, looks=looks, tell=tell)
        page = Page(queue, words, suggest, lang=lang, teach=learn)
        with ReviewServer(page, host=host, port=port) as server:
            _announce(server, host, said, as_json=as_json, browser=not no_open)
            try:
                # Finish on the page or SIGTERM end it, Ctrl-C by KeyboardInterrupt.
                with handled(signal.SIGTERM, by=lambda _: server.finish()):
                    server.serve_forever(poll_interval=0.1)
            finally:
                # Takes the page's lock: an answer under way is finished before the log is closed.
                totals = page.totals()
                _close(totals, into, said, as_json=as_json)
    audit = read_audit(into)
    if audit.judged and not as_json:
        typer.echo(said["site"].format(audit=audit.told(lang)))
    if totals["broken"]:
        raise typer.Exit(1)


def _open_model(
    model: Path | None, taxonomy: Path | None
) -> tuple[Taxonomy, Callable[[bytes], Sequence[tuple[Category, float]]]]:
    """The classes, and what suggests them. Without a model the names of the ring must do."""
    from sorter.review.page import CHOICES
    from sorter.taxonomy import default_taxonomy, read_taxonomy
    from sorter.vision.model import open_model

    given = read_taxonomy(taxonomy) if taxonomy else None
    try:
        opened = open_model(model)
    except SorterError as error:
        if model is not None:
            raise
        typer.echo(f"sorter: no suggestions: {error}", err=True)
        return given or default_taxonomy(), lambda _: ()

    def suggest(data: bytes) -> list[tuple[Category, float]]:
        scores = opened.predict(data).probabilities
        pairs = zip(opened.taxonomy.categories, scores, strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])[:CHOICES]

    return given or opened.taxonomy, suggest


def _reader(model: Path | None) -> Read:
    """What reads a picture's features; nothing of a network that has none. Opened when first
    asked, so that the page is there at once."""
    from sorter.review.looks import Look

    @functools.cache
    def opened() -> FeatureReader | None:
        from sorter.teach.features import FeatureReader
        from sorter.teach.teacher import best_precision
        from sorter.vision.bundle import default_bundle, model_file, open_bundle

        try:
            bundle = open_bundle(model or default_bundle())
            xml = model_file(bundle, best_precision(bundle))
            return FeatureReader(xml, len(bundle.taxonomy.categories))
        except SorterError:
            return None

    def read(path: Path) -> Look | None:
        reader = opened()
        shot = reader.of_file(path) if reader is not None else None
        if shot is None or shot.features is None:
            return None
        return Look(shot.sha256, shot.features)

    return read


def _announce(
    server: ReviewServer, host: str, said: Mapping[str, str], *, as_json: bool, browser: bool
) -> None:
    import ipaddress
    import webbrowser

    typer.echo(json.dumps({"url": server.url}) if as_json else server.url)
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        typer.echo(f"sorter: {said['outside'].format(host=host)}", err=True)
    typer.echo(f"sorter: {said['to end']}", err=True)
    # Without a display webbrowser would start a text browser in this very terminal.
    if browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(server.url)


def _close(totals: dict[str, int], into: Path, said: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(totals))
        return
    typer.echo(said["total"].format(into=into, **totals))
