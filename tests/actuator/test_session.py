"""The rules for one command: retries, questions, what each answer means, deadlines."""

from __future__ import annotations

import math

import pytest

from sorter.actuator.protocol import Verb
from sorter.actuator.session import Exchange, Session, Timing
from sorter.domain import Delivery, Movement
from sorter.errors import UsageError
from tests.support.actuator_host import Host, ended

T = Timing()


def test_done() -> None:
    host = Host().ready()
    exchange = host.go()
    host.hears("ACK 1", "DONE 1 2 301")
    assert exchange.result == Movement(Delivery.DONE, "", "b1", 301)


def test_same_line_five_times_then_a_question_never_a_go() -> None:
    host = Host().ready()
    exchange = host.go()
    said = host.passes(3.39)
    assert [line for line in said if line[0] != "H"] == ["GO s1 1 2"] * 4
    said = host.passes(0.05)
    assert [line for line in said if line[0] != "H"] == ["Q 1"]
    host.hears("ST 1 NEW")
    assert ended(exchange) == (Delivery.REFUSED, "the device never started this number")


def test_retries_wait_twice_as_long_each_time() -> None:
    host = Host().ready()
    host.go()
    times: list[float] = []
    start = host.now
    while len(times) < 4:
        if "GO s1 1 2" in host.passes(0.01):
            times.append(round(host.now - start, 1))
    assert times == [0.2, 0.6, 1.4, 2.4]


@pytest.mark.parametrize(
    ("word", "delivery"),
    [("DONE", Delivery.DONE), ("FAIL", Delivery.FAILED), ("UNK", Delivery.UNCERTAIN)],
)
def test_what_dup_and_st_mean(word: str, delivery: Delivery) -> None:
    host = Host().ready()
    exchange = host.go()
    host.hears(f"DUP 1 {word}")
    assert ended(exchange)[0] is delivery
    host = Host().ready()
    exchange = host.go()
    host.hears("ACK 1")
    said = host.passes(T.move_budget_s + T.move_slack_s + 0.01)
    assert [line for line in said if line[0] != "H"] == ["Q 1"]
    host.hears(f"ST 1 {word}")
    assert ended(exchange)[0] is delivery


def test_busy_means_later_and_a_moving_number_is_waited_for() -> None:
    host = Host().ready()
    exchange = host.go(fresh_s=60.0)
    for _ in range(8):
        host.hears("BUSY 1")
        assert "GO s1 1 2" in host.passes(0.21)
    host.hears("DUP 1 BUSY", "DONE 1 2 300")
    assert ended(exchange)[0] is Delivery.DONE


@pytest.mark.parametrize("code", ["BIN", "SID", "SAFE", "FAULT"])
def test_a_first_line_refused_never_moved(code: str) -> None:
    host = Host().ready()
    exchange = host.go()
    said = host.hears(f"NAK 1 {code}")
    assert ended(exchange) == (Delivery.REFUSED, f"the device refused: {code}")
    assert said == (["HI s1 2"] if code in ("SID", "SAFE") else [])
    assert host.session.status.ready is (code == "BIN")


def test_a_repeated_line_refused_may_have_moved_before() -> None:
    host = Host().ready()
    exchange = host.go()
    host.passes(0.25)
    assert host.hears("NAK 1 SID") == ["HI s1 2"]
    assert exchange.result is None
    assert host.hears("HI b2 sim s1 1 IDLE") == ["Q 1"]
    host.hears("ST 1 UNK")
    assert ended(exchange)[0] is Delivery.UNCERTAIN


def test_a_reboot_stops_retries_and_asks() -> None:
    host = Host().ready()
    exchange = host.go()
    assert host.hears("BOOT WS1 f b2 sim s1 1 IDLE") == ["HI s1 2"]
    assert host.passes(1.0) == ["HI s1 2"] * 2
    assert host.hears("HI b2 sim s1 1 IDLE") == ["Q 1"]
    host.hears("ST 1 UNK")
    assert ended(exchange)[0] is Delivery.UNCERTAIN


