"""Pictures of one item that arrive together: one decision, one movement, a record each."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorter.domain import ItemState
from sorter.station.burst import MAX_MEMBERS
from sorter.station.settings import Settings
from tests.support.station_bench import Bench, Eye


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, Settings(burst_s=1.0, unsure="hold"))


def test_a_group_is_one_item_and_its_first_picture_moves(bench: Bench) -> None:
    told = bench.run(
        bench.picture("a.png", b"metal a"),
        bench.picture("b.png", b"metal b"),
        bench.picture("c.png", b"metal c"),
        lambda: bench.clock.sleep(1.5),
    )
    assert [(r.name, r.state, r.reason) for r in bench.rows()] == [
        ("a.png", "DONE", ""),
        ("b.png", "DUPLICATE", "burst of n=1"),
        ("c.png", "DUPLICATE", "burst of n=1"),
    ]
    assert [n for n, _, _ in bench.gate.moved] == [1]
    assert sorted(r.n for r in told) == [1, 2, 3]


def test_the_decision_is_over_all_its_pictures(bench: Bench) -> None:
    bench.run(
        bench.picture("a.png", b"rest a"),
        bench.picture("b.png", b"metal b"),
        lambda: bench.clock.sleep(1.5),
    )
    assert bench.states() == [("a.png", "UNSURE_HELD"), ("b.png", "DUPLICATE")]


def test_the_next_item_begins_after_the_window(bench: Bench) -> None:
    bench.run(
        bench.picture("a.png"),
        lambda: bench.clock.sleep(1.05),
        bench.picture("b.png", age_s=0.0),
        lambda: bench.clock.sleep(1.5),
    )
    assert bench.states() == [("a.png", "DONE"), ("b.png", "DONE")]


def test_a_flood_is_not_one_item(bench: Bench) -> None:
    pictures = [bench.picture(f"{i}.png") for i in range(MAX_MEMBERS + 1)]
    bench.run(*pictures, lambda: bench.clock.sleep(1.5))
    assert sum(row.state == "DONE" for row in bench.rows()) == 2


def test_what_was_there_at_start_joins_no_group_and_waits_for_it(bench: Bench) -> None:
    held: list[bool] = []
    bench.run(
        bench.picture("old.png", backlog=True),
        bench.picture("a.png"),
        lambda: held.append(bench.intake.hold_backlog),
        lambda: bench.clock.sleep(1.5),
        lambda: held.append(bench.intake.hold_backlog),
    )
    assert bench.states() == [("old.png", "EXPIRED"), ("a.png", "DONE")]
    assert held == [True, False]


def test_new_weights_wait_for_the_end_of_the_group(bench: Bench) -> None:
    bench.run(
        bench.picture("a.png"),
        lambda: setattr(bench.offer, "model", Eye("w2")),
        bench.picture("b.png"),
        lambda: bench.clock.sleep(1.5),
        bench.picture("c.png"),
        lambda: bench.clock.sleep(1.5),
    )
    assert [row.model for row in bench.rows()] == ["w1", "w1", "w2"]


def test_a_stop_ends_a_group_under_way_without_a_movement(bench: Bench) -> None:
    told = bench.run(bench.picture("a.png"), bench.picture("b.png"))
    assert [(r.name, r.state, r.reason) for r in bench.rows()] == [
        ("a.png", "EXPIRED", "stopped"),
        ("b.png", "EXPIRED", "stopped"),
    ]
    assert [r.state for r in told] == [ItemState.EXPIRED] * 2
    assert bench.gate.moved == []


def test_a_group_interrupted_by_a_crash_expires(bench: Bench) -> None:
    """Its members have rows from their arrival on, so nothing is lost and nothing moves."""
    seen: list[tuple[str, str]] = []
    bench.run(bench.picture("a.png"), lambda: seen.extend(bench.states()))
    assert seen == [("a.png", "ARRIVED")]
