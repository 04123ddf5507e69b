"""`sorter teach`: a model learns its site. Parses, wires `sorter.teach`, prints."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from string import hexdigits
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sorter.cli.options import AsJson, LangName
from sorter.errors import DataError, ImageError, UsageError
from sorter.host.cores import calm_blas
from sorter.text import Lang, escape, named

if TYPE_CHECKING:
    from sorter.domain import Taxonomy
    from sorter.teach.pictures import LeftOut
    from sorter.teach.site import Lessons
    from sorter.teach.teacher import Figures, Teaching
    from sorter.vision.bundle import Bundle

SHOWN = 10
"""Pictures of each kind on the screen; --json has all."""


def teach(
    corrected: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CORRECTED]...",
            help="CORRECTED/<class>/: pictures of this site; also empty/ and unknown/.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="NEW", help="Write the taught model here; a folder."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="BUNDLE",
            envvar="SORTER_MODEL",
            help="Teach this one: a released model, or a taught one to go on with.",
            show_default="the one that ships",
        ),
    ] = None,
    empty: Annotated[
        list[Path] | None,
        typer.Option("--empty", metavar="DIR", help="Pictures of the empty tray."),
    ] = None,
    unknown: Annotated[
        list[Path] | None,
        typer.Option("--unknown", metavar="DIR", help="Pictures of things of no class."),
    ] = None,
    new_class: Annotated[
        str | None,
        typer.Option("--new-class", metavar="NAME", help="Add a class; CORRECTED/NAME/ shows it."),
    ] = None,
    bin_: Annotated[
        str | None, typer.Option("--bin", metavar="BIN", help="The bin of --new-class.")
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            "--forget",
            metavar="PICTURE|CLASS",
            help="A picture's file or SHA-256 (8 digits or more), a class, empty, or unknown.",
        ),
    ] = None,
    forget_all: Annotated[
        bool, typer.Option("--forget-all", help="Back to the released model, byte for byte.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show both figures and write nothing.")
    ] = False,
    lang: LangName = Lang.EN,
    as_json: AsJson = False,
) -> None:
    """Teach a model its site: some twenty labelled pictures become a new model, in seconds.

    Before anything is written two figures are shown: the site's, each taught picture judged by a
    head that has not seen it, and the old knowledge's. Where that falls too far, nothing is
    written (exit code 3). NEW holds the list of what was taught and the released model; teaching
    begins from there each time, so that order does not matter and forgetting is exact. A running
    sorter watch whose --model is NEW takes it up by itself.

    Exit code 1 where some pictures could not be read.

    Example: sorter teach corrected --empty tray --out site
    """
    calm_blas()
    from sorter.teach.lessons import with_class
    from sorter.teach.rebuild import alone
    from sorter.teach.site import Lessons
    from sorter.teach.teacher import extended
    from sorter.vision.bundle import refuse_foreign

    if out is None and not dry_run:
        raise UsageError("--out NEW: name the folder to write the taught model to, or --dry-run")
    if (new_class is None) != (bin_ is None):
        raise UsageError("--new-class NAME and --bin BIN: give both, or neither")
    folders = _Folders(tuple(corrected or []), tuple(empty or []), tuple(unknown or []))
    if not (folders.some or forget or forget_all or new_class):
        raise UsageError("nothing to teach: name a folder CORRECTED/<class>/ of labelled pictures")
    if out is not None:
        refuse_foreign(out)

    def before(lessons: Lessons, taxonomy: Taxonomy) -> tuple[Lessons, int]:
        """What is forgotten goes, and a new class comes, before pictures are looked at."""
        if forget_all:
            lessons = Lessons(lessons.base)
        lessons, forgotten = _forget(lessons, forget or [], taxonomy)
        if new_class is not None and bin_ is not None:
            words = extended(taxonomy, lessons.categories)
            lessons = with_class(lessons, words, new_class, bin_)
        return lessons, forgotten

    with alone(out) if out is not None else contextlib.nullcontext():
        base, lessons, given = _gather(model, folders, before)
        if not lessons.lessons:
            if folders.some:
                _say_left_out(given.left_out)
                raise DataError("none of the pictures can be read: nothing was taught")
            _back(base, out, given, as_json=as_json)
            return
        _teach(base, lessons, out, given, lang=lang, as_json=as_json)
    if given.left_out:
        raise typer.Exit(1)


def teach_reviewed(data: Path, model: Path | None, out: Path, lang: Lang) -> str:
    """Teach what `sorter review` filed into `data`; both figures as lines. Raises SorterError."""
    from sorter.teach.rebuild import alone
    from sorter.teach.teacher import teach
    from sorter.vision.bundle import refuse_foreign

    refuse_foreign(out)
    with alone(out):
        base, lessons, given = _gather(model, _Folders((data,)))
        teaching = teach(base, lessons)
        written = _write(base, lessons, teaching, given, out, lang)
    lines = _describe(lessons, teaching, given, lang)
    return "\n".join([*lines, _written(out, written, lang)])


@dataclass(frozen=True, slots=True)
class _Folders:
    """Where answered pictures lie."""

    corrected: tuple[Path, ...] = ()
    empty: tuple[Path, ...] = ()
    unknown: tuple[Path, ...] = ()

    @property
    def some(self) -> bool:
        return bool(self.corrected or self.empty or self.unknown)


@dataclass(frozen=True, slots=True)
class _Input:
    """What became of what was given: pictures, copies dropped, answers changed, forgotten."""

    pictures: int = 0
    copies: int = 0
    changed: int = 0
    forgotten: int = 0
    left_out: tuple[LeftOut, ...] = ()
    blurred: tuple[Path, ...] = ()


def _gather(
    model: Path | None,
    folders: _Folders,
    before: Callable[[Lessons, Taxonomy], tuple[Lessons, int]] = lambda lessons, _: (lessons, 0),
) -> tuple[Bundle, Lessons, _Input]:
    """The released bundle behind `model`, and all that it is to be taught.

    `before` changes what it was taught so far, and says how many pictures of that went.
    """
    from sorter.review.log import read_verdicts
    from sorter.teach.features import FeatureReader
    from sorter.teach.lessons import read_lessons, with_new
    from sorter.teach.pictures import find_answered
    from sorter.teach.pictures import read_lessons as read_pictures
    from sorter.teach.rebuild import open_base
    from sorter.teach.site import Lessons
    from sorter.teach.teacher import best_precision, extended
    from sorter.vision.bundle import default_bundle, model_file, open_bundle

    bundle = open_bundle(model or default_bundle())
    base = open_base(bundle)
    lessons = read_lessons(bundle.path) or Lessons(base.digest)
    lessons, forgotten = before(lessons, base.taxonomy)
    words = extended(base.taxonomy, lessons.categories)
    answered = find_answered(folders.corrected, folders.empty, folders.unknown, words)
    given = _Input(forgotten=forgotten)
    if answered:
        xml = model_file(base, best_precision(base))
        reader = FeatureReader(xml, len(base.taxonomy.categories))
        read = read_pictures(answered, reader)
        audited = {sha256 for root in folders.corrected for sha256 in read_verdicts(root)}
        found = [replace(one, audited=one.sha256 in audited) for one in read.lessons]
        lessons, had, changed = with_new(lessons, found)
        given = _Input(
            len(found), read.copies + had, changed, forgotten, read.left_out, read.blurred
        )
    _refuse_unshown(lessons)
    return base, lessons, given


def _teach(
    base: Bundle,
    lessons: Lessons,
    out: Path | None,
    given: _Input,
    *,
    lang: Lang,
    as_json: bool,
) -> None:
    """Learn, show both figures, and then write."""
    from sorter.teach.teacher import teach

    teaching = teach(base, lessons)
    if not as_json:
        typer.echo("\n".join(_describe(lessons, teaching, given, lang)))
        _say_left_out(given.left_out)
    document = _write(base, lessons, teaching, given, out, lang)
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
    elif out is not None:
        typer.echo(_written(out, document, lang))


def _write(
    base: Bundle,
    lessons: Lessons,
    teaching: Teaching,
    given: _Input,
    out: Path | None,
    lang: Lang,
) -> dict[str, Any]:
    """Write the taught bundle, if there is an `out`; the document of --json.

    Raises TeachError, and writes nothing, where the old knowledge falls too far.
    """
    from sorter.teach.rebuild import write_taught
    from sorter.teach.teacher import refuse_forgetting

    refuse_forgetting(teaching, lang=lang)
    document = _document(base, lessons, teaching, given)
    if out is None:
        return document
    figures = {"taught": {k: document[k] for k in ("lessons", "base", "site", "old")}}
    written = write_taught(base, lessons, teaching, out, card=figures)
    return document | {"out": str(out), "digest": written.digest}


def _back(base: Bundle, out: Path | None, given: _Input, *, as_json: bool) -> None:
    """Nothing is taught any more: the released bundle again."""
    from sorter.teach.rebuild import write_released

    document: dict[str, Any] = {"lessons": 0, "base": base.digest, "forgotten": given.forgotten}
    if out is not None:
        document |= {"out": str(out), "digest": write_released(base, out).digest}
    if as_json:
        typer.echo(json.dumps(document))
    else:
        typer.echo(f"nothing is taught any more: the released model ({base.digest[:12]})")


def _forget(lessons: Lessons, words: Sequence[str], taxonomy: Taxonomy) -> tuple[Lessons, int]:
    """`lessons` less what `words` name, and how many went. UsageError where one names nothing."""
    from sorter.dataset.layout import NONE
    from sorter.teach.lessons import PREFIX, without, without_class
    from sorter.teach.teacher import extended

    before = len(lessons.lessons)
    for word in words:
        category = extended(taxonomy, lessons.categories).find(word)
        if category is not None or word in NONE:
            less = without_class(lessons, category.code if category else word)
        elif PREFIX <= len(word) <= 64 and not set(word) - set(hexdigits.lower()):
            less = without(lessons, word)
        else:
            less = without(lessons, _digest(Path(word)))
        same = len(less.lessons) == len(lessons.lessons)
        if same and len(less.categories) == len(lessons.categories):
            raise UsageError(f"--forget {escape(word)}: nothing of it was taught")
        lessons = less
    return lessons, before - len(lessons.lessons)


def _digest(path: Path) -> str:
    from sorter.vision import images

    try:
        return hashlib.sha256(images.read(path)).hexdigest()
    except ImageError as error:
        raise UsageError(
            f"--forget {escape(str(path))}: is no class, no SHA-256, and no picture ({error})"
        ) from error


def _refuse_unshown(lessons: Lessons) -> None:
    """Raise DataError for a new class without a picture: nothing could tell it."""
    shown = {one.code for one in lessons.lessons}
    for category in lessons.categories:
        if category.code not in shown:
            raise DataError(
                f"new class {category.name!r}: no picture of it was given; put some twenty into "
                f"CORRECTED/{category.name}/"
            )


def _describe(lessons: Lessons, teaching: Teaching, given: _Input, lang: Lang) -> list[str]:
    """What was learnt and what it is worth, a line each."""
    from sorter.teach import words

    said = words.of(lang)
    before, after = teaching.before, teaching.after
    notes = []
    for count, what in (
        (len(lessons.lessons), "taught"),
        (given.copies, "copies"),
        (given.changed, "changed"),
        (given.forgotten, "forgotten"),
    ):
        if count or what == "taught":
            word = said.get(f"one {what}", said[what]) if count == 1 else said[what]
            notes.append(word.format(count=count))
    lines = [said["and"].join(notes)]
    if before.pictures and after is None:
        lines.append(said["one thing"])
    elif after is not None:
        change = _change(before, after, said)
        lines.append(said["site"].format(change=change, count=after.pictures))
    count, was, now = teaching.none
    if count:
        lines.append(said["none"].format(was=was, now=now, count=count))
    old = {"count": teaching.old_before.pictures, "changed": teaching.old_changed}
    if teaching.stored:
        change = _change(teaching.old_before, teaching.old_after, said)
        lines.append(said["old"].format(change=change, **old))
    else:
        lines.append(said["old keys"].format(**old))
    if teaching.step < 1.0:
        lines.append(said["held back"].format(step=teaching.step))
    if before.pictures and teaching.known == before.pictures and not (count or lessons.categories):
        lines.append(said["all known"])
    elif teaching.known:
        lines.append(said["known"].format(known=teaching.known, count=before.pictures))
    for raised in teaching.raised:
        bin_, audit = named(raised.bin, lang), raised.audit.told(lang)
        line = said["raised"].format(
            bin=bin_, before=raised.before, after=raised.after, audit=audit
        )
        lines.append(line)
    for path in given.blurred[:SHOWN]:
        lines.append(said["blurred"].format(name=escape(path.name)))
    for doubt in teaching.doubts[:SHOWN]:
        name, digest = escape(doubt.lesson.name), doubt.lesson.sha256[:12]
        line = said["contradicted"].format(
            name=name, digest=digest, says=named(doubt.says, lang), share=doubt.share
        )
        lines.append(line)
    for one in teaching.advice:
        figures = {"name": named(one.category, lang), "right": one.right, "count": one.pictures}
        if one.taken_for is None:
            lines.append(said["advice"].format(**figures))
        else:
            other = named(one.taken_for, lang)
            lines.append(said["advice taken"].format(other=other, **figures))
    return lines


def _written(out: Path, document: Mapping[str, Any], lang: Lang) -> str:
    from sorter.teach import words

    return words.of(lang)["written"].format(path=escape(str(out)), digest=document["digest"][:12])


def _say_left_out(left_out: Sequence[LeftOut]) -> None:
    for one in left_out[:SHOWN]:
        typer.echo(f"sorter: left out: {escape(str(one.path))}: {one.reason}", err=True)
    if len(left_out) > SHOWN:
        typer.echo(f"sorter: left out: {len(left_out) - SHOWN} more", err=True)


def _change(before: Figures, after: Figures, said: Mapping[str, str]) -> str:
    """Four figures before and after, as shares; those in a wrong bin are of the sorted ones."""
    counts = [(n, getattr(before, n), getattr(after, n)) for n in ("label", "bin", "sorted")]
    parts = [said[n].format(was=before.share(was), now=after.share(now)) for n, was, now in counts]
    parts.append(said["wrong"].format(was=before.wrong, now=after.wrong))
    return said["and"].join(parts)


def _document(base: Bundle, lessons: Lessons, teaching: Teaching, given: _Input) -> dict[str, Any]:
    none = dict(zip(("pictures", "sorted_before", "sorted_after"), teaching.none, strict=True))
    return {
        "lessons": len(lessons.lessons),
        "base": base.digest,
        "copies": given.copies,
        "changed": given.changed,
        "forgotten": given.forgotten,
        "known": teaching.known,
        "blurred": [str(path) for path in given.blurred],
        "thresholds": [
            {"bin": r.bin.key, "before": r.before, "after": r.after}
            | {"judged": r.audit.judged, "wrong": r.audit.wrong}
            for r in teaching.raised
        ],
        "left_out": [{"path": str(o.path), "reason": o.reason} for o in given.left_out],
        "site": {
            "before": asdict(teaching.before),
            "after": teaching.after and asdict(teaching.after),
            "none": none,
        },
        "old": {
            "reference": "photographs" if teaching.stored else "memory",
            "before": asdict(teaching.old_before),
            "after": asdict(teaching.old_after),
            "changed": teaching.old_changed,
            "step": teaching.step,
        },
        "contradicted": [
            {"sha256": d.lesson.sha256, "name": d.lesson.name, "class": d.lesson.code}
            | {"says": d.says.name, "share": round(d.share, 4)}
            for d in teaching.doubts
        ],
        "advice": [
            {"class": a.category.code, "pictures": a.pictures, "right": a.right}
            | {"taken_for": a.taken_for.name if a.taken_for else ""}
            for a in teaching.advice
        ],
    }
