"""A released bundle and what a site taught become one new bundle, whole or not at all.

Owns what a taught bundle holds: the taught networks, the list (`taught.json`), and the released
bundle itself in `base/`, from which every teaching starts anew and to which forgetting everything
leads back, byte for byte. Must not learn.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sorter.domain import Taxonomy
from sorter.errors import BundleError, FolderError
from sorter.files import write_whole
from sorter.teach import graph, reference
from sorter.teach import lessons as lists
from sorter.teach.site import Lessons
from sorter.teach.tail import F32, read_ir
from sorter.teach.teacher import Teaching, best_precision
from sorter.vision import engine
from sorter.vision.bundle import MODEL_FILES, Bundle, model_file, open_bundle, written_bundle
from sorter.vision.metadata import change_metadata

BASE = "base"
"""The folder of the released bundle inside a taught one."""
_ADVICE = "make room, or name another --out"

MAX_DELTA = 0.01
"""What the network's answer may differ from what was judged, as a probability."""


def open_base(bundle: Bundle) -> Bundle:
    """The released bundle that `bundle` was taught from; itself where it was not taught.

    Raises BundleError where it is another one than the list says.
    """
    lessons = lists.read_lessons(bundle.path)
    if lessons is None:
        return bundle
    base = open_bundle(bundle.path / BASE)
    if base.digest != lessons.base:
        raise BundleError(
            f"{base.path}: is not the bundle that {bundle.path} was taught from; copy the taught "
            "bundle again, or teach a released one"
        )
    return base


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """No other teaching writes beside `out` meanwhile. Raises FolderError."""
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FolderError(
            f"{parent}: cannot be written to: {error.strerror}; name another --out"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderError(
                f"{parent}: another sorter teach is writing here; wait for it to end"
            ) from error
        yield
    finally:
        os.close(handle)


def write_taught(
    base: Bundle, lessons: Lessons, teaching: Teaching, out: Path, *, card: Mapping[str, Any]
) -> Bundle:
    """Write the taught bundle `out`, replacing the one that is there; it comes back opened.

    Raises FolderError, and leaves what was there, where the disk refuses; BundleError where the
    written network does not answer as it was judged.
    """
    with written_bundle(out, advice=_ADVICE) as part:
        for precision in base.precisions:
            xml = model_file(base, precision)
            model = read_ir(xml)
            classes = len(base.taxonomy.categories)
            places = graph.find_places(model, classes, source=xml)
            features = places.features.get_node().get_friendly_name()
            graph.join(model, places, teaching.site)
            change_metadata(model, taxonomy=teaching.taxonomy, policy=teaching.policy)
            engine.openvino().save_model(model, part / xml.name, compress_to_fp16=False)
            if precision == best_precision(base):
                _check(part / xml.name, features, lessons, teaching)
        _copy_release(base, part / BASE)
        write_whole(part / lists.FILE, lists.to_text(lessons))
        document = {**base.card, **card}
        write_whole(part / "card.json", json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        open_bundle(part)
    return open_bundle(out)


def write_released(base: Bundle, out: Path) -> Bundle:
    """Write the released bundle to `out`, byte for byte, as nothing is taught any more."""
    with written_bundle(out, advice=_ADVICE) as part:
        _copy_release(base, part)
    return open_bundle(out)


def write_mapped(bundle: Bundle, taxonomy: Taxonomy, out: Path) -> Bundle:
    """Write `bundle` with `taxonomy`, whose classes are the same, to `out`.

    A bin that was there keeps its threshold. A new one takes the strictest of those that its
    classes had: nothing is sorted more lightly than it was. One without a class takes 1.
    """
    before = dict(
        zip((b.key for b in bundle.taxonomy.bins), bundle.policy.bin_thresholds, strict=True)
    )
    came: dict[str, list[float]] = {}
    for old, new in zip(bundle.taxonomy.categories, taxonomy.categories, strict=True):
        came.setdefault(new.bin, []).append(before[old.bin])
    thresholds = (before.get(b.key, max(came.get(b.key, [1.0]))) for b in taxonomy.bins)
    policy = replace(bundle.policy, bin_thresholds=tuple(thresholds))
    with written_bundle(out, advice=_ADVICE) as part:
        shutil.copytree(bundle.path, part, dirs_exist_ok=True)
        for precision in bundle.precisions:
            xml = model_file(bundle, precision)
            model = read_ir(xml)
            change_metadata(model, taxonomy=taxonomy, policy=policy)
            engine.openvino().save_model(model, part / xml.name, compress_to_fp16=False)
        open_bundle(part)
    return open_bundle(out)


def _copy_release(base: Bundle, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    names = [n for p in base.precisions for n in _files_of(MODEL_FILES[p])]
    for name in (*names, "card.json", reference.FILE):
        if (base.path / name).is_file():
            shutil.copyfile(base.path / name, folder / name)


def _files_of(xml: str) -> tuple[str, str]:
    return xml, str(Path(xml).with_suffix(".bin"))


def _check(xml: Path, name: str, lessons: Lessons, teaching: Teaching) -> None:
    """The written network, behind its node `name`, answers as the judge saw.

    What lies before the features is the released network's own, and was not touched.
    """
    model = engine.core().compile_model(graph.cut_behind(read_ir(xml), name), "CPU", F32)
    for lesson, expected in zip(lessons.lessons, teaching.proof, strict=False):
        got = model([lesson.features[None]])[0][0]
        delta = float(np.abs(got - np.array(expected.probabilities)).max())
        if not delta <= MAX_DELTA:
            raise BundleError(
                f"{xml.name}: answers otherwise than it was judged, by {delta:.3f}; not written; "
                "please report this"
            )
