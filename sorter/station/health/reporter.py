"""How the station is, told to whoever asks: systemd, `sorter status`, the metrics file, the log.

Owns the saying and its pace. Judges nothing: what is wrong comes in as a StationStatus.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sorter.errors import FolderError, SorterError
from sorter.files import write_whole
from sorter.station.health.alarms import Alarms
from sorter.station.health.metrics import Metrics
from sorter.station.health.status import LIVE, StationStatus, Trouble
from sorter.station.health.systemd import Notifier, Watchdog

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Between two looks at the status."""

WRITE_S = 10.0
"""Between two writings of the files while nothing changes."""

LOOP_LIMIT_S = 25.0
"""The loop's longest honest silence: an SD card that stalls in mid-commit."""

LOOP = "loop"


class Reporter:
    """Called often by the loop; speaks seldom. Never raises for a disk or a socket.

    `seen` is the last status it looked at; any thread may read it.
    """

    def __init__(
        self,
        voice: Notifier,
        watchdog: Watchdog,
        meter: Metrics,
        *,
        live: Path | None = None,
        metrics: Path | None = None,
        alarms: Alarms | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._voice, self._watchdog, self._meter = voice, watchdog, meter
        self._live, self._metrics, self._alarms = live, metrics, alarms
        self._clock, self._wall = clock, wall
        self._interval_s = voice.watchdog_interval_s()
        self._next_ping = self._next_look = self._next_write = 0.0
        self._said: StationStatus | None = None
        self.seen: StationStatus | None = None
        self._problems: list[str] = []
        self._late: tuple[str, ...] = ()
        self._metrics_failed = False
        watchdog.register(LOOP, LOOP_LIMIT_S)
        meter.gauge("sorter_start_time_seconds", wall())

    def enlist(self, name: str, limit_s: float) -> Callable[[], None]:
        """The heartbeat of a thread called `name`, due at least every `limit_s` from now on."""
        self._watchdog.register(name, limit_s)
        return lambda: self._watchdog.beat(name)

    def beat(self, status: Callable[[], StationStatus]) -> None:
        """The loop is alive; every now and then, look and tell."""
        now = self._clock()
        self._watchdog.beat(LOOP)
        if self._interval_s is not None and now >= self._next_ping and self._watchdog.earned():
            self._voice.ping()
            self._next_ping = now + self._interval_s / 2
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        seen = status()
        self._count(seen)
        self._note_problems(seen)
        if self._alarms is not None:
            self._alarms.look(seen)
        self._note_late()
        self._voice.status(seen.line())
        if now >= self._next_write or self._said is None or seen.line() != self._said.line():
            self._next_write = now + WRITE_S
            self._said = seen
            self._gauges(seen)
            self._write_live(seen)
            self._write_metrics()

    def end(self) -> None:
        """The station stops, and its live file must not look like a running one's."""
        self._write_metrics()
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.unlink()

    def _note_problems(self, seen: StationStatus) -> None:
        problems = seen.problems()
        for problem in problems:
            if problem not in self._problems:
                log.warning("%s", problem)
                if problem.startswith(("folder", "device")):
                    part = "folder" if problem.startswith("folder") else "link"
                    self._meter.count("sorter_faults_total", part=part)
        if self._problems and not problems:
            log.warning("all well again: %s", seen.line())
        self._problems = problems

    def _note_late(self) -> None:
        """Name the threads that cost the station its ping, before systemd ends it for them."""
        late = self._watchdog.late()
        if late and late != self._late:
            log.error("no sign of life from %s: no more pings for systemd", ", ".join(late))
        self._late = late

    def _count(self, seen: StationStatus) -> None:
        """What the parts count for themselves becomes counters here."""
        before, self.seen = self.seen, seen
        listings = seen.listings - (before.listings if before else 0)
        self._meter.count("sorter_rescans_total", max(0, listings))
        was_ready = before is not None and before.link_ready and before.link_boot == seen.link_boot
        if seen.link_ready and not was_ready:
            self._meter.count("sorter_link_connects_total")
        if before is None:
            self._meter.count("sorter_restarts_total", max(0, seen.starts - 1))

    def _gauges(self, seen: StationStatus) -> None:
        self._meter.gauge("sorter_link_ready", float(seen.link_ready))
        self._meter.gauge("sorter_folder_ready", float(not seen.folder_problem))
        troubles = seen.troubles()
        for kind in Trouble:
            self._meter.gauge("sorter_trouble", float(kind in troubles), kind=kind.value)
        self._meter.gauge("sorter_queue_items", float(seen.pending))
        self._meter.info("sorter_model_info", digest=seen.model)
        if self._live is not None:
            with contextlib.suppress(OSError):
                space = os.statvfs(self._live.parent)
                self._meter.gauge("sorter_journal_free_bytes", space.f_bavail * space.f_frsize)
                journal = self._live.with_name(self._live.name.removesuffix(LIVE))
                self._meter.gauge("sorter_journal_bytes", journal.stat().st_size)

    def _write_live(self, seen: StationStatus) -> None:
        if self._live is None:
            return
        text = json.dumps(
            {**asdict(seen), "problems": seen.problems(), "pid": os.getpid(), "at": self._wall()}
        )
        # Not synced: after a power cut no station runs, and the reader checks the process first.
        with contextlib.suppress(FolderError):
            write_whole(self._live, text, sync=False)

    def _write_metrics(self) -> None:
        if self._metrics is None:
            return
        self._meter.gauge("sorter_seen_time_seconds", self._wall())
        try:
            self._meter.write(self._metrics)
        except SorterError as error:
            if not self._metrics_failed:
                log.error("%s", error)
                self._meter.count("sorter_faults_total", part="metrics")
            self._metrics_failed = True
        else:
            self._metrics_failed = False
