"""What a record says of its decision, and the hourly counts: the same however they came about."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sorter.domain import Delivery, ItemState, Movement, Record
from sorter.station.journal.history import read_items
from sorter.station.journal.opening import open_journal
from sorter.station.journal.tallies import TALLIES
from sorter.station.settings import Settings
from tests.support.items import DECISION, picture
from tests.support.old_journal import make_old
from tests.support.recorded import UNSURE
from tests.support.station_bench import Bench


def counts(db: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """The tallies as they stand, without what was taken back."""
    return {
        tally.name: sorted(db.execute(f"SELECT * FROM {tally.name} WHERE items > 0"))
        for tally in TALLIES
    }


def recounted(db: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """The tallies anew, from the records."""
    for tally in TALLIES:
        db.execute(f"DELETE FROM {tally.name}")
        db.execute(tally.fill())
    return counts(db)


def test_every_reason_takes_its_own_route_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Settings(unsure="rest", unknown_object="metal"))
    words = ("metal", "unsure", "strange", "empty")
    bench.run(*(bench.picture(f"{w}.png", w.encode()) for w in words))
    told = bench.db.execute("SELECT state, why, bin_decided, bin FROM items ORDER BY n").fetchall()
    assert told == [
        ("DONE", "sorted", "metal", "metal"),
        ("DONE", "low_confidence", "metal", "rest"),
        ("DONE", "unknown_object", "metal", "metal"),
        ("UNSURE_HELD", "empty", "metal", "metal"),
    ]
    assert [(n, bin_) for n, bin_, _ in bench.gate.moved] == [(1, 1), (2, 2), (3, 1)]
    moved = bench.db.execute("SELECT why, bin_moved, items FROM hours ORDER BY why").fetchall()
    assert moved == [
        ("empty", "", 1),
        ("low_confidence", "rest", 1),
        ("sorted", "metal", 1),
        ("unknown_object", "metal", 1),
    ]


@pytest.mark.parametrize("burst_s", [0.0, 1.0])
def test_what_is_counted_as_it_comes_is_what_a_count_finds(tmp_path: Path, burst_s: float) -> None:
    """Moved, failed, too late, held, broken, twice the same, after a crash; alone and in bursts."""
    bench = Bench(tmp_path, Settings(unsure="hold", burst_s=burst_s))
    bench.left_over("DECIDED")
    bench.gate.answers = [Movement(Delivery.DONE), Movement(Delivery.FAILED, "jam")]
    bench.run(
        *(bench.picture(f"{i}.png", age_s=0.1 + 3.3 * i) for i in range(3)),
        bench.picture("unsure.png", b"unsure"),
        bench.picture("again.png", b"unsure"),
        bench.picture("broken.png", b"broken", final=True),
        bench.picture("old.png", b"rest of yesterday", backlog=True),
        rest_s=2.0,
    )
    before = counts(bench.db)
    states = {state for _, state in bench.states()}
    assert {"DONE", "FAILED", "EXPIRED", "UNSURE_HELD", "REJECTED", "DUPLICATE"} <= states
    assert sum(row[-2] for row in before["hours"]) == len(bench.rows())
    assert before == recounted(bench.db)


def test_an_audit_moves_an_item_to_another_count(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    with contextlib.closing(open_journal(file)) as journal:
        for name in "abc":
            journal.add(Record(picture(name, name), ItemState.DONE, decision=DECISION))
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE items SET audited = 'right' WHERE n = 1")
        db.execute("UPDATE items SET audited = 'wrong' WHERE n = 2")
        found = db.execute("SELECT audited, items FROM hours WHERE items > 0 ORDER BY audited")
        assert found.fetchall() == [("", 1), ("right", 1), ("wrong", 1)]
        before = counts(db)
        assert [row[:-1] for row in before["hours"]] == [row[:-1] for row in recounted(db)["hours"]]


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_record_says_what_it_can(tmp_path: Path, version: int) -> None:
    """Read as it lies, and once a station has opened it."""
    file, rest = tmp_path / "j.sqlite", DECISION.bin
    with contextlib.closing(open_journal(file)) as journal:
        sent = Record(picture("a", "a"), ItemState.SENT, 0, DECISION, DECISION.bin)
        journal.finish(journal.add(sent), ItemState.DONE)
        doubt = Record(picture("b", "b"), ItemState.SENT, 0, UNSURE, rest, "low_confidence")
        journal.finish(journal.add(doubt), ItemState.DONE)
        journal.add(Record(picture("c", "c"), ItemState.REJECTED, reason="cut short"))
    make_old(file, version)
    wanted = [("metal", "metal", "sorted"), ("", "metal", "low_confidence"), ("", "", "")]
    said = [(row["bin_decided"], row["bin_moved"], row["why"]) for row in read_items(file)]
    assert said == wanted
    with contextlib.closing(sqlite3.connect(file)) as db:
        early = {t.name: sorted(db.execute(f"SELECT * FROM {t.counted()}")) for t in TALLIES}
    with contextlib.closing(open_journal(file)):
        pass
    said = [(row["bin_decided"], row["bin_moved"], row["why"]) for row in read_items(file)]
    assert said == wanted
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert counts(db) == early
        assert sum(row[-2] for row in early["hours"]) == 3