def test_a_persisted_lower_mark_after_a_reboot_says_refused_and_may_go_again() -> None:
    host = Host().ready()
    exchange = host.go()
    host.hears("BOOT WS1 f b2 sim s1 0 IDLE", "HI b2 sim s1 0 IDLE", "ST 1 NEW")
    assert ended(exchange)[0] is Delivery.REFUSED
    host.session.finish()
    again = host.go(boot="b2")
    host.hears("ACK 1", "DONE 1 2 300")
    assert ended(again)[0] is Delivery.DONE


@pytest.mark.parametrize(
    "line",
    [
        *("DONE 7 2 300", "DONE 1 3 300", "ACK 2", "FAIL 2 JAM", "ST 1 NEW", "ST 2 DONE"),
        *("DUP 2 UNK", "NAK - CRC", "NAK 2 SID", "HB 9 IDLE", "BUSY 3"),
    ],
)
def test_late_and_foreign_replies_change_nothing(line: str) -> None:
    host = Host().ready()
    exchange = host.go()
    assert host.hears(line) == []
    assert exchange.result is None
    assert "GO s1 1 2" in host.passes(0.21)
    host.hears("ACK 1", "DONE 1 2 300")
    assert ended(exchange)[0] is Delivery.DONE


def test_replies_without_an_exchange_change_nothing() -> None:
    host = Host().ready()
    assert host.hears("DONE 1 2 300", "ACK 1", "ST 1 NEW", "FAIL 1 X", "DUP 1 UNK") == []
    assert host.session.status.ready
    assert host.session.foreign == 5


@pytest.mark.parametrize(
    ("n", "bin_number", "boot", "late_s", "why"),
    [
        (1, 1, "b0", 0.0, "restarted"),
        (1, 1, "b1", 1.0, "too late"),
        (1, 5, "b1", 0.0, "bin 5"),
        (1, 0, "b1", 0.0, "bin 0"),
        (0, 1, "b1", 0.0, "number 0"),
        (2**32 - 1, 1, "b1", 0.0, "number"),
    ],
)
def test_refused_before_the_first_byte(
    n: int, bin_number: int, boot: str, late_s: float, why: str
) -> None:
    host = Host().ready()
    answer = host.session.move(n, bin_number, boot=boot, deadline=host.now - late_s, now=host.now)
    assert isinstance(answer, Movement)
    assert answer.delivery is Delivery.NOT_SENT
    assert why in answer.detail
    assert host.says() == []


def test_one_command_outstanding() -> None:
    host = Host().ready()
    host.go()
    second = host.session.move(2, 1, boot="b1", deadline=math.inf, now=host.now)
    assert isinstance(second, Movement)
    assert second.delivery is Delivery.NOT_SENT


def test_no_go_of_any_kind_after_the_deadline() -> None:
    host = Host().ready()
    exchange = host.go(fresh_s=0.5)
    said = [line for line in host.passes(3.0) if line[0] != "H"]
    assert said[0] == "GO s1 1 2"
    assert set(said[1:]) == {"Q 1"}
    host.hears("ST 1 NEW")
    assert ended(exchange)[0] is Delivery.REFUSED


def test_silence_after_five_tries_stops_actuating_and_ends_as_uncertain() -> None:
    host = Host().ready()
    exchange = host.go()
    host.hears("ACK 1")
    said = []
    for _ in range(15):  # the device is alive, yet does not answer this one question
        said += host.hears("HB 1 IDLE") + host.passes(0.5)
    assert said.count("Q 1") == 5
    assert said[-1] == "HI s1 2"
    assert not host.session.status.ready
    assert "5 tries" in host.session.status.detail
    while not host.session.broken and exchange.result is None:
        host.passes(1.0)
    host.session.lost("closed", host.now)
    host.passes(T.doubt_limit_s)
    assert ended(exchange)[0] is Delivery.UNCERTAIN


