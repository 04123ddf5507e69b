"""Many files become Outcomes: in order, as they come, in bounded memory, at the machine's speed.

The worker that decodes the last of a few pictures also asks the network about them: both steps
release the GIL, so the workers keep every core busy, and no picture's pixels wait in a queue. The
threads and the order are `ordered_pool`'s. Must not list folders (`images.find`) or write rows
(`report`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Outcome, Policy, Prediction, Status
from sorter.errors import ImageError
from sorter.host.cores import usable_cores
from sorter.vision import images, thumbnail
from sorter.vision.bundle import Bundle
from sorter.vision.decide import decide
from sorter.vision.engine import default_cache_dir
from sorter.vision.model import Classifier
from sorter.vision.ordered_pool import in_order

WORKERS_A_CORE = 2
"""A worker that waits for the network's answer leaves its core free for another one's decoding:
0.97 of the machine's limit against 0.88 on two cores (`sorter bench --count 2400`)."""

PICTURES_A_REQUEST = 4
"""A worker asks the network about so many at once: 0.97 of the limit, with two 0.95, with one 0.86.

Answers are those of one by one, bit for bit.
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class ArrayFrame:
    """A picture that is not a file: `pixels` as `images.from_array` takes; a row's `path`."""

    path: Path
    pixels: NDArray[np.uint8]


def classify(
    items: Iterable[Path | T],
    bundle: Bundle,
    *,
    precision: str = "int8",
    policy: Policy | None = None,
    jobs: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
    thumbnails: bool = False,
) -> Generator[Outcome | T, None, None]:
    """One Outcome for each Path of `items`, in order; anything else passes through in its place.

    `policy` defaults to the bundle's. `jobs` is the number of worker threads, and of cores the
    network takes; by default every core this process may use, with WORKERS_A_CORE threads each.
    With `thumbnails` every picture comes as a DrawnOutcome. A file that is not a whole picture is
    an Outcome with status ERROR. `items` is read as needed, a bounded number ahead. Raises
    BundleError or ModelError for an unusable model.
    """
    classifier = open_classifier(bundle, precision=precision, cores=jobs or usable_cores())
    return run(
        items,
        classifier,
        bundle,
        policy=policy or bundle.policy,
        workers=workers_for(jobs),
        max_pixels=max_pixels,
        thumbnails=thumbnails,
    )


def open_classifier(bundle: Bundle, *, precision: str, cores: int) -> Classifier:
    """A classifier that answers `cores` calls side by side, each on a core of its own."""
    return Classifier(
        bundle,
        precision=precision,
        threads=cores,
        streams=cores,
        batch=PICTURES_A_REQUEST,
        cache_dir=default_cache_dir(),
    )


def workers_for(jobs: int | None) -> int:
    """Worker threads where the user asked for `jobs`, None for as many as pay."""
    return jobs or WORKERS_A_CORE * usable_cores()


def run(
    items: Iterable[Path | ArrayFrame | T],
    classifier: Classifier,
    bundle: Bundle,
    *,
    policy: Policy,
    workers: int,
    max_pixels: int = images.MAX_PIXELS,
    thumbnails: bool = False,
) -> Generator[Outcome | T, None, None]:
    """As `classify`, with a classifier that is there already; a Frame is worked on too."""

    def conclude(opened: Sequence[_Opened]) -> list[Outcome]:
        outcomes = []
        for one, answer in zip(opened, _ask(classifier, opened), strict=True):
            path = one.source.path if isinstance(one.source, ArrayFrame) else one.source
            outcomes.append(_conclude(path, one, answer, bundle, policy, thumbnails=thumbnails))
        return outcomes

    return in_order(
        items,
        _is_source,
        partial(_Opened.of, size_px=bundle.size_px, max_pixels=max_pixels),
        conclude,
        workers=workers,
        together=classifier.batch,
    )


