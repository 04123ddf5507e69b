"""One item, at most one movement, one end: with a device or a disk that fails meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorter.domain import Delivery, ItemState, Movement
from sorter.station.settings import Settings
from tests.support.station_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("delivery", "state", "reason"),
    [
        (Delivery.DONE, "DONE", ""),
        (Delivery.FAILED, "FAILED", "why"),
        (Delivery.REFUSED, "FAILED", "why"),
        (Delivery.UNCERTAIN, "UNCERTAIN", "why"),
    ],
)
def test_how_a_movement_ends_is_how_the_record_ends(
    bench: Bench, delivery: Delivery, state: str, reason: str
) -> None:
    bench.gate.answers = [Movement(delivery, "why", "b1")]
    told = bench.run(bench.picture("a.png"))
    (row,) = bench.rows()
    assert (row.state, row.reason, row.sent) == (state, reason, 1)
    assert (told[0].state, told[0].reason) == (ItemState(state), reason)
    assert len(bench.gate.moved) == 1


def test_what_was_not_sent_is_tried_again_under_its_own_number(bench: Bench) -> None:
    bench.gate.answers = [Movement(Delivery.NOT_SENT, "busy")] * 3
    bench.run(bench.picture("a.png"))
    (row,) = bench.rows()
    assert (row.n, row.state, row.sent) == (1, "DONE", 1)
    assert [n for n, _, _ in bench.gate.moved] == [1]


def test_what_never_left_expires_without_a_moment_of_sending(bench: Bench) -> None:
    bench.gate.answers = [Movement(Delivery.NOT_SENT, "busy")] * 1000
    bench.run(bench.picture("a.png"))
    (row,) = bench.rows()
    assert (row.state, row.reason, row.sent) == ("EXPIRED", "not sent: busy", 0)
    assert bench.gate.moved == []


def test_an_item_waits_for_its_device_until_it_is_too_old(bench: Bench) -> None:
    bench.gate.ready = False
    waiting: list[tuple[str, str]] = []
    bench.clock.at(2.0, lambda: waiting.extend(bench.states()))
    bench.run(bench.picture("a.png"))
    assert waiting == [("a.png", "DECIDED")]  # It has its row while it waits.
    (row,) = bench.rows()
    assert (row.state, row.reason) == ("EXPIRED", "device not ready: closed")
    assert 4.9 < bench.clock() - 1000.0 < 5.3


def test_a_device_that_comes_back_in_time_moves_the_item_under_its_new_boot(bench: Bench) -> None:
    bench.gate.ready, bench.gate.boot = False, "b2"
    bench.clock.at(3.0, lambda: setattr(bench.gate, "ready", True))
    bench.run(bench.picture("a.png"))
    (row,) = bench.rows()
    assert (row.state, row.boot) == ("DONE", "b2")
    assert len(bench.gate.moved) == 1


def test_a_stop_while_the_device_is_away_ends_the_item(bench: Bench) -> None:
    bench.gate.ready = False
    bench.clock.at(1.0, lambda: bench.stop())
    bench.run(bench.picture("a.png"), bench.picture("b.png"))
    assert [(r.name, r.state, r.reason) for r in bench.rows()] == [
        ("a.png", "EXPIRED", "device not ready: closed; stopped")
    ]
    assert bench.clock() - 1000.0 < 1.3


@pytest.mark.parametrize("state", ["ARRIVED", "DECIDED"])
def test_what_a_crash_left_unsent_expires_and_never_moves(bench: Bench, state: str) -> None:
    bench.left_over(state)
    bench.run(bench.picture("a.png"))
    assert bench.rows()[0].reason == "interrupted before it was sent"
    assert bench.states() == [("old.png", "EXPIRED"), ("a.png", "DONE")]
    assert bench.gate.asked == []
    assert [n for n, _, _ in bench.gate.moved] == [2]


@pytest.mark.parametrize(
    ("delivery", "state"),
    [
        (Delivery.DONE, "DONE"),
        (Delivery.FAILED, "FAILED"),
        (Delivery.UNCERTAIN, "UNCERTAIN"),
        (Delivery.REFUSED, "EXPIRED"),
    ],
)
def test_what_a_crash_left_sent_is_asked_for_and_never_moves_again(
    bench: Bench, delivery: Delivery, state: str
) -> None:
    n = bench.left_over("SENT", boot="b0")
    bench.gate.fates[n] = Movement(delivery, "said so")
    bench.run(bench.picture("a.png"))
    assert bench.states() == [("old.png", state), ("a.png", "DONE")]
    assert bench.gate.asked == [(n, "b0")]
    assert [moved for moved, _, _ in bench.gate.moved] == [n + 1]
    assert bench.gate.started_as is not None
    assert bench.gate.started_as[1] == n + 1


def test_the_old_one_is_asked_for_before_a_new_one_moves(bench: Bench) -> None:
    """Also where the device is away longer than a start waits."""
    n = bench.left_over("SENT")
    bench.gate.fates[n] = Movement(Delivery.DONE)
    bench.gate.ready = False
    bench.clock.at(17.0, lambda: setattr(bench.gate, "ready", True))
    bench.run(bench.picture("a.png"))
    assert bench.states() == [("old.png", "DONE"), ("a.png", "DONE")]
    assert bench.voice.said[0] == "ready"
    assert bench.seen[0].unresolved == 1


def test_without_a_device_what_was_sent_is_uncertain(tmp_path: Path) -> None:
    bench = Bench(tmp_path, recording_only=True)
    bench.left_over("SENT")
    bench.run()
    assert [(r.state, r.reason) for r in bench.rows()] == [
        ("UNCERTAIN", "interrupted; no device to ask")
    ]


def test_a_full_disk_degrades_keeps_the_pulse_and_heals(bench: Bench) -> None:
    """Ten minutes of it: the watchdog would end a loop that is silent for 25 s."""
    bench.clock.at(600.0, lambda: bench.disk_full(False))
    told = bench.run(
        lambda: bench.disk_full(), bench.picture("a.png"), bench.picture("b.png"), rest_s=1.0
    )
    assert bench.late == []
    problems = {seen.journal_problem != "" for seen in bench.seen}
    assert problems == {True, False}
    assert bench.seen[-1].journal_problem == ""
    assert [(r.name, r.state, r.reason) for r in bench.rows()] == [
        ("a.png", "EXPIRED", "too old once the journal had it"),
        ("b.png", "DONE", ""),
    ]
    assert len(told) == 2
    assert 'sorter_faults_total{part="journal"} 1' in bench.meter.text()


def test_a_disk_that_fills_up_in_mid_movement_still_gets_the_end(bench: Bench) -> None:
    bench.gate.meanwhile = lambda: bench.disk_full()
    bench.clock.at(40.0, lambda: bench.disk_full(False))
    bench.run(bench.picture("a.png"))
    assert bench.states() == [("a.png", "DONE")]
    assert len(bench.gate.moved) == 1
    assert bench.late == []


def test_a_stop_while_the_disk_is_full_leaves_the_end_to_the_next_start(bench: Bench) -> None:
    bench.gate.meanwhile = lambda: bench.disk_full()
    bench.clock.at(5.0, lambda: bench.stop())
    assert bench.run(bench.picture("a.png")) == []
    assert bench.states() == [("a.png", "SENT")]
    assert bench.voice.said == ["ready", "stopping"]
    bench.disk_full(False)
    bench.gate.fates[1] = Movement(Delivery.DONE)
    bench.run()
    assert bench.states() == [("a.png", "DONE")]
    assert len(bench.gate.moved) == 1


def test_a_stop_while_the_journal_takes_no_picture_leaves_it_for_the_next_start(
    bench: Bench,
) -> None:
    bench.clock.at(5.0, lambda: bench.stop())
    assert bench.run(lambda: bench.disk_full(), bench.picture("a.png")) == []
    assert bench.rows() == []
    assert bench.gate.moved == []


def test_a_reason_to_be_unsure_outlives_a_clean_movement(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Settings(unsure="rest"))
    bench.gate.answers = [Movement(Delivery.DONE, "fine"), Movement(Delivery.FAILED, "jam")]
    bench.run(bench.picture("a.png", b"unsure a"), bench.picture("b.png", b"unsure b"))
    assert [row.reason for row in bench.rows()] == ["low_confidence", "jam"]
