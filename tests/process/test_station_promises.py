"""The promises that a crash would break: never twice, never lost, durable before it is sent."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from sorter.actuator.simulator.eeprom import Kept
from tests.soak.order import watch
from tests.soak.station import (
    Tally,
    deliver,
    gate,
    soak,
    start,
    states,
    stop,
    wait_for_all,
    wait_ready,
)


@pytest.mark.soak
def test_kill_9_at_random_instants() -> None:
    tally = soak("kill", runs=12, items=20, seed=20261125)
    assert tally.broken == []
    assert tally.kills >= 12
    assert tally.states["DONE"] > 30  # It did work between the kills.


@pytest.mark.soak
def test_sigterm_at_random_instants() -> None:
    tally = soak("sigterm", runs=4, items=12, seed=20261125)
    assert tally.broken == []


def test_killed_in_mid_movement_then_a_spare_that_knows_the_session(tmp_path: Path) -> None:
    """The spare never started that number, the first device did: nobody can say, so it is said."""
    (tmp_path / "camera").mkdir()
    port, log = tmp_path / "gate", tmp_path / "first.jsonl"
    with gate(log, move_s=5.0, link=port):
        station = start(tmp_path, str(port))
        wait_ready(tmp_path)
        deliver(tmp_path, ["p0"], random.Random(1))
        until = time.monotonic() + 20
        while '"move"' not in log.read_text() and time.monotonic() < until:
            time.sleep(0.01)
        station.kill()
        station.wait()
    assert '"move"' in log.read_text()
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "journal.sqlite")) as db:
        (sid,) = db.execute("SELECT value FROM meta WHERE key = 'sid'").fetchone()
    spare = Kept()
    spare.save(sid, 0)
    with gate(tmp_path / "spare.jsonl", link=port, memory=spare):
        station = start(tmp_path, str(port))
        wait_for_all(tmp_path, 1)
        tally = Tally()
        stop(station, tally)
    assert tally.broken == []
    assert states(tmp_path) == [(1, "p0.png", "UNCERTAIN")]
    assert '"move"' not in (tmp_path / "spare.jsonl").read_text()


@pytest.mark.parametrize(("synchronous", "durable"), [("FULL", True), ("NORMAL", False)])
def test_sent_is_on_the_disk_before_its_bytes_leave(
    synchronous: str, durable: bool, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs the Debian package strace")
    order = watch(tmp_path, 15, synchronous=synchronous)
    assert len(order) == 15
    assert all(order) is durable
