"""Many files become Outcomes: in order, as they come, in bounded memory, at the machine's speed.

Each worker thread takes one picture from file to probabilities by itself: decoding and inference
both release the GIL, so the workers keep every core busy, and no picture's pixels wait in a queue.
Must not list folders (`images.find`) or write rows (`report`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

from sorter.domain import Outcome, Policy, Prediction, Status
from sorter.errors import ImageError
from sorter.vision import images
from sorter.vision.bundle import Bundle
from sorter.vision.classifier import Classifier
from sorter.vision.compiled import default_cache_dir
from sorter.vision.cores import usable_cores
from sorter.vision.decide import decide

WINDOW = 64
"""Pictures begun and not yet given back, a worker: one slow picture does not idle the others."""

T = TypeVar("T")


def classify(
    paths: Iterable[Path],
    bundle: Bundle,
    *,
    precision: str = "int8",
    policy: Policy | None = None,
    jobs: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
) -> Iterator[Outcome]:
    """One Outcome for each of `paths`, in their order, while they are being worked on.

    `policy` defaults to the bundle's, `jobs` (worker threads) to the cores this process may use.
    A file that is no whole picture is an Outcome with status ERROR. `paths` is read as needed, a
    bounded number ahead. Raises BundleError or ModelError for an unusable model.
    """
    # With nothing but paths going in, nothing but outcomes comes out.
    items = cast("Iterable[Path | Outcome]", paths)
    return classify_rest(
        items, bundle, precision=precision, policy=policy, jobs=jobs, max_pixels=max_pixels
    )


def classify_rest(
    items: Iterable[Path | T],
    bundle: Bundle,
    *,
    precision: str = "int8",
    policy: Policy | None = None,
    jobs: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
) -> Iterator[Outcome | T]:
    """As `classify`; an item that is no Path is passed through in its place, as it is."""
    jobs = max(1, jobs or usable_cores())
    classifier = Classifier(
        bundle,
        precision=precision,
        threads=jobs,
        streams=jobs,
        cache_dir=default_cache_dir(),
    )
    rule = policy or bundle.policy

    def work(path: Path) -> Outcome:
        return classify_one(path, classifier, bundle, rule, max_pixels=max_pixels)

    return _in_order(items, work, jobs)


def classify_one(
    path: Path, classifier: Classifier, bundle: Bundle, policy: Policy, *, max_pixels: int
) -> Outcome:
    """One file, from bytes to Outcome, in the calling thread."""
    begun = time.perf_counter()
    try:
        picture = images.load(path, bundle.size_px, max_pixels=max_pixels)
    except ImageError as error:
        elapsed = (time.perf_counter() - begun) * 1000
        return Outcome(path=path, status=Status.ERROR, elapsed_ms=elapsed, error=str(error))
    probabilities, unknown = classifier.predict(picture.pixels[None])
    prediction = Prediction(tuple(probabilities[0].tolist()), float(unknown[0]))
    decision = decide(prediction, bundle.taxonomy, policy)
    return Outcome(
        path=path,
        status=decision.status,
        decision=decision,
        width_px=picture.width_px,
        height_px=picture.height_px,
        elapsed_ms=(time.perf_counter() - begun) * 1000,
    )


def _in_order(
    items: Iterable[Path | T], work: Callable[[Path], Outcome], jobs: int
) -> Iterator[Outcome | T]:
    """Run `work` on `jobs` threads; results in the order of `items`, at most a window ahead."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="sorter-batch")
    waiting: deque[Future[Outcome] | T] = deque()
    source = iter(items)
    try:
        for item in source:
            waiting.append(pool.submit(work, item) if isinstance(item, Path) else item)
            # Give back what is ready; wait only once the window is full.
            while waiting and (len(waiting) >= WINDOW * jobs or _is_ready(waiting[0])):
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        # Also where the caller stops early: what is begun ends, what is not begun never does.
        pool.shutdown(wait=True, cancel_futures=True)


def _is_ready(entry: Future[Outcome] | T) -> bool:
    return entry.done() if isinstance(entry, Future) else True


def _result(entry: Future[Outcome] | T) -> Outcome | T:
    return entry.result() if isinstance(entry, Future) else entry
