"""A station is opened like a file: real parts, joined, and nothing left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from sorter.domain import ItemState, Record
from sorter.errors import JournalError, UsageError
from sorter.station.compose import open_station
from sorter.station.health.status import live_path
from sorter.station.health.systemd import Notifier
from sorter.station.reload import Weights
from sorter.station.settings import HOLD, Settings
from tests.support.station_bench import Eye

SETTINGS = Settings(settle_s=0.05, unsure=HOLD)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Camera(Notifier):
    """Delivers one picture once the station is ready."""

    def __init__(self, folder: Path) -> None:
        super().__init__({})
        self._folder = folder

    def ready(self) -> None:
        (self._folder / ".a.part").write_bytes(b"metal a")
        (self._folder / ".a.part").rename(self._folder / "a.png")


def test_a_station_opened_run_and_closed_leaves_nothing_open(tmp_path: Path) -> None:
    folder, journal = tmp_path / "camera", tmp_path / "journal.sqlite"
    folder.mkdir()
    told: list[Record] = []
    before, threads = descriptors(), threading.active_count()

    def stop_after_one(record: Record) -> None:
        assert live_path(journal).exists()
        told.append(record)
        station.stop()

    with open_station(
        folder,
        journal=journal,
        model=Eye(),
        actuator=None,
        settings=SETTINGS,
        sinks=[stop_after_one],
        weights=Weights(tmp_path, Eye),
        voice=Camera(folder),
    ) as station:
        station.run()
        assert station.seen is not None
        assert station.seen.folder == str(folder)
    assert [(record.n, record.state, record.picture.path.name) for record in told] == [
        (1, ItemState.DONE, "a.png")
    ]
    assert not live_path(journal).exists()
    until = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    assert (descriptors(), threading.active_count()) == (before, threads)


@pytest.mark.parametrize(
    ("settings", "journal", "error"),
    [(SETTINGS, "camera", JournalError), (Settings(unsure="gold"), "j.sqlite", UsageError)],
)
def test_what_cannot_be_opened_leaves_nothing_open(
    tmp_path: Path, settings: Settings, journal: str, error: type[Exception]
) -> None:
    (tmp_path / "camera").mkdir()
    before = descriptors()
    with (
        pytest.raises(error),
        open_station(
            tmp_path / "camera",
            journal=tmp_path / journal,
            model=Eye(),
            actuator=None,
            settings=settings,
        ),
    ):
        pytest.fail("it opened")
    assert descriptors() == before
