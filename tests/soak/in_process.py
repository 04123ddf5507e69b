"""A station in a thread of this process, its gate a counter: for soaks of what happens to files.

Owns the set-up that those soaks share. Where a process must die or a wire must fail, `site` and
`station` have the real ones.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sorter.domain import Record
from sorter.station.compose import open_station
from sorter.station.health.systemd import Notifier
from sorter.station.interfaces import Sink
from sorter.station.settings import Settings
from sorter.station.station import Station
from tests.soak.station_child import ColourModel
from tests.support.counting_gate import CountingGate


class _Told(Notifier):
    """Says when the station is READY."""

    def __init__(self) -> None:
        super().__init__({})
        self.is_ready = threading.Event()

    def ready(self) -> None:
        self.is_ready.set()


class Running:
    """A station at work on `home`/camera; `records` grows, `gate` counts."""

    def __init__(self, home: Path, gate: CountingGate | None = None) -> None:
        self.camera, self.journal = home / "camera", home / "state" / "journal.sqlite"
        self.gate = gate or CountingGate()
        self.records: list[Record] = []
        self.stations: list[Station] = []

    @property
    def listings(self) -> int:
        """How often it has listed the folder."""
        status = self.stations[0].seen if self.stations else None
        return status.listings if status else 0

    def moved(self) -> list[Record]:
        """The records that moved, once all have ended."""
        by_n = {record.n: record for record in self.records}
        return [by_n[n] for n in self.gate.moved]


@contextlib.contextmanager
def running(
    home: Path,
    settings: Settings,
    *,
    sinks: Sequence[Sink] = (),
    gate: CountingGate | None = None,
    **more: Any,
) -> Iterator[Running]:
    """From READY to the stop. `more` is `open_station`'s; records come after the other `sinks`."""
    run, told = Running(home, gate), _Told()

    def work() -> None:
        with open_station(
            run.camera,
            journal=run.journal,
            model=ColourModel(),
            actuator=run.gate,
            settings=settings,
            sinks=(*sinks, lambda record: run.records.append(record)),
            voice=told,
            synchronous="OFF",  # What survives a power cut is another soak's question.
            **more,
        ) as station:
            run.stations.append(station)
            station.run()

    thread = threading.Thread(target=work, name="station")
    thread.start()
    try:
        if not told.is_ready.wait(60):
            raise RuntimeError("the station did not become READY")
        yield run
    finally:
        for station in run.stations:
            station.stop()
        thread.join()


def wait(what: Callable[[], bool], patience_s: float) -> bool:
    """Until `what` or the end of patience; whether it came."""
    until = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
