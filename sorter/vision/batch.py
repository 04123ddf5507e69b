"""Many files become Outcomes: in order, as they come, in bounded memory, at the machine's speed.

Each worker thread takes one picture from file to probabilities by itself: decoding and inference
both release the GIL, so the workers keep every core busy, and no picture's pixels wait in a queue.
Must not list folders (`images.find`) or write rows (`report`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Outcome, Policy, Prediction, Status
from sorter.errors import ImageError
from sorter.vision import images, thumbnail
from sorter.vision.bundle import Bundle
from sorter.vision.classifier import Classifier
from sorter.vision.compiled import default_cache_dir
from sorter.vision.cores import usable_cores
from sorter.vision.decide import decide

WINDOW = 64
"""Pictures begun and not yet given back, a worker: one slow picture does not idle the others."""

WORKERS_A_CORE = 2
"""A worker that waits for the network's answer leaves its core free for another one's decoding:
192 pictures a second against 164 on two cores, medians of twelve interleaved rounds."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture that is no file: `pixels` (height, width, 3) RGB, and what stands as its path."""

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
    With `thumbnails`, every picture's Outcome carries one. A file that is no whole picture is an
    Outcome with status ERROR. `items` is read as needed, a bounded number ahead. Raises
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
        bundle, precision=precision, threads=cores, streams=cores, cache_dir=default_cache_dir()
    )


def workers_for(jobs: int | None) -> int:
    """Worker threads where the user asked for `jobs`, None for as many as pay."""
    return jobs or WORKERS_A_CORE * usable_cores()


def run(
    items: Iterable[Path | Frame | T],
    classifier: Classifier,
    bundle: Bundle,
    *,
    policy: Policy,
    workers: int,
    max_pixels: int = images.MAX_PIXELS,
    thumbnails: bool = False,
) -> Generator[Outcome | T, None, None]:
    """As `classify`, with a classifier that is there already; a Frame is worked on too."""

    def work(source: Path | Frame) -> Outcome:
        return classify_one(
            source.path if isinstance(source, Frame) else source,
            lambda: _open(source, bundle.size_px, max_pixels),
            classifier,
            bundle,
            policy,
            thumbnails=thumbnails,
        )

    return _in_order(items, work, workers)


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

    def work(source: Path | Frame) -> Prediction | ImageError:
        try:
            picture = _open(source, bundle.size_px, max_pixels)
        except ImageError as error:
            return error
        return _ask(classifier, picture)

    items = cast("Iterable[Path | Prediction | ImageError]", paths)
    return _in_order(items, work, workers_for(jobs))


def classify_one(
    path: Path,
    opened: Callable[[], images.Picture],
    classifier: Classifier,
    bundle: Bundle,
    policy: Policy,
    *,
    thumbnails: bool = False,
) -> Outcome:
    """One picture, from bytes or pixels to Outcome, in the calling thread.

    `opened` reads and decodes it; an ImageError that it raises becomes the Outcome's error.
    """
    begun = time.perf_counter()
    try:
        picture = opened()
    except ImageError as error:
        elapsed_ms = (time.perf_counter() - begun) * 1000
        return Outcome(path=path, status=Status.ERROR, elapsed_ms=elapsed_ms, error=str(error))
    decision = decide(_ask(classifier, picture), bundle.taxonomy, policy)
    return Outcome(
        path=path,
        status=decision.status,
        decision=decision,
        width_px=picture.width_px,
        height_px=picture.height_px,
        elapsed_ms=(time.perf_counter() - begun) * 1000,
        thumbnail=thumbnail.draw(picture) if thumbnails else b"",
    )


def _open(source: Path | Frame, size_px: int, max_pixels: int) -> images.Picture:
    if isinstance(source, Frame):
        return images.from_array(source.pixels, size_px)
    return images.load(source, size_px, max_pixels=max_pixels)


def _ask(classifier: Classifier, picture: images.Picture) -> Prediction:
    probabilities, unknown = classifier.predict(picture.pixels[None])
    return Prediction(tuple(probabilities[0].tolist()), float(unknown[0]))


def _in_order(
    items: Iterable[Path | Frame | T], work: Callable[[Path | Frame], R], workers: int
) -> Generator[R | T, None, None]:
    """Run `work` on `workers` threads; results in the order of `items`, at most a window ahead."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sorter-batch")
    waiting: deque[Future[R] | T] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item) if isinstance(item, Path | Frame) else item)
            # Give back what is ready; wait only once the window is full.
            while waiting and (len(waiting) >= WINDOW * workers or _is_ready(waiting[0])):
                first = waiting.popleft()
                yield first.result() if isinstance(first, Future) else first
        while waiting:
            first = waiting.popleft()
            yield first.result() if isinstance(first, Future) else first
    finally:
        # Also where the caller stops early: what is begun ends, what is not begun never does.
        pool.shutdown(wait=True, cancel_futures=True)


def _is_ready(entry: object) -> bool:
    return entry.done() if isinstance(entry, Future) else True
