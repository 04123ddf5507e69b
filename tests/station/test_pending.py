"""Who is read first when more comes than can be handled."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from sorter.domain import Identity
from sorter.station.intake.pending import MAX_HINTED, MAX_LISTED, Entry, Pending
from sorter.station.intake.watcher import Watcher


def entry(name: str, arrived: float, *, backlog: bool = False, hinted: bool = False) -> Entry:
    identity = Identity(inode=1, size=1, mtime_ns=1, ctime_ns=1)
    return Entry(name, identity, arrived, arrived, closed=True, backlog=backlog, hinted=hinted)


def table(*entries: Entry) -> Pending:
    made = Pending(settle_s=0.1, open_settle_s=1.0, reject_after_s=10.0, fresh_s=5.0)
    for one in entries:
        assert made.note(one)
    return made


def first(made: Pending, now: float) -> str:
    found, _ = made.next_due(now)
    assert found is not None
    return found.name


def test_the_oldest_that_can_still_be_in_time_is_first() -> None:
    made = table(entry("old", 0.0), entry("edge", 5.2), entry("new", 7.0))
    assert first(made, 10.0) == "edge"
    made.took(0.3)  # As long as that, and the one at the edge would be too old in the end.
    assert first(made, 10.0) == "new"
    made.drop("edge")
    made.drop("new")
    assert first(made, 10.0) == "old"


def test_a_full_table_says_so_and_keeps_room_for_events() -> None:
    made = table(*(entry(str(i), 0.0) for i in range(MAX_LISTED)))
    assert made.is_full(hinted=False)
    assert not made.note(entry("listed", 0.0))
    assert not made.is_full(hinted=True)
    for i in range(MAX_LISTED, MAX_HINTED):
        assert made.note(entry(str(i), 0.0, hinted=True))
    assert made.is_full(hinted=True)


@pytest.mark.waits
def test_a_slow_consumer_of_a_flood_still_gets_pictures_in_time(tmp_path: Path) -> None:
    """Five a second can be handled and twenty come: without spare time all would come too late."""
    fresh_s, hold_s, seconds = 1.0, 0.2, 4.0
    watcher = Watcher(tmp_path, recorded=lambda *_: False, settle_s=0.05, fresh_s=fresh_s)
    watcher.begin()

    def flood() -> None:
        for i in range(int(20 * seconds)):
            (tmp_path / f"{i}.jpg").write_bytes(b"%d" % i)
            time.sleep(0.05)

    camera = threading.Thread(target=flood)
    camera.start()
    until, in_time = time.monotonic() + seconds, 0
    for picture in watcher.pictures(idle_s=0.05):
        if time.monotonic() > until:
            break
        if picture is not None:
            time.sleep(hold_s)
            in_time += time.monotonic() - picture.arrived <= fresh_s
    camera.join()
    watcher.close()
    assert in_time >= seconds / hold_s / 2
