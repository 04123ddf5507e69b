"""Photograph groups and sources divided into folds, and the run over the folds.

Owns the assignment. A group never lies in two folds; nothing held out is ever trained on.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sorter.errors import DataError
from train.config import Config
from train.data.corpus import Corpus, Example
from train.run_folder import write_arrays

ALWAYS = -1
"""The fold of an example that every training sees."""
NEVER = -2
"""The fold of an example that no training in folds sees."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Raw scores of held-out pictures and where they stand in the corpus.

    `int8` are those of the same networks as the edge runs them; `scores` where there is no INT8.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    fold: NDArray[np.int64]
    int8: NDArray[np.float32]


Scores = tuple[NDArray[np.float32], NDArray[np.float32]]
Train = Callable[[NDArray[np.int64], NDArray[np.int64], Path], Scores]
"""(rows to train on, rows to predict, folder) → raw scores of the latter, by torch and in INT8."""


def assign(corpus: Corpus, config: Config) -> NDArray[np.int64]:
    """The fold of each example, `ALWAYS` or `NEVER`.

    `folds` splits DATA by photograph group, class by class. `leave_one_source_out` holds out
    whole sources of the extra pictures: spread over the same folds, or one at a time without
    them. Sources of pictures of no class are spread in both. Final and test pictures are never
    used.
    """
    fold = np.full(len(corpus.examples), ALWAYS, np.int64)
    families = _families(corpus, config.families)
    if config.leave_one_source_out:
        sizes = Counter(families[i] for i in corpus.rows("extra"))
        if not sizes:
            raise DataError(
                "--leave-one-source-out needs --extra DIR with pictures of several sources"
            )
        count = config.folds or len(sizes)
        _fill(fold, corpus.rows("extra"), families, _spread(sizes, count))
    else:
        count = config.folds
    unknown = corpus.rows("unknown")
    placed = {families[i]: int(fold[i]) for i in corpus.rows("extra") if fold[i] >= 0}
    rest = Counter(families[i] for i in unknown if families[i] not in placed)
    _fill(fold, unknown, families, {**_spread(rest, count), **placed})
    if config.folds:
        by_class: dict[int, Counter[str]] = defaultdict(Counter)
        for i in corpus.rows("train", "val"):
            by_class[corpus.examples[i].label][corpus.examples[i].group] += 1
        where: dict[str, int] = {}
        for label in sorted(by_class):
            fresh = Counter({g: n for g, n in by_class[label].items() if g not in where})
            where |= _spread(fresh, count)
        groups = [e.group for e in corpus.examples]
        _fill(fold, corpus.rows("train", "val"), groups, where)
        # A photograph that also lies in the extra pictures goes where its group goes.
        for i in corpus.rows("extra"):
            if groups[i] in where:
                fold[i] = where[groups[i]]
    fold[corpus.rows("final", "test")] = NEVER
    return fold


def run_folds(
    corpus: Corpus,
    config: Config,
    folder: Path,
    train: Train,
    *,
    say: Callable[[str], None],
    keep: bool = True,
) -> OutOfFold:
    """Train once a fold on the others and predict it; a finished fold is read, not repeated.

    `folds_run` stops after that many folds: fewer pictures are judged, as honestly. Of several
    processes one should `keep` the scores.
    """
    fold = assign(corpus, config)
    rows, scores, int8 = [], [], []
    count = int(fold.max()) + 1
    for k in range(min(count, config.folds_run or count)):
        held = np.flatnonzero(fold == k)
        seen = np.flatnonzero((fold != k) & (fold != NEVER))
        if not len(held):
            continue
        file = folder / f"fold-{k}" / "scores.npz"
        done = _read(file)
        if done is not None:
            part, small = done
        else:
            names = sorted({corpus.examples[i].source for i in held if corpus.examples[i].source})
            say(
                f"fold {k + 1}/{count}: {len(seen)} to train on, {len(held)} held out"
                + (f" ({', '.join(names)[:120]})" if names else "")
            )
            part, small = train(seen, held, file.parent)
            if keep:
                write_arrays(file, scores=part, int8=small)
        rows.append(held)
        scores.append(part)
        int8.append(small)
    order = np.concatenate(rows)
    return OutOfFold(order, np.concatenate(scores), fold[order], np.concatenate(int8))


def held_unknown(corpus: Corpus) -> NDArray[np.int64]:
    """Without folds: unknown pictures of every fifth source, by name, to set a threshold on.

    Of two sources the second; of a single one none, for half a source would judge the other half.
    """
    rows = corpus.rows("unknown")
    names = sorted({corpus.examples[i].source for i in rows})
    sources = names[2::5] or names[1:]
    return np.array([i for i in rows if corpus.examples[i].source in sources], np.int64)


def refuse_unjudged(corpus: Corpus, config: Config, root: Path, *, oof: Path | None) -> None:
    """Raise DataError where no picture is left to set temperature and thresholds on."""
    if not (len(corpus.rows("val")) or config.folds or config.leave_one_source_out or oof):
        raise DataError(
            f"{root}: no pictures to judge by, which thresholds need; add val/<class>/, give a "
            "class four pictures or more, or use --folds 5"
        )


def save(file: Path, corpus: Corpus, out: OutOfFold) -> None:
    """The out-of-fold scores with what is needed to judge them again."""
    examples = [corpus.examples[i] for i in out.rows]
    write_arrays(
        file,
        scores=out.int8,
        torch_scores=out.scores,
        fold=out.fold,
        labels=np.array([e.label for e in examples], np.int64),
        digests=np.array([e.digest for e in examples]),
        sources=np.array([e.source for e in examples]),
        roles=np.array([e.role for e in examples]),
        groups=np.array([e.group for e in examples]),
    )


def _read(file: Path) -> Scores | None:
    """The scores of a finished fold; None where there are none, or none in INT8 yet."""
    if not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as stored:
        return (stored["scores"], stored["int8"]) if "int8" in stored.files else None


def site(example: Example) -> str:
    """Where a picture comes from: DATA is one site, every other source one of its own."""
    return example.source if example.role in ("extra", "unknown") else ""


def _families(corpus: Corpus, related: str) -> list[str]:
    """What lies in one fold: each example's source, or the first of the family it is in.

    A unknown picture belongs to the extra source that its own source's name begins with. Raises
    DataError for a family of a source that is not there.
    """
    known = sorted({corpus.examples[i].source for i in corpus.rows("extra")}, key=len, reverse=True)
    head: dict[str, str] = {}
    for family in related.split():
        names = family.split("=")
        if missing := set(names) - set(known):
            raise DataError(f"families: no source {', '.join(sorted(missing))} in --extra")
        head |= dict.fromkeys(names, names[0])
    own = (
        next((s for s in known if s and e.source.startswith(s)), e.source)
        if e.role == "unknown"
        else e.source
        for e in corpus.examples
    )
    return [head.get(name, name) for name in own]


def _spread(sizes: Counter[str], count: int) -> dict[str, int]:
    """Largest first onto the emptiest fold; equal sizes in an order that the name's hash gives."""
    load = [0] * count
    where: dict[str, int] = {}
    order = sorted(sizes, key=lambda n: (-sizes[n], hashlib.sha256(n.encode()).hexdigest()))
    for name in order:
        k = load.index(min(load))
        where[name] = k
        load[k] += sizes[name]
    return where


def _fill(
    fold: NDArray[np.int64], rows: Iterable[int], names: list[str], where: dict[str, int]
) -> None:
    for i in rows:
        fold[i] = where[names[i]]
