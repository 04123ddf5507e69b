"""What a bundle was taught, as its file `taught.json`: read, written, added to, taken from.

Owns the file's format. It travels with the bundle and to other stations: features and answers, no
picture. Order is by content, so that the order of teaching leaves no trace.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sorter.domain import Category, Taxonomy
from sorter.errors import BundleError, TaxonomyError
from sorter.taxonomy import taxonomy_from_dict, taxonomy_to_dict
from sorter.teach.site import Lesson, LessonKind, Lessons
from sorter.vision.metadata import read_file

FILE = "taught.json"
SCHEMA_VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
MAX_LESSONS = 5000
"""More pictures than this are for `sorter train`."""
PREFIX = 8
"""Digits of a SHA-256 that name a picture, at least."""


def read_lessons(folder: Path, *, width: int = 0) -> Lessons | None:
    """What the bundle in `folder` was taught; None for a released one. Raises BundleError.

    With `width`, features of another length are refused.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        document = json.loads(read_file(file, MAX_BYTES))
        if document["schema"] != SCHEMA_VERSION:
            raise BundleError(
                f"{file}: schema {str(document['schema'])[:20]!r} is not {SCHEMA_VERSION}; teach "
                "with the sorter that wrote it"
            )
        lessons = tuple(_lesson(row) for row in document["taught"])
        categories = tuple(_category(row) for row in document["classes"])
        base = str(document["base"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{file}: cannot be read ({error}); copy the bundle again") from error
    lengths = {len(one.features) for one in lessons} | ({width} if width else set())
    whole = all(np.isfinite(one.features).all() for one in lessons)
    if len(lengths) > 1 or not whole or len(lessons) > MAX_LESSONS:
        raise BundleError(f"{file}: its features are not of this network; copy the bundle again")
    return Lessons(base, in_order(lessons), categories)


def to_text(lessons: Lessons) -> str:
    """The file's content; equal lessons give equal text."""
    rows = [
        {
            "sha256": one.sha256,
            "kind": one.kind.value,
            "class": one.code,
            "name": one.name,
            "features": base64.b64encode(one.features.astype("<f2").tobytes()).decode("ascii"),
        }
        | ({"audited": True} if one.audited else {})
        for one in in_order(lessons.lessons)
    ]
    document = {
        "schema": SCHEMA_VERSION,
        "base": lessons.base,
        "classes": [
            {"code": c.code, "name": c.name, "name_zh": c.name_zh, "bin": c.bin}
            for c in lessons.categories
        ],
        "taught": rows,
    }
    return json.dumps(document, ensure_ascii=False, indent=0, sort_keys=True) + "\n"


def in_order(lessons: Iterable[Lesson]) -> tuple[Lesson, ...]:
    """By content."""
    return tuple(sorted(lessons, key=lambda one: one.sha256))


def with_new(lessons: Lessons, more: Iterable[Lesson]) -> tuple[Lessons, int, int]:
    """`lessons` and `more`; then how many were there already, and how many are answered anew."""
    have = {one.sha256: one for one in lessons.lessons}
    copies = changed = 0
    for one in more:
        old = have.get(one.sha256)
        if old is not None and (old.kind, old.code) == (one.kind, one.code):
            copies += 1
            have[one.sha256] = replace(old, audited=old.audited or one.audited)
            continue
        changed += old is not None
        have[one.sha256] = one
    return replace(lessons, lessons=in_order(have.values())), copies, changed


def without(lessons: Lessons, sha256: str) -> Lessons:
    """`lessons` less the pictures whose digest begins so."""
    left = tuple(one for one in lessons.lessons if not one.sha256.startswith(sha256))
    return replace(lessons, lessons=left)


def without_class(lessons: Lessons, code: str) -> Lessons:
    """`lessons` less every picture of a class, or of a kind of none; a new class goes with them."""
    left = tuple(one for one in lessons.lessons if code not in (one.code, one.kind.value))
    categories = tuple(c for c in lessons.categories if c.code != code)
    return replace(lessons, lessons=left, categories=categories)


def with_class(lessons: Lessons, taxonomy: Taxonomy, name: str, bin_key: str) -> Lessons:
    """`lessons` with a new class called `name` in the bin `bin_key`.

    Raises TaxonomyError for a name that is taken or cannot name a folder, and for no such bin.
    """
    bins = {b.key: b for b in taxonomy.bins}
    words = {
        word.casefold(): b.key for b in taxonomy.bins for word in (b.key, b.code, b.name, b.name_zh)
    }
    key = words.get(bin_key.strip().casefold())
    if key is None:
        raise TaxonomyError(f"--bin {bin_key}: there is none; choose {', '.join(bins)}")
    code = _code(taxonomy, bins[key].code)
    new = Category(code=code, name=name.strip(), name_zh=name.strip(), bin=key)
    if taxonomy.find(new.name) is not None or new.name.casefold() in (k.value for k in LessonKind):
        raise TaxonomyError(f"--new-class {name}: is the name of a class already; choose another")
    document = taxonomy_to_dict(replace(taxonomy, categories=(*taxonomy.categories, new)))
    try:
        taxonomy_from_dict(document, source="--new-class")
    except TaxonomyError as error:
        raise TaxonomyError(f"--new-class {name}: {error}") from error
    return replace(lessons, categories=(*lessons.categories, new))


def _code(taxonomy: Taxonomy, bin_code: str) -> str:
    """The next code of a bin, as the data set counts them: 03_03 is followed by 03_04."""
    taken = {c.code for c in taxonomy.categories}
    return next(code for n in range(10_000) if (code := f"{bin_code}_{n:02d}") not in taken)


def _lesson(row: Any) -> Lesson:
    sha256, kind, code = str(row["sha256"]), LessonKind(row["kind"]), str(row["class"])
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise ValueError(f"a digest {sha256[:70]!r}")
    try:
        data = base64.b64decode(row["features"], validate=True)
    except binascii.Error as error:
        raise ValueError("features that are no numbers") from error
    features = np.frombuffer(data, "<f2").astype(np.float32)
    audited = row.get("audited", False) is True
    return Lesson(sha256, kind, code, features, str(row.get("name", "")), audited)


def _category(row: Any) -> Category:
    return Category(str(row["code"]), str(row["name"]), str(row["name_zh"]), str(row["bin"]))
