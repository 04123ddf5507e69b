"""`sorter evaluate`: labelled folders in, honest figures out, each precision beside the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorter.cli.options import AsJson, Jobs, ModelFolder
from sorter.domain import Prediction
from sorter.errors import DataError, ImageError, UsageError
from sorter.text import Lang, counted

if TYPE_CHECKING:
    from sorter.dataset.layout import Sample
    from sorter.vision.bundle import Bundle
    from sorter.vision.evaluate import Evaluation


class Split(StrEnum):
    """Which pictures to judge on."""

    AUTO = "auto"
    TEST = "test"
    VAL = "val"
    TRAIN = "train"
    ALL = "all"


_DESCRIBED = {
    Split.TEST: "the test split",
    Split.VAL: "the validation split",
    Split.TRAIN: "the training split",
    Split.ALL: "all pictures",
}


class Judged(StrEnum):
    """Which network of the bundle to judge."""

    TORCH = "torch"
    FP16 = "fp16"
    INT8 = "int8"


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(help="DATA/{train,val,test}/<class>/, DATA/<class>/ or DATA/<source>/…."),
    ],
    model: ModelFolder = None,
    split: Annotated[
        Split, typer.Option(help="auto: test, or val, or all: the first there is.")
    ] = Split.AUTO,
    sources: Annotated[
        bool, typer.Option("--sources", help="DATA holds DATA/<source>/<class>/.")
    ] = False,
    unknown: Annotated[Path | None, typer.Option(help="Pictures of none of the classes.")] = None,
    precision: Annotated[
        list[Judged] | None,
        typer.Option(help="Repeatable.", show_default="all that can run"),
    ] = None,
    mistakes: Annotated[
        Path | None, typer.Option(help="Write the wrong ones to this CSV file.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of the wrong ones.")
    ] = None,
    lang: Annotated[Lang, typer.Option(help="Names of classes in --html.")] = Lang.EN,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Judge a model on labelled pictures: accuracy by class and by bin, calibration, coverage.

    With --unknown, also how well it leaves unknown objects unsure. Torch is judged too where it
    is installed and the bundle carries its checkpoint.

    Example: sorter evaluate pictures --unknown unknown --json
    """
    from sorter.dataset.layout import note_loose, read_extra, read_labelled, read_unknown
    from sorter.files import refuse_picture_name
    from sorter.report.mistakes import Wrong, find_wrong, write_csv, write_sheet
    from sorter.vision.bundle import default_bundle, open_bundle
    from sorter.vision.evaluate import evaluate as judge
    from sorter.vision.evaluate import to_dict

    for file in (mistakes, html):
        if file is not None:
            refuse_picture_name(file)
    bundle = open_bundle(model or default_bundle())
    reader = read_extra if sources else read_labelled
    labelled = reader(data, bundle.taxonomy)
    split, samples = _choose(labelled, split, data)
    unknowns = read_unknown(unknown) if unknown else []
    for folder, part in ((data, labelled), (unknown, unknowns)):
        if folder is not None and (line := note_loose(folder, part)):
            typer.echo(line, err=True)
    engines = precision or _available(bundle)
    results: dict[str, Evaluation] = {}
    broken: dict[Path, str] = {}
    wrong: list[Wrong] = []
    for engine in engines:
        paths = [s.path for s in (*samples, *unknowns)]
        found = _predict(engine, paths, bundle, jobs)
        broken |= {
            p: str(f) for p, f in zip(paths, found, strict=True) if isinstance(f, ImageError)
        }
        whole = [
            (s, f)
            for s, f in zip((*samples, *unknowns), found, strict=True)
            if isinstance(f, Prediction)
        ]
        known = [(s, f) for s, f in whole if s.index >= 0]
        if not known:
            raise DataError(
                f"{data}: no picture could be opened; look with: sorter data check {data}"
            )
        result = judge(
            [s.index for s, _ in known],
            [f for _, f in known],
            bundle.taxonomy,
            bundle.policy,
            unknown=[f for s, f in whole if s.index < 0],
            temperature=bundle.temperature,
        )
        if not (results or as_json):
            typer.echo(f"judged on {_DESCRIBED[split]} of {data}")
        results[engine.value] = result
        wrong += find_wrong(engine.value, whole, bundle)
        if not as_json:
            _show(engine, result)
    if as_json:
        document = {
            name: {**to_dict(result), "split": split.value} for name, result in results.items()
        }
        typer.echo(json.dumps(document, ensure_ascii=False))
    elif len(results) > 1:
        _compare(results)
    for path, why in sorted(broken.items()):
        typer.echo(f"left out {str(path)!r}: {why}", err=True)
    if mistakes is not None:
        write_csv(mistakes, wrong)
    if html is not None:
        write_sheet(html, wrong, broken, bundle, lang=lang.value)
    typer.echo(
        f"judged on {_DESCRIBED[split]} of {data}: {counted(len(samples), 'picture')}", err=True
    )
    if broken:
        raise typer.Exit(1)


