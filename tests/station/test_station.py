"""The station's order of things, in one process and on the test's own clock: DESIGN §6."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorter.domain import ItemState
from sorter.errors import ModelError
from sorter.station.settings import Settings
from tests.support.station_bench import Bench, Eye


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_picture_gets_one_record_and_each_sorted_one_a_movement(bench: Bench) -> None:
    told = bench.run(bench.picture("a.png"), bench.picture("b.png", b"rest b"))
    assert bench.states() == [("a.png", "DONE"), ("b.png", "DONE")]
    assert [(n, bin_) for n, bin_, _ in bench.gate.moved] == [(1, 1), (2, 2)]
    assert [(r.n, r.state, r.bin and r.bin.key, r.model) for r in told] == [
        (1, ItemState.DONE, "metal", "w1"),
        (2, ItemState.DONE, "rest", "w1"),
    ]
    assert [round(r.age_s, 3) for r in told] == [0.4, 0.4]  # Old when it came, and the movement.
    row = bench.rows()[0]
    assert (row.boot, row.decided, row.sent, row.done) == ("b1", 1, 1, 1)


def test_what_was_there_at_start_is_recorded_and_moves_nothing(bench: Bench) -> None:
    told = bench.run(bench.picture("a.png", backlog=True))
    (row,) = bench.rows()
    assert (row.state, row.reason, row.bin, row.sent) == ("EXPIRED", "found at start", "metal", 0)
    assert bench.gate.moved == []
    assert [r.state for r in told] == [ItemState.EXPIRED]


def test_what_was_there_at_start_moves_when_its_turn_comes_if_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Settings(unsure="hold", act_on_backlog=True))
    bench.run(bench.picture("a.png", backlog=True, age_s=9000.0))
    assert bench.states() == [("a.png", "DONE")]
    assert len(bench.gate.moved) == 1


@pytest.mark.parametrize("word", ["INSERT", "predict"])
def test_too_old_is_never_sent_wherever_the_time_went(bench: Bench, word: str) -> None:
    """In the network before the journal, and in the journal's own commit."""
    if word == "predict":
        bench.voice.at_ready = lambda: setattr(
            bench.eye, "meanwhile", lambda: bench.clock.sleep(5.0)
        )
        bench.run(bench.picture("a.png"))
    else:
        bench.run(lambda: bench.disk_stalls(word, 5.0), bench.picture("a.png"))
    (row,) = bench.rows()
    assert (row.state, row.sent) == ("EXPIRED", 0)
    assert row.reason == ("too old" if word == "predict" else "too old once the journal had it")
    assert bench.gate.moved == []


def test_a_broken_picture_is_looked_at_again_before_it_is_rejected(bench: Bench) -> None:
    told = bench.run(
        bench.picture("a.png", b"broken"), bench.picture("a.png", b"broken", final=True)
    )
    assert bench.intake.put_back == [("a.png", "cut short")]
    assert [(r.name, r.state, r.reason) for r in bench.rows()] == [
        ("a.png", "REJECTED", "cut short")
    ]
    assert [r.state for r in told] == [ItemState.REJECTED]


def test_an_unreadable_picture_is_rejected_with_its_reason(bench: Bench) -> None:
    bench.run(bench.picture("a.png", b"", unreadable="too large: 9 bytes"))
    assert [(r.state, r.reason) for r in bench.rows()] == [("REJECTED", "too large: 9 bytes")]


def test_the_same_bytes_elsewhere_are_a_duplicate_and_here_nothing(bench: Bench) -> None:
    bench.run(
        bench.picture("a.png", b"metal"),
        bench.picture("a.png", b"metal"),
        bench.picture("b.png", b"metal"),
        bench.picture("c.png", b"broken", final=True),
        bench.picture("d.png", b"broken", final=True),
    )
    assert [(r.name, r.state, r.reason) for r in bench.rows()] == [
        ("a.png", "DONE", ""),
        ("b.png", "DUPLICATE", "same bytes as n=1"),
        ("c.png", "REJECTED", "cut short"),
        ("d.png", "REJECTED", "cut short"),
    ]
    assert len(bench.gate.moved) == 1