def predict(
    paths: Iterable[Path],
    bundle: Bundle,
    *,
    precision: str = "int8",
    jobs: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
) -> Generator[Prediction | ImageError, None, None]:
    """What the network says of each of `paths`, undecided, in order; an error as a value."""
    classifier = open_classifier(bundle, precision=precision, cores=jobs or usable_cores())

    def conclude(opened: Sequence[_Opened]) -> list[Prediction | ImageError]:
        answers = _ask(classifier, opened)
        return [
            one.picture if isinstance(one.picture, ImageError) else cast(_Answer, answer).prediction
            for one, answer in zip(opened, answers, strict=True)
        ]

    return in_order(
        cast("Iterable[Path | Prediction | ImageError]", paths),
        _is_source,
        partial(_Opened.of, size_px=bundle.size_px, max_pixels=max_pixels),
        conclude,
        workers=workers_for(jobs),
        together=classifier.batch,
    )


def classify_one(
    path: Path,
    opened: Callable[[], images.DecodedPicture],
    classifier: Classifier,
    bundle: Bundle,
    policy: Policy,
    *,
    thumbnails: bool = False,
) -> Outcome:
    """One picture, from bytes or pixels to Outcome, in the calling thread.

    `opened` reads and decodes it; an ImageError that it raises becomes the Outcome's error.
    """
    one = _Opened.by(path, opened)
    (answer,) = _ask(classifier, [one])
    return _conclude(path, one, answer, bundle, policy, thumbnails=thumbnails)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A picture or why there is none, and the seconds it took."""

    source: Path | ArrayFrame
    picture: images.DecodedPicture | ImageError
    seconds: float

    @classmethod
    def of(cls, source: Path | ArrayFrame, size_px: int, max_pixels: int) -> _Opened:
        if isinstance(source, ArrayFrame):
            return cls.by(source, lambda: images.from_array(source.pixels, size_px))
        return cls.by(source, lambda: images.load(source, size_px, max_pixels=max_pixels))

    @classmethod
    def by(cls, source: Path | ArrayFrame, opened: Callable[[], images.DecodedPicture]) -> _Opened:
        begun = time.perf_counter()
        picture: images.DecodedPicture | ImageError
        try:
            picture = opened()
        except ImageError as error:
            picture = error
        return cls(source, picture, time.perf_counter() - begun)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the network says of one picture, and its share of the seconds of the request."""

    prediction: Prediction
    seconds: float


def _is_source(item: object) -> bool:
    return isinstance(item, Path | ArrayFrame)


def _ask(classifier: Classifier, opened: Sequence[_Opened]) -> list[_Answer | None]:
    """An answer for each picture, None where there is none."""
    pixels = [
        one.picture.pixels for one in opened if isinstance(one.picture, images.DecodedPicture)
    ]
    if not pixels:
        return [None] * len(opened)
    begun = time.perf_counter()
    scores = classifier.predict(np.stack(pixels))
    seconds = (time.perf_counter() - begun) / len(pixels)
    said = (
        _Answer(Prediction(tuple(row), unknown, empty), seconds)
        for row, unknown, empty in zip(*(part.tolist() for part in scores), strict=True)
    )
    return [None if isinstance(one.picture, ImageError) else next(said) for one in opened]


def _conclude(
    path: Path,
    one: _Opened,
    answer: _Answer | None,
    bundle: Bundle,
    policy: Policy,
    *,
    thumbnails: bool,
) -> Outcome:
    """The Outcome of a picture that was opened and asked about, or could not be."""
    if answer is None or isinstance(one.picture, ImageError):
        elapsed_ms = one.seconds * 1000
        return Outcome(path, Status.ERROR, elapsed_ms=elapsed_ms, error=str(one.picture))
    decision = decide(answer.prediction, bundle.taxonomy, policy)
    outcome = Outcome(
        path=path,
        status=decision.status,
        decision=decision,
        width_px=one.picture.width_px,
        height_px=one.picture.height_px,
        elapsed_ms=(one.seconds + answer.seconds) * 1000,
    )
    return thumbnail.DrawnOutcome.of(outcome, one.picture) if thumbnails else outcome