def _choose(samples: Sequence[Sample], split: Split, data: Path) -> tuple[Split, list[Sample]]:
    """The split to judge on, `AUTO` decided, and its samples. Raises UsageError for none."""
    if split is Split.AUTO:
        there = {s.split for s in samples}
        split = next((s for s in (Split.TEST, Split.VAL) if s.value in there), Split.ALL)
    chosen = [s for s in samples if split.value in (Split.ALL, s.split)]
    if not chosen:
        raise UsageError(f"{data}: holds no {split.value}/ folder; choose another --split")
    return split, chosen


def _available(bundle: Bundle) -> list[Judged]:
    """What this machine can run of this bundle, the original first."""
    engines = [Judged(p) for p in ("fp16", "int8") if p in bundle.precisions]
    if (bundle.path / "checkpoint.pt").is_file() and find_spec("torch") is not None:
        engines.insert(0, Judged.TORCH)
    return engines


def _predict(
    engine: Judged, paths: Sequence[Path], bundle: Bundle, jobs: int | None
) -> list[Prediction | ImageError]:
    if engine is Judged.TORCH:
        from sorter.cli.train import torch_predictions

        return torch_predictions(bundle.path / "checkpoint.pt", paths)
    from sorter.vision.batch import predict

    return list(predict(paths, bundle, precision=engine.value, jobs=jobs))


def _show(engine: Judged, result: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{engine.value} puts {result.bin_accuracy:.0%} of the pictures into the right bin; asked "
        f"to be sure, it leaves {1 - result.coverage:.0%} unsure and has "
        f"{result.wrong_bin_rate:.1%} of the others in a wrong bin",
        soft_wrap=True,
    )
    console.print(
        f"{engine.value}: {counted(result.n, 'picture')}, label {result.label_accuracy:.2%}, "
        f"bin {result.bin_accuracy:.2%}, macro-F1 {result.macro_f1:.3f}, "
        f"ECE {result.ece:.3f} ({result.ece_uncalibrated:.3f} before calibration)"
    )
    console.print(
        f"sorted {result.coverage:.1%}, of which {result.wrong_bin_rate:.2%} in a wrong bin"
    )
    if result.unknown is not None:
        console.print(
            f"unknown: {counted(result.unknown.n, 'picture')}, "
            f"{result.unknown.unsure:.1%} left unsure, AUROC {result.unknown.auroc:.3f}"
        )
    table = Table("class", "n", "recall", "precision", "F1")
    for group in (*result.by_bin, *result.by_class):
        if group.n:
            table.add_row(
                group.name,
                *(str(group.n), f"{group.recall:.1%}", f"{group.precision:.1%}", f"{group.f1:.2f}"),
            )
    console.print(table)
    for pair in result.confused:
        console.print(f"{pair.n} x {pair.truth.name} called {pair.called.name}")

    curve = Table("if every threshold were", "sorted", "of which in a wrong bin")
    for point in result.curve:
        curve.add_row(
            f"{point.threshold:g}", f"{point.coverage:.1%}", f"{point.wrong_bin_rate:.2%}"
        )
    console.print(curve)


def _compare(results: Mapping[str, Evaluation]) -> None:
    """What was judged, side by side."""
    from rich.console import Console
    from rich.table import Table

    rows: list[tuple[str, list[str]]] = [
        ("label accuracy", [f"{r.label_accuracy:.2%}" for r in results.values()]),
        ("bin accuracy", [f"{r.bin_accuracy:.2%}" for r in results.values()]),
        ("macro-F1", [f"{r.macro_f1:.3f}" for r in results.values()]),
        ("ECE", [f"{r.ece:.3f}" for r in results.values()]),
        ("sorted", [f"{r.coverage:.1%}" for r in results.values()]),
        ("wrong bin", [f"{r.wrong_bin_rate:.2%}" for r in results.values()]),
    ]
    unknowns = [r.unknown for r in results.values() if r.unknown is not None]
    if unknowns:
        rows.append(("unknown left unsure", [f"{u.unsure:.1%}" for u in unknowns]))
        rows.append(("unknown AUROC", [f"{u.auroc:.3f}" for u in unknowns]))
    table = Table("", *results)
    for name, cells in rows:
        table.add_row(name, *cells)
    Console().print(table)
