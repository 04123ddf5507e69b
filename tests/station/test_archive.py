"""Where processed pictures go: nothing is overwritten, nothing of others removed, nothing torn."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorter.station.health.metrics import Metrics
from sorter.station.sinks.archive import CLAIM, Archive, give_back_claims
from tests.support.recorded import camera, record

FAULTS = 'sorter_faults_total{part="archive"}'


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write to")
    with tempfile.TemporaryDirectory(dir=shm) as name:
        yield Path(name)


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive", meter=Metrics(strict=True))
    for data in (b"one", b"two", b"three"):
        archive(record(camera(tmp_path / "camera", "a.jpg", data), 1))
    day = tmp_path / "archive" / "2023-11-14" / "metal"
    kept = {path.name: path.read_bytes() for path in day.iterdir()}
    assert kept == {"a.jpg": b"one", "a-1.jpg": b"two", "a-2.jpg": b"three"}
    assert not any((tmp_path / "camera").iterdir())


def test_a_picture_that_changed_meanwhile_stays(tmp_path: Path) -> None:
    told = record(camera(tmp_path / "camera", "a.jpg"), 1)
    camera(tmp_path / "camera", "a.jpg", b"another one by now")
    Archive(tmp_path / "archive", meter=Metrics(strict=True))(told)
    assert (tmp_path / "camera" / "a.jpg").read_bytes() == b"another one by now"


@pytest.mark.parametrize("keeps_its_time", [True, False])
def test_the_next_picture_under_the_same_name_is_not_taken_for_the_old(
    tmp_path: Path, keeps_its_time: bool
) -> None:
    """Of the same length too, in place (the same inode), with the old mtime put back."""
    path = camera(tmp_path / "camera", "lastsnap.jpg", b"one")
    told, status = record(path, 1), path.stat()
    with path.open("r+b") as stream:
        stream.write(b"two")
    if keeps_its_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    Archive(tmp_path / "archive", meter=Metrics(strict=True))(told)
    assert [p.name for p in (tmp_path / "camera").iterdir()] == ["lastsnap.jpg"]
    assert path.read_bytes() == b"two"
    assert not (tmp_path / "archive").exists()


def test_a_picture_that_was_caught_gets_a_free_name_if_a_newer_one_came(tmp_path: Path) -> None:
    """A station that was killed with the second picture in its hands; the third has its name."""
    folder = tmp_path / "camera"
    camera(folder, CLAIM + "lastsnap.jpg", b"two")
    told = record(camera(folder, "lastsnap.jpg", b"one"), 1)
    Archive(tmp_path / "archive", meter=Metrics(strict=True))(told)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"lastsnap-1.jpg": b"two"}


def test_a_killed_station_gives_back_what_it_held_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "camera"
    camera(folder, CLAIM + "a.jpg", b"a")
    camera(folder / "day", CLAIM + "b.jpg", b"b")
    give_back_claims(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["a.jpg", "day"]
    give_back_claims(folder, recursive=True)
    assert [p.name for p in (folder / "day").iterdir()] == ["b.jpg"]
    give_back_claims(tmp_path / "nowhere")


@pytest.mark.parametrize("relative", [True, False])
def test_of_a_link_the_bytes_are_filed(tmp_path: Path, relative: bool) -> None:
    real = camera(tmp_path / "disk", "real.jpg", b"bytes")
    link = tmp_path / "camera" / "a.jpg"
    link.parent.mkdir()
    link.symlink_to(Path("../disk/real.jpg") if relative else real)
    Archive(tmp_path / "archive", meter=Metrics(strict=True))(record(link, 1))
    (filed,) = (tmp_path / "archive" / "2023-11-14" / "metal").iterdir()
    assert not filed.is_symlink()
    assert (filed.name, filed.read_bytes(), real.read_bytes()) == ("a.jpg", b"bytes", b"bytes")
    assert not any(link.parent.iterdir())


def test_the_longest_name_on_either_file_system(tmp_path: Path, elsewhere: Path) -> None:
    """Of letters of several bytes too, and a second one of that name."""
    for archive in (tmp_path / "archive", elsewhere):
        for name in ("a" * 251 + ".jpg", "\u00e9" * 125 + "x.jpg"):
            for data in (b"one", b"two"):
                path = camera(tmp_path / "camera", name, data)
                Archive(archive, meter=Metrics(strict=True))(record(path, 1))
        kept = [p.read_bytes() for p in (archive / "2023-11-14" / "metal").iterdir()]
        assert sorted(kept) == [b"one", b"one", b"two", b"two"]
    assert not any((tmp_path / "camera").iterdir())


def test_across_file_systems_with_its_time_and_a_free_name(tmp_path: Path, elsewhere: Path) -> None:
    archive = Archive(elsewhere, meter=Metrics(strict=True))
    for data in (b"one", b"two"):
        path = camera(tmp_path / "camera", "a.jpg", data)
        os.utime(path, (1_600_000_000, 1_600_000_000))
        archive(record(path, 1))
    day = elsewhere / "2023-11-14" / "metal"
    kept = {p.name: (p.read_bytes(), p.stat().st_mtime) for p in day.iterdir()}
    assert kept == {"a.jpg": (b"one", 1_600_000_000), "a-1.jpg": (b"two", 1_600_000_000)}
    assert not any((tmp_path / "camera").iterdir())


@pytest.mark.process
def test_a_copy_that_fails_half_way_leaves_the_original_and_no_half(
    tmp_path: Path, elsewhere: Path
) -> None:
    """A file-size limit of another process stands in for a disk that fills up in mid-copy."""
    path = camera(tmp_path / "camera", "a.jpg", bytes(300_000))
    code = f"""
import resource, signal
from pathlib import Path
from sorter.station.sinks.archive import CLAIM, Archive, give_back_claims
from sorter.station.health.metrics import Metrics
from tests.station.test_archive import FAULTS
from tests.support.recorded import record
told, meter = record(Path({str(path)!r}), 1), Metrics(strict=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
Archive(Path({str(elsewhere)!r}), meter=meter)(told)
assert FAULTS + " 1" in meter.text()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.stat().st_size == 300_000
    assert [p for p in elsewhere.rglob("*") if p.is_file()] == []
