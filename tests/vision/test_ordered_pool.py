"""Threads, order and the end of a batch, with sources that are numbers."""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from itertools import count, islice

import pytest

from sorter.vision.ordered_pool import WINDOW, in_order
from tests.support.waiting import wait_for

PATIENCE_S = 30.0


def is_number(item: object) -> bool:
    return isinstance(item, int)


def negative(prepared: Sequence[int]) -> list[int]:
    return [-value for value in prepared]


class Gate:
    """Notes each number that is begun, and holds those from `first` on until it opens.

    The very first waits until all `items` are read: nothing is given back before.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self.begun: list[int] = []
        self.open = threading.Event()
        self.read = threading.Event()

    def items(self, number: int) -> Iterator[int | str]:
        yield from range(number)
        self.read.set()

    def prepare(self, number: int) -> int:
        self.begun.append(number)
        if number >= self.first:
            assert self.open.wait(PATIENCE_S)
        elif not number:
            assert self.read.wait(PATIENCE_S)
        return number


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("together", [1, 4, 7])
def test_order_is_kept(workers: int, together: int) -> None:
    items: list[int | str] = [n if n % 3 else str(n) for n in range(200)]
    got = list(in_order(items, is_number, abs, negative, workers=workers, together=together))
    assert got == [-n if n % 3 else str(n) for n in range(200)]


@pytest.mark.parametrize("others", [[], [str(n) for n in range(3 * WINDOW)]])
def test_at_the_end_the_free_help(others: list[int | str]) -> None:
    """Four sources are one group; they meet only if four workers share it."""
    meeting = threading.Barrier(4, timeout=PATIENCE_S)

    def prepare(number: int) -> int:
        meeting.wait()
        return number

    items: list[int | str] = [0, 1, 2, 3, *others]
    got = list(in_order(items, is_number, prepare, negative, workers=4, together=4))
    assert got == [0, -1, -2, -3, *others]


def test_the_free_help_an_old_group_while_younger_ones_are_done() -> None:
    meeting = threading.Barrier(4, timeout=PATIENCE_S)

    def prepare(number: int) -> int:
        if number < 4:
            meeting.wait()
        return number

    items: list[int | str] = list(range(28))
    got = list(in_order(items, is_number, prepare, negative, workers=4, together=4))
    assert got == [-n for n in range(28)]


def test_no_more_is_read_than_a_window() -> None:
    read: list[int] = []
    gate = Gate(first=0)

    def items() -> Iterator[int | str]:
        for number in range(3 * WINDOW):
            read.append(number)
            yield number

    results = in_order(items(), is_number, gate.prepare, negative, workers=2, together=4)
    got: list[object] = []
    consumer = threading.Thread(target=lambda: got.extend(results))
    consumer.start()
    wait_for(lambda: len(read) >= 2 * WINDOW)
    time.sleep(0.2)  # who reads too far has read all by now
    assert len(read) == 2 * WINDOW
    gate.open.set()
    consumer.join(PATIENCE_S)
    assert got == [-n for n in range(3 * WINDOW)]


def test_what_is_ready_does_not_wait_for_a_full_window() -> None:
    read: list[int] = []

    def items() -> Iterator[int | str]:
        for number in count():
            read.append(number)
            time.sleep(0.01)
            yield number

    results = in_order(items(), is_number, abs, negative, workers=4, together=4)
    assert next(results) == 0
    assert len(read) < 2 * WINDOW
    results.close()


def test_what_was_prepared_is_not_kept_until_its_turn() -> None:
    class Prepared:
        pass

    kept: list[weakref.ref[Prepared]] = []
    finished = threading.Semaphore(0)
    gate = Gate(first=8)

    def prepare(number: int) -> Prepared:
        gate.prepare(number)
        one = Prepared()
        kept.append(weakref.ref(one))
        return one

    def finish(prepared: Sequence[Prepared]) -> list[int]:
        finished.release()
        return [1] * len(prepared)

    results = in_order(gate.items(8), is_number, prepare, finish, workers=1, together=4)
    assert next(results) == 1
    for _ in range(2):
        assert finished.acquire(timeout=PATIENCE_S)
    wait_for(lambda: all(one() is None for one in kept))
    assert list(results) == [1] * 7


@pytest.mark.parametrize("where", ["prepare", "finish"])
def test_an_error_comes_in_place_of_those_done_with_it(where: str) -> None:
    def refuse(numbers: Sequence[int]) -> None:
        if 6 in numbers:
            raise ValueError("six")

    def prepare(number: int) -> int:
        refuse([number] if where == "prepare" else [])
        return number

    def finish(prepared: Sequence[int]) -> list[int]:
        refuse(prepared)
        return negative(prepared)

    items: list[int | str] = list(range(12))
    results = in_order(items, is_number, prepare, finish, workers=2, together=4)
    assert list(islice(results, 4)) == [0, -1, -2, -3]
    with pytest.raises(ValueError, match="six"):
        next(results)


def test_items_that_fail_lose_nothing_that_they_gave() -> None:
    def items() -> Iterator[int | str]:
        yield from range(10)
        raise OSError("the list ends here")

    got = []
    with pytest.raises(OSError, match="ends here"):
        for result in in_order(items(), is_number, abs, negative, workers=2, together=4):
            got.append(result)  # list() would lose them with the error
    assert got == [-n for n in range(10)]


def test_who_stops_early_waits_for_what_is_begun_and_no_longer() -> None:
    gate = Gate(first=8)
    results = in_order(gate.items(40), is_number, gate.prepare, negative, workers=1, together=8)
    assert next(results) == 0
    wait_for(lambda: 8 in gate.begun)
    threading.Timer(0.2, gate.open.set).start()
    results.close()
    assert gate.begun == list(range(9))
    assert not [t for t in threading.enumerate() if t.name.startswith("sorter-batch")]


def test_an_interrupt_begins_nothing_more() -> None:
    gate = Gate(first=0)
    results = in_order(gate.items(40), is_number, gate.prepare, negative, workers=1, together=8)

    def interrupt() -> None:
        wait_for(lambda: bool(gate.begun))
        time.sleep(0.2)  # until the main thread waits for a result
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        gate.open.set()

    # Python lets SIGINT be where it was ignored at the start, as in a shell's background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            next(results)
    finally:
        signal.signal(signal.SIGINT, before)
    assert gate.begun == [0]