def test_unsure_goes_where_the_settings_say(tmp_path: Path) -> None:
    held = Bench(tmp_path, Settings(unsure="hold"))
    told = held.run(held.picture("a.png", b"unsure"))
    (row,) = held.rows()
    assert (row.state, row.bin, row.reason) == ("UNSURE_HELD", "metal", "low_confidence")
    assert held.gate.moved == []
    assert told[0].bin is None
    routed = Bench(tmp_path, Settings(unsure="rest"))
    routed.run(routed.picture("a.png", b"unsure"))
    (row,) = routed.rows()
    assert (row.state, row.bin, row.reason) == ("DONE", "rest", "low_confidence")
    assert [bin_ for _, bin_, _ in routed.gate.moved] == [2]


def test_without_a_device_it_only_records(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Settings(unsure="rest"), recording_only=True)
    bench.run(bench.picture("a.png"), bench.picture("b.png", b"unsure"))
    assert [(r.state, r.reason, r.sent) for r in bench.rows()] == [
        ("DONE", "record only", 0),
        ("DONE", "low_confidence", 0),
    ]


def test_new_weights_come_between_two_items_and_each_record_names_its_own(bench: Bench) -> None:
    bench.run(
        bench.picture("a.png"),
        lambda: setattr(bench.offer, "model", Eye("w2")),
        bench.picture("b.png"),
        bench.picture("c.png"),
    )
    assert bench.offer.started
    assert [row.model for row in bench.rows()] == ["w1", "w2", "w2"]


def test_a_request_for_new_weights_reaches_the_reload(bench: Bench) -> None:
    bench.run(lambda: bench.reload())
    assert bench.offer.requests == 1


def test_ready_comes_after_recovery_and_one_inference(bench: Bench) -> None:
    n = bench.left_over("DECIDED")
    found: list[tuple[object, ...]] = []
    bench.voice.at_ready = lambda: found.append(
        (bench.rows()[n - 1].state, bench.intake.begun, bench.gate.started_as is not None)
    )
    bench.run()
    assert found == [("EXPIRED", True, True)]
    assert bench.voice.said == ["ready", "stopping"]


def test_weights_that_answer_absurdly_never_get_ready(tmp_path: Path) -> None:
    bench = Bench(tmp_path, eye=Eye(absurd=True))
    with pytest.raises(ModelError, match="add up"):
        bench.run(bench.picture("a.png"))
    assert bench.voice.said == ["stopping"]
    assert bench.rows() == []


def test_a_stop_finishes_the_movement_under_way_and_takes_nothing_more(bench: Bench) -> None:
    bench.gate.meanwhile = lambda: bench.stop()
    bench.run(bench.picture("a.png"), bench.picture("b.png"))
    assert bench.states() == [("a.png", "DONE")]


def test_old_records_go_only_while_nothing_else_is_to_do(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Settings(unsure="hold", keep_s=60.0))
    bench.run(bench.picture("a.png"))

    def trouble() -> None:
        bench.intake.problem = "gone"

    def well() -> None:
        bench.intake.problem = ""

    bench.run(trouble, lambda: bench.clock.sleep(100.0), rest_s=70.0)
    assert bench.states() == [("a.png", "DONE")]  # While the folder is away nothing is judged.
    bench.run(well, lambda: None, rest_s=70.0)
    assert bench.states() == []
    bench.run(bench.picture("b.png"))
    assert [row.n for row in bench.rows()] == [2]  # A number is never used again.


def test_settings_that_cannot_work_are_refused_before_anything(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="--unsure nowhere"):
        Bench(tmp_path, Settings(unsure="nowhere")).run()
