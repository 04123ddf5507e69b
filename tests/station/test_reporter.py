"""What the station tells of itself: counters that move, a live file that is true."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sorter.actuator.link import Link
from sorter.actuator.plain import PlainLink
from sorter.actuator.serialport import Port
from sorter.errors import PortError
from sorter.station.health.metrics import DECLARED, Metrics
from sorter.station.health.reporter import Reporter
from sorter.station.health.status import StationStatus, live_path
from sorter.station.health.systemd import Notifier, Watchdog

FIRST = StationStatus(
    folder="/camera",
    mode="inotify",
    folder_problem="",
    link="connecting",
    link_ready=False,
    link_wanted=True,
    link_detail="",
    journal_problem="",
    model="abc",
    model_refused="",
    pending=0,
    unresolved=0,
    starts=3,
    listings=1,
)


class Run:
    """A reporter whose clock goes a second a beat."""

    def __init__(self, journal: Path) -> None:
        journal.write_bytes(bytes(4096))
        self.now = 0.0
        self.live = live_path(journal)
        self.metrics = journal.with_name("sorter.prom")
        self.reporter = Reporter(
            Notifier({}),
            Watchdog(),
            Metrics(strict=True),
            live=self.live,
            metrics=self.metrics,
            clock=lambda: self.now,
            wall=lambda: 1000.0 + self.now,
        )

    def see(self, *statuses: StationStatus) -> None:
        for status in statuses:
            self.now += 1.0
            self.reporter.beat(lambda: status)  # noqa: B023 - called at once.

    def value(self, name: str) -> float:
        lines = dict(line.rsplit(" ", 1) for line in self.metrics.read_text().splitlines())
        return float(lines[name])


def test_counters_follow_what_the_parts_say(tmp_path: Path) -> None:
    run = Run(tmp_path / "journal.sqlite")
    ready = replace(FIRST, link="idle", link_ready=True, link_boot="b1", listings=4)
    run.see(FIRST, ready, ready, replace(ready, link_boot="b2", listings=9))
    run.see(replace(FIRST, listings=9), replace(ready, link_boot="b2", listings=9))
    run.reporter.end()
    assert run.value("sorter_rescans_total") == 9
    assert run.value("sorter_link_connects_total") == 3
    assert run.value("sorter_restarts_total") == 2
    assert run.value("sorter_journal_bytes") == 4096
    assert run.value("sorter_journal_free_bytes") > 0


def test_every_plain_metric_has_a_value_once_a_station_ran(tmp_path: Path) -> None:
    run = Run(tmp_path / "journal.sqlite")
    run.see(FIRST)
    run.reporter.end()
    text = run.metrics.read_text()
    unset = [
        name
        for name, declared in DECLARED.items()
        if declared.kind == "gauge" and not re.search(rf"\n{name}[ {{]", text)
    ]
    # No item yet, and no broker to tell it.
    assert unset == [
        "sorter_last_item_time_seconds",
        "sorter_mqtt_connected",
        "sorter_mqtt_waiting_items",
    ]
    assert run.value('sorter_trouble{kind="device"}') == 1
    assert run.value('sorter_trouble{kind="jam"}') == 0


def test_the_live_file_says_what_is_wrong_and_goes_with_the_station(tmp_path: Path) -> None:
    run = Run(tmp_path / "journal.sqlite")
    run.see(FIRST, replace(FIRST, journal_problem="disk full"))
    live = json.loads(run.live.read_text())
    assert live["problems"] == ["journal: disk full", "device not ready: connecting"]
    assert live["at"] == 1002.0
    run.reporter.end()
    assert not run.live.exists()


def test_a_stuck_thread_costs_the_ping_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The link's, in the middle of opening a port that never answers."""
    stuck, let_go = threading.Event(), threading.Event()

    def open_for_ever() -> Port:
        stuck.set()
        let_go.wait()
        raise PortError("let go")

    now = 0.0
    watchdog = Watchdog(clock=lambda: now)
    for link in (
        Link(open_for_ever),
        PlainLink(open_for_ever),
    ):
        watchdog.register("link", 5.0)
        stuck.clear()
        let_go.clear()
        link.start("s1", 1, beat=lambda: watchdog.beat("link"))
        assert stuck.wait(30)
        assert watchdog.earned()
        now += 6.0
        assert watchdog.late() == ("link",)
        reporter = Reporter(Notifier({}), watchdog, Metrics(strict=True))
        reporter.beat(lambda: FIRST)
        assert "no sign of life from link" in caplog.text
        caplog.clear()
        let_go.set()
        while watchdog.late():
            time.sleep(0.01)
        link.close()
