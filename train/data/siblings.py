"""Which pictures of DATA show one photograph, where no file says so; how far validation leaks.

Owns the warning and the groups that folds need; the comparing is `sorter.dataset.duplicates`'s,
the same that `sorter data check` uses.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sorter.dataset.duplicates import find_links, groups_of, has_keypoints
from sorter.errors import FolderError
from sorter.files import write_whole
from sorter.text import counted
from train.config import Config
from train.data.corpus import TRAINED_ON, UNKNOWN, Corpus, Example
from train.progress import Steps

VERSION = "2"
"""Part of the cache's key: changes when the comparing does."""


def know_siblings(
    corpus: Corpus, config: Config, cache: Path, *, given: bool, say: Callable[[str], None]
) -> Corpus:
    """`corpus` with photograph groups, found by looking where no groups file was `given`.

    Folds need crops and flips of one photograph together, so there keypoints are compared too
    (minutes; kept in `cache`). Without folds equal bytes and looks must do, for the warning.
    """
    if not given:
        steps = Steps(say, "looking for pictures of one photograph", "steps")
        keypoints = bool(config.folds) and has_keypoints()
        corpus = _grouped(corpus, keypoints=keypoints, cache=cache, steps=steps)
        if config.folds:
            rows = corpus.rows("train", "val")
            photographs = counted(len({corpus.examples[i].group for i in rows}), "photograph")
            pictures = counted(len(rows), "picture")
            how = "keypoints" if has_keypoints() else "looks alone: OpenCV is not installed"
            say(f"no --groups: found {photographs} in {pictures} by {how}")
    corpus = _with_copies(corpus)
    trained = {corpus.examples[i].group for i in corpus.rows(*TRAINED_ON)}
    for role, name in (("val", "validation"), ("test", "test")):
        held_out = corpus.rows(role)
        leaked = sum(corpus.examples[i].group in trained for i in held_out)
        if leaked:
            say(
                f"warning: {leaked} of {len(held_out)} {name} pictures have a sibling in training, "
                f"so the {name} figure is flattered; see sorter data check, and use --folds"
            )
    return corpus


def _with_copies(corpus: Corpus) -> Corpus:
    """A picture without a group joins the group that DATA gives the same bytes.

    Else a copy of a held-out picture among the extra ones would be trained on.
    """
    group_of: dict[str, str] = {}
    for i in corpus.rows("train", "val"):
        example = corpus.examples[i]
        if example.group != example.digest or example.digest not in group_of:
            group_of[example.digest] = example.group
    alone = [
        i
        for i, e in enumerate(corpus.examples)
        if e.label != UNKNOWN and e.group == e.digest and group_of.get(e.digest, e.group) != e.group
    ]
    if not alone:
        return corpus
    examples = list(corpus.examples)
    for i in alone:
        examples[i] = replace(examples[i], group=group_of[examples[i].digest])
    return replace(corpus, examples=tuple(examples))


def _grouped(corpus: Corpus, *, keypoints: bool, cache: Path, steps: Steps) -> Corpus:
    rows = corpus.rows("train", "val", "test")
    chosen = [corpus.examples[i] for i in rows]
    key = hashlib.sha256(
        "\n".join([VERSION, str(keypoints), *(f"{e.label} {e.digest}" for e in chosen)]).encode()
    ).hexdigest()[:32]
    file = cache / "groups" / f"{key}.json"
    numbers = _read(file, len(chosen))
    if numbers is None:
        found = find_links(
            [e.path for e in chosen],
            [e.label for e in chosen],
            keypoints=keypoints,
            tick=steps.show,
        )
        numbers = groups_of(len(chosen), found.links)
        with contextlib.suppress(OSError, FolderError):  # Only a cache.
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(numbers), sync=False)
    groups = {int(row): chosen[n].digest for row, n in zip(rows, numbers, strict=True)}
    examples: list[Example] = [
        replace(e, group=groups[i]) if i in groups else e for i, e in enumerate(corpus.examples)
    ]
    return replace(corpus, examples=tuple(examples))


def _read(file: Path, count: int) -> list[int] | None:
    """The kept group numbers, or None where the file does not hold such a list."""
    try:
        numbers = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fine = isinstance(numbers, list) and len(numbers) == count
    return numbers if fine and all(n in range(count) for n in numbers) else None
