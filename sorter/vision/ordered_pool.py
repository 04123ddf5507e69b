"""Work on many things by several threads, a few together, and give the results back in order.

Owns threads, order and how far ahead is read. Must not know what a picture or a network is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar, cast

WINDOW = 64
"""Things begun and not yet given back, a worker: one that is slow does not idle the others."""

S = TypeVar("S")
P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")


class _Group(Generic[S, P, R]):
    """A few sources. Any worker takes the next; the one that prepares the last finishes all."""

    def __init__(
        self,
        sources: Sequence[S],
        prepare: Callable[[S], P],
        finish: Callable[[Sequence[P]], Sequence[R]],
    ) -> None:
        self.results: Future[Sequence[R]] = Future()
        self._left = deque(enumerate(sources))
        self._prepared: list[P | None] = [None] * len(sources)
        self._missing = len(sources)
        self._prepare, self._finish = prepare, finish
        self._lock = threading.Lock()
        if not sources:
            self.results.set_result([])

    def work(self) -> None:
        """Take sources until none is left."""
        try:
            while True:
                try:
                    place, source = self._left.popleft()
                except IndexError:
                    return
                self._prepared[place] = self._prepare(source)
                with self._lock:
                    self._missing -= 1
                    last = not self._missing
                if last:
                    # Results may wait long for their turn; what was prepared need not.
                    prepared, self._prepared = self._prepared, []
                    self.results.set_result(self._finish(cast("list[P]", prepared)))
        except BaseException as error:
            self.drop()
            self._prepared = []
            with self._lock:
                if not self.results.done():
                    self.results.set_exception(error)

    def drop(self) -> None:
        """Begin none of what is left."""
        self._left.clear()


def in_order(
    items: Iterable[S | T],
    is_source: Callable[[S | T], bool],
    prepare: Callable[[S], P],
    finish: Callable[[Sequence[P]], Sequence[R]],
    *,
    workers: int,
    together: int,
) -> Generator[R | T, None, None]:
    """One result for each source of `items`, in their order; anything that is not a source passes
    through in its place.

    Each source is prepared by itself and `together` of them are finished at once, by `workers`
    threads. `items` is read as needed, at most a window ahead. What it raises comes out after the
    results of what it gave before; what `prepare` or `finish` raises, in place of the first of
    those that were to be finished together.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sorter-batch")
    waiting: deque[tuple[list[S | T], _Group[S, P, R]]] = deque()
    gathered: list[S | T] = []
    sources: list[S] = []
    begun = 0

    def begin() -> None:
        nonlocal gathered, sources, begun
        begun += len(gathered)
        group = _Group(sources, prepare, finish)
        waiting.append((gathered, group))
        if sources:
            pool.submit(group.work)
        gathered, sources = [], []

    def oldest() -> Iterator[R | T]:
        nonlocal begun
        entries, group = waiting[0]
        results = iter(group.results.result())  # an interrupt here must find the group in its place
        waiting.popleft()
        begun -= len(entries)
        for entry in entries:
            yield next(results) if is_source(entry) else cast(T, entry)

    trouble: Exception | None = None
    given = iter(items)
    try:
        while True:
            try:
                item = next(given)
            except StopIteration:
                break
            except Exception as error:
                trouble = error
                break
            gathered.append(item)
            if is_source(item):
                sources.append(cast(S, item))
            if len(sources) < together and len(gathered) < WINDOW:
                continue
            begin()
            # Give back what is ready; wait only once the window is full.
            while waiting and (begun >= WINDOW * workers or waiting[0][1].results.done()):
                yield from oldest()
        if gathered:
            begin()
        # Nothing more comes: a free worker helps with what has begun.
        for _, group in waiting:
            for _ in range(min(together, workers) - 1):
                if not group.results.done():
                    pool.submit(group.work)
        while waiting:
            yield from oldest()
        if trouble:
            raise trouble
    finally:
        # Also where the caller stops early: what is begun ends, what is not begun never does.
        for _, group in waiting:
            group.drop()
        pool.shutdown(wait=True)
