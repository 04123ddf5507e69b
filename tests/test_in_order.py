"""Threads, order and the end of a batch, with sources that are numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import count, islice

import pytest

from sorter.vision.in_order import WINDOW, in_order


def is_number(item: object) -> bool:
    return isinstance(item, int)


def negative(prepared: Sequence[int]) -> list[int]:
    return [-value for value in prepared]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("together", [1, 4, 7])
def test_order_is_kept(workers: int, together: int) -> None:
    items: list[int | str] = [n if n % 3 else str(n) for n in range(200)]
    got = list(in_order(items, is_number, abs, negative, workers=workers, together=together))
    assert got == [-n if n % 3 else str(n) for n in range(200)]


def test_at_the_end_the_free_help(workers: int = 4) -> None:
    """Four sources are one group; they meet only if four workers share it."""
    meeting = threading.Barrier(workers, timeout=30)

    def prepare(number: int) -> int:
        meeting.wait()
        return number

    items: list[int | str] = list(range(workers))
    got = list(in_order(items, is_number, prepare, negative, workers=workers, together=workers))
    assert got == [0, -1, -2, -3]


def test_an_error_comes_where_its_result_would() -> None:
    def prepare(number: int) -> int:
        if number == 6:
            raise ValueError("six")
        return number

    items: list[int | str] = list(range(12))
    results = in_order(items, is_number, prepare, negative, workers=2, together=4)
    assert list(islice(results, 4)) == [0, -1, -2, -3]
    with pytest.raises(ValueError, match="six"):
        next(results)


def test_no_more_is_read_than_a_window() -> None:
    read: list[int] = []
    workers = 2

    def items() -> Iterator[int | str]:
        for number in count():
            read.append(number)
            yield number

    results = in_order(items(), is_number, abs, negative, workers=workers, together=4)
    assert next(results) == 0
    assert len(read) <= WINDOW * workers + 4
    results.close()
    before = len(read)
    assert not [t for t in threading.enumerate() if t.name.startswith("sorter-batch")]
    assert len(read) == before


def test_what_is_not_begun_never_is() -> None:
    """Who stops early waits for what is begun and no longer."""
    begun: list[int] = []
    go_on = threading.Event()

    def prepare(number: int) -> int:
        begun.append(number)
        if number:
            assert go_on.wait(30)
        return number

    items: list[int | str] = list(range(40))
    results = in_order(items, is_number, prepare, negative, workers=1, together=1)
    assert next(results) == 0
    threading.Timer(0.2, go_on.set).start()
    results.close()
    assert len(begun) < 40
