"""The hand-shake and the heart-beat on an injected clock; then the whole link over a bad line."""

from __future__ import annotations

import math
import time

import pytest

from sorter.actuator.link import Link
from sorter.actuator.session import Timing
from sorter.actuator.simulator.device import Device
from sorter.domain import Delivery, Movement
from sorter.host.clock import uptime_s
from tests.soak import link as soak
from tests.support.actuator_host import Host
from tests.support.actuator_port import Clogged, Hanging

# The hand-shake.


def test_three_seconds_for_boot_then_hi_each_half_second_for_ten() -> None:
    host = Host()
    assert host.passes(2.99) == []
    assert host.passes(0.02) == ["HI s1 1"]
    assert host.passes(9.9) == ["HI s1 1"] * 19
    host.passes(1.0)
    assert "nothing answers" in host.session.broken


def test_nothing_moves_before_the_hand_shake() -> None:
    host = Host()
    for stage in ("waiting", "greeting"):
        assert host.session.state == stage
        refused = host.session.move(1, 1, boot="", deadline=math.inf, now=host.now)
        assert isinstance(refused, Movement)
        assert refused.delivery is Delivery.NOT_SENT
        host.passes(3.0)
    assert all(line.startswith("HI ") for line in host.says())


def test_a_hello_answered_before_it_was_said_is_not_one() -> None:
    host = Host()
    host.hears("HI b0 sim s1 0 IDLE")  # left over from before
    assert not host.session.status.ready


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("BOOT WS2 f b1 sim - - IDLE", "speaks 'WS2'"),
        ("BOOT WS1 f b1 other - - IDLE", "calls itself 'other', not 'sim'"),
    ],
)
def test_wrong_protocol_or_device_is_closed(line: str, why: str) -> None:
    host = Host(device="sim")
    assert host.hears(line) == []
    assert why in host.session.broken
    assert host.hears("HI b1 sim s1 0 IDLE") == []
    assert not host.session.status.ready


def test_wrong_device_is_found_in_hi_too() -> None:
    host = Host(device="sim")
    host.passes(3.0)
    host.hears("HI b1 other s1 0 IDLE")
    assert "calls itself 'other'" in host.session.broken


def test_any_device_where_none_is_named() -> None:
    assert Host().ready().session.status.device == "sim"


def test_busy_with_another_session_waits_its_end() -> None:
    host = Host()
    host.hears("BOOT WS1 f b1 sim s0 7 BUSY")
    assert host.hears("HI b1 sim s0 7 BUSY") == []
    assert not host.session.status.ready
    assert host.passes(0.5) == ["HI s1 1"]
    host.hears("HI b1 sim s1 0 IDLE")
    assert host.session.status.ready


def test_a_journal_older_than_the_device_is_refused() -> None:
    host = Host(next_n=5)
    host.hears("BOOT WS1 f b1 sim s1 90 IDLE")
    host.hears("HI b1 sim s1 90 IDLE")
    assert "already used number 90" in host.session.broken


def test_heart_beat_each_second_and_silence_shakes_hands_again() -> None:
    host = Host().ready()
    assert host.passes(1.0) == ["HB 1"]
    host.hears("HB 1 IDLE")
    assert host.passes(4.0) == ["HB 2", "HB 3", "HB 4", "HB 5"]
    host.hears("HB 2 IDLE")
    assert host.passes(5.0) == [f"HB {k}" for k in range(6, 11)]
    assert host.passes(1.0)[0] == "HI s1 1"
    assert not host.session.status.ready
    host.passes(11.0)
    assert host.session.broken


def test_safe_and_reboot_ask_for_a_new_hand_shake() -> None:
    host = Host().ready()
    assert host.hears("HB 1 SAFE") == ["HI s1 1"]
    assert not host.session.status.ready
    host.hears("HI b1 sim s1 0 IDLE")
    assert host.session.status.ready
    assert host.hears("BOOT WS1 f b2 sim s1 0 IDLE") == ["HI s1 1"]
    host.hears("HI b2 sim s1 0 IDLE")
    assert host.session.status.boot == "b2"


def test_a_repeated_boot_line_is_no_new_boot() -> None:
    host = Host().ready()
    assert host.hears("BOOT WS1 f b1 sim - - IDLE") == []
    assert host.session.status.ready


# All of it at once, in simulated time (see tests/soak/link.py for more).


@pytest.mark.parametrize(("seed", "ram"), [(1, False), (2, True)])
def test_soak_over_a_line_that_fails(seed: int, ram: bool) -> None:
    tally = soak.run(10_000, seed=seed, ram=ram, restart=0.01)
    assert tally.broken == []
    assert sum(tally.outcomes.values()) == 10_000
    assert tally.resets > 10
    assert tally.restarts > 50
    assert tally.outcomes["done"] > 9_000


class Forgetful(Device):
    """A device that takes every number for new after a hand-shake."""

    def _hi(self, sid: str, next_n: int) -> None:
        super()._hi(sid, next_n)
        self._mark = 0


def test_the_witness_is_awake() -> None:
    tally = soak.run(2000, seed=1, ram=True, device=Forgetful)
    assert any("yet it moved" in line for line in tally.broken)


def test_bytes_that_nobody_takes_are_dropped_with_the_port() -> None:
    """A board that wakes up later must not find an old command in the machine's queue."""
    opened: list[Clogged] = []

    def open_clogged() -> Clogged:
        opened.append(Clogged())
        return opened[-1]

    link = Link(open_clogged, timing=Timing(boot_wait_s=0.05, queued_s=0.3, backoff_first_s=60.0))
    link.start("s1", 1)
    while not opened:
        time.sleep(0.01)
    assert opened[0].closed.wait(10)
    assert opened[0].queue == b""
    while link.status().detail != "the device does not read what is written":
        time.sleep(0.01)
    link.close()


@pytest.mark.waits
def test_a_go_that_cannot_leave_before_its_deadline_does_not_leave() -> None:
    opened: list[Clogged] = []

    def open_next() -> Clogged:
        opened.append(Clogged() if opened else Hanging())
        return opened[-1]

    link = Link(open_next, timing=Timing(doubt_limit_s=2.0, backoff_first_s=0.1))
    link.start("s1", 1)
    assert link.wait_until_ready(10)
    port = opened[0]
    assert isinstance(port, Hanging)
    port.hangs = True
    begun = uptime_s()
    done = link.move(1, 1, boot="b1", deadline=begun + 0.3)
    assert done.delivery is Delivery.UNCERTAIN
    assert port.closed.is_set()
    assert b"GO" not in port.queue + b"".join(later.queue for later in opened[1:])
    link.close()
