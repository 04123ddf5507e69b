"""A whole station on a real folder and journal, its model and its gate small: what it moves for."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorter.domain import Record
from sorter.errors import JournalError
from sorter.station.compose import open_station
from sorter.station.health.metrics import Metrics
from sorter.station.health.systemd import Notifier
from sorter.station.interfaces import Sink
from sorter.station.journal.opening import open_journal
from sorter.station.settings import HOLD, Settings
from sorter.station.sinks.archive import Archive
from tests.support.counting_gate import CountingGate
from tests.support.station_bench import Eye

PATIENCE_S = 60.0
pytestmark = pytest.mark.waits


class Place:
    """A camera's folder and a journal; stations come and go."""

    def __init__(self, home: Path) -> None:
        self.camera, self.journal = home / "camera", home / "state" / "journal.sqlite"
        self.camera.mkdir()

    def bring(self, *names: str) -> None:
        for name in names:
            part = self.camera / f".{name}"
            part.write_bytes(f"metal {name}".encode())
            part.rename(self.camera / name)

    def run(
        self,
        wanted: int,
        *,
        then: str = "",
        surplus_s: float = 0.0,
        archive: Path | None = None,
        act_on_backlog: bool = False,
    ) -> dict[str, str]:
        """A station until `wanted` records; `then` arrives after READY. Name → state."""
        told: list[Record] = []
        gate, ready = CountingGate(), threading.Event()

        class Voice(Notifier):
            def ready(self) -> None:
                ready.set()

        sinks: list[Sink] = [lambda record: told.append(record)]
        if archive is not None:
            sinks.append(Archive(archive, meter=Metrics()))
        with open_station(
            self.camera,
            journal=self.journal,
            model=Eye(),
            actuator=gate,
            settings=Settings(settle_s=0.05, unsure=HOLD, act_on_backlog=act_on_backlog),
            sinks=sinks,
            voice=Voice({}),
        ) as station:

            def watch() -> None:
                ready.wait(PATIENCE_S)
                if then:
                    self.bring(then)
                until = time.monotonic() + PATIENCE_S
                while len(told) < wanted and time.monotonic() < until:
                    time.sleep(0.02)
                time.sleep(surplus_s)
                station.stop()

            thread = threading.Thread(target=watch)
            thread.start()
            station.run()
            thread.join()
        by_n = {record.n: record for record in told}
        assert all(by_n[n].state == "DONE" for n in gate.moved)
        return {record.picture.path.name: str(record.state) for record in told}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_asked_to_it_acts_on_what_it_found_but_not_after_its_journal_was_lost(place: Place) -> None:
    place.bring("a.png", "b.png")
    assert place.run(2, act_on_backlog=True) == {"a.png": "DONE", "b.png": "DONE"}
    place.journal.write_bytes(b"\0" * 20_000)
    place.bring("c.png")
    # `c` may have moved too: nobody knows any more.
    found = dict.fromkeys(("a.png", "b.png", "c.png"), "EXPIRED")
    assert place.run(4, then="new.png", act_on_backlog=True) == {**found, "new.png": "DONE"}
    place.bring("d.png")
    assert place.run(1, act_on_backlog=True) == {"d.png": "EXPIRED"}
    for aside in place.journal.parent.glob("*.damaged-*"):
        aside.unlink()
    place.bring("e.png")
    assert place.run(1, act_on_backlog=True) == {"e.png": "DONE"}


def test_what_comes_while_the_station_starts_was_there_before_it(place: Place) -> None:
    place.bring("a.png")
    assert place.run(2, then="b.png") == {"a.png": "EXPIRED", "b.png": "DONE"}


def test_a_picture_that_could_not_be_read_has_its_record(place: Place) -> None:
    """Too long here, since root may read everything; then somebody mends its mode."""
    with (place.camera / "a.png").open("wb") as stream:
        stream.truncate(300 * 1024 * 1024)
    (place.camera / "a.png").chmod(0o600)
    assert place.run(1) == {"a.png": "REJECTED"}
    (place.camera / "a.png").chmod(0o644)
    assert place.run(1, then="b.png", surplus_s=0.5) == {"b.png": "DONE"}


def test_the_next_picture_of_one_name_follows_an_archived_one(place: Place, tmp_path: Path) -> None:
    assert place.run(1, then="lastsnap.png", archive=tmp_path / "archive") == {
        "lastsnap.png": "DONE"
    }
    assert list(place.camera.iterdir()) == []
    assert [p.name for p in (tmp_path / "archive").rglob("*.png")] == ["lastsnap.png"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk with no room at all."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = shutil.which("mount")
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if mount is None or os.geteuid() != 0 or subprocess.run(words, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        (folder / "filler").write_bytes(bytes(64 * 1024))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_at_start_is_called_that(full_disk: Path) -> None:
    with pytest.raises(JournalError, match="the disk is full; free some space"):
        open_journal(full_disk / "journal.sqlite")