def test_unplugged_in_mid_movement_asks_after_the_next_hand_shake() -> None:
    host = Host().ready()
    exchange = host.go()
    host.hears("ACK 1")
    host.session.lost("unplugged", host.now)
    assert host.passes(2.0) == []
    host.session.opened(host.now)
    assert host.hears("BOOT WS1 f b2 sim s1 1 IDLE") == ["HI s1 2"]
    assert host.hears("HI b2 sim s1 1 IDLE") == ["Q 1"]
    host.hears("ST 1 DONE")
    assert exchange.result == Movement(Delivery.DONE, "", "b2")


def test_fault_asks_stops_and_recovers_when_cleared() -> None:
    host = Host().ready()
    exchange = host.go()
    host.hears("ACK 1")
    assert host.hears("FAULT STOP") == ["Q 1"]
    assert not host.session.status.ready
    assert "FAULT STOP" in host.session.status.detail
    host.hears("ST 1 FAIL")
    assert ended(exchange)[0] is Delivery.FAILED
    host.session.finish()
    host.passes(1.0)
    assert host.hears("HB 1 FAULT") == []
    assert not host.session.status.ready
    cleared = host.session.order(Verb.CLEAR, now=host.now)
    assert isinstance(cleared, Exchange)
    number = cleared.number
    host.hears(f"ACK {number}", f"DONE {number} 0 0", "HB 2 IDLE", "HI b1 sim s1 1 IDLE")
    assert ended(cleared)[0] is Delivery.DONE
    assert host.session.status.ready


def test_stop_goes_out_first() -> None:
    host = Host().ready()
    host.session.move(1, 1, boot="b1", deadline=math.inf, now=host.now)
    host.session.stop()
    assert host.session.take().startswith(b"!GO ")


def test_resolving_after_a_restart_of_the_host() -> None:
    host = Host(next_n=8)
    exchange = host.session.ask(7, boot="b0", now=host.now)
    host.hears("BOOT WS1 f b1 sim s1 7 IDLE")
    assert host.hears("HI b1 sim s1 7 IDLE") == ["Q 7"]
    host.hears("ST 7 BUSY")
    assert "Q 7" in host.passes(1.0)
    host.hears("ST 7 DONE")
    assert ended(exchange)[0] is Delivery.DONE


def test_a_spare_that_knows_the_session_says_nothing_about_the_first_device() -> None:
    """In mid-movement, and after a crash: its NEW is true of itself alone."""
    host = Host().ready()
    exchange = host.go()
    host.hears("ACK 1")
    host.session.lost("unplugged", host.now)
    host.session.opened(host.now)
    host.hears("BOOT WS1 f b9 sim s1 0 IDLE", "HI b9 sim s1 0 IDLE", "ST 1 NEW")
    delivery, why = ended(exchange)
    assert delivery is Delivery.UNCERTAIN
    assert "another may have" in why
    host = Host(next_n=8)
    exchange = host.session.ask(7, boot="b1", now=host.now)
    host.hears("BOOT WS1 f b9 sim s1 6 IDLE", "HI b9 sim s1 6 IDLE", "ST 7 NEW")
    assert ended(exchange)[0] is Delivery.UNCERTAIN


def test_the_very_boot_that_was_told_is_believed_after_a_crash() -> None:
    host = Host(next_n=8)
    exchange = host.session.ask(7, boot="b1", now=host.now)
    host.passes(T.boot_wait_s)
    host.hears("HI b1 sim s1 6 IDLE", "ST 7 NEW")
    assert ended(exchange)[0] is Delivery.REFUSED


@pytest.mark.parametrize("sid", ["", "a b", "a" * 17, "é", "a*"])
def test_session_ids_that_cannot_stand_on_the_wire(sid: str) -> None:
    with pytest.raises(UsageError, match="session id"):
        Session(sid, 1)
