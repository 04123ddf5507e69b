"""`sorter bundle map`: other bins for a model's classes, without training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorter.cli.options import AsJson, ModelFolder
from sorter.errors import UsageError
from sorter.text import escape

if TYPE_CHECKING:
    from sorter.domain import Bin, Taxonomy


def change_map(
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="CLASS=BIN...", help="A class and the bin it goes to, by any name."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="NEW", help="Write the model here.")],
    taxonomy: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Other bins, and names: a TOML file of the same classes."),
    ] = None,
    model: ModelFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write a model whose classes go to other bins; its networks answer as before.

    Each bin keeps its threshold, which was fitted to the old map, and a new one takes the strictest
    that its classes had: watch with --audit what the new map does. Map a released model, then teach
    it; a taught one is refused.

    Example: sorter bundle map "Glass Bottle=residual" Paper=residual --out mine
    """
    from sorter.teach.lessons import read_lessons
    from sorter.teach.rebuild import alone, write_mapped
    from sorter.vision.bundle import default_bundle, open_bundle, refuse_foreign

    refuse_foreign(out)
    bundle = open_bundle(model or default_bundle())
    if read_lessons(bundle.path) is not None:
        raise UsageError(
            f"{escape(str(bundle.path))}: was taught; map the model in its folder base, then teach "
            "that again"
        )
    if not pairs and taxonomy is None:
        raise UsageError("nothing to change: give CLASS=BIN, or --taxonomy F with other bins")
    mapped = bundle.taxonomy if taxonomy is None else _same_classes(taxonomy, bundle.taxonomy)
    for pair in pairs or ():
        mapped = _with(mapped, pair)
    with alone(out):
        written = write_mapped(bundle, mapped, out)
    if as_json:
        table = {c.code: c.bin for c in mapped.categories}
        typer.echo(json.dumps({"out": str(out), "digest": written.digest, "map": table}))
        return
    for before, after in zip(bundle.taxonomy.categories, mapped.categories, strict=True):
        if before.bin != after.bin:
            old, new = bundle.taxonomy.bin_of(before), mapped.bin_of(after)
            typer.echo(f"{after.code} {after.name}: {old.name} → {new.name}")
    typer.echo(f"written: {escape(str(out))} ({written.digest[:12]})")


def _same_classes(file: Path, known: Taxonomy) -> Taxonomy:
    """The taxonomy in `file`, its classes in the order of `known`. Raises UsageError."""
    from sorter.taxonomy import read_taxonomy

    given = read_taxonomy(file)
    by_code = {c.code: c for c in given.categories}
    missing = [c for c in known.categories if c.code not in by_code]
    more = sorted(by_code.keys() - {c.code for c in known.categories})
    if missing or more:
        first = f"lacks {missing[0].code} {missing[0].name}" if missing else f"has {more[0]} too"
        raise UsageError(
            f"{escape(str(file))}: {first}; it must name each class of the model once: other "
            "classes need sorter train or sorter teach"
        )
    return replace(given, categories=tuple(by_code[c.code] for c in known.categories))


def _with(taxonomy: Taxonomy, pair: str) -> Taxonomy:
    """`taxonomy` with the change that `CLASS=BIN` asks for. Raises UsageError."""
    word, equals, place = pair.rpartition("=")
    category = taxonomy.find(word)
    if not equals or category is None:
        raise UsageError(f"{escape(pair)}: is not CLASS=BIN with a class of this model")
    key = _find_bin(taxonomy, place).key
    changed = tuple(replace(c, bin=key) if c == category else c for c in taxonomy.categories)
    return replace(taxonomy, categories=changed)


def _find_bin(taxonomy: Taxonomy, word: str) -> Bin:
    folded = word.strip().casefold()
    for bin_ in taxonomy.bins:
        if folded in (w.casefold() for w in (bin_.key, bin_.code, bin_.name, bin_.name_zh)):
            return bin_
    names = ", ".join(b.key for b in taxonomy.bins)
    raise UsageError(f"{escape(word)}: is no bin of this model; choose {names}")
