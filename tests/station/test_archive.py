"""Where processed pictures go: nothing is overwritten, nothing of others removed, nothing torn."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sorter.domain import Decision, ItemState, Picture, Reason, Record, Status
from sorter.station.health.metrics import Metrics
from sorter.station.intake.reading import read_whole
from sorter.station.sinks.archive import Archive
from sorter.station.sinks.unsure import UnsureFolder
from tests.support.tiny import taxonomy3

TAXONOMY = taxonomy3()
CAN = TAXONOMY.categories[0]
UNSURE = Decision(Status.UNSURE, CAN, 0.4, TAXONOMY.bin_of(CAN), 0.5, Reason.LOW_CONFIDENCE)
FAULTS = 'sorter_faults_total{part="archive"}'


def record(path: Path, n: int, *, held: bool = True) -> Record:
    """An unsure item at `path`, its bytes in hand or not."""
    whole = read_whole(path)
    assert whole is not None
    data = whole.data if held else b""
    picture = Picture(path, data, whole.sha256, whole.identity, 1.0, 1_700_000_000.0 + n)
    bin_ = TAXONOMY.bin_of(CAN)
    return Record(picture, ItemState.DONE, n, UNSURE, bin_, "low_confidence", model="m", age_s=0.1)


def camera(folder: Path, name: str, data: bytes = b"picture") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


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
from sorter.station.sinks.archive import Archive
from sorter.station.health.metrics import Metrics
from tests.station.test_archive import FAULTS, record
told, meter = record(Path({str(path)!r}), 1), Metrics(strict=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
Archive(Path({str(elsewhere)!r}), meter=meter)(told)
assert FAULTS + " 1" in meter.text()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.stat().st_size == 300_000
    assert [p for p in elsewhere.rglob("*") if p.is_file()] == []


def test_the_ring_forgets_its_oldest_and_nothing_of_others(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    mine = [camera(folder, f"holiday{i}.jpg") for i in range(5)]
    ring = UnsureFolder(folder, 2, meter=Metrics(strict=True))
    for n in (9, 10, 11):
        ring(record(camera(tmp_path / "camera", f"{n}.JPG", b"%d" % n), n))
    kept = sorted(path.name for path in folder.iterdir() if path not in mine)
    assert kept == ["20231114T221330Z_n10_0001_40.jpg", "20231114T221331Z_n11_0001_40.jpg"]
    assert all(path.exists() for path in mine)


def test_the_ring_keeps_bursts_too(tmp_path: Path) -> None:
    """Their bytes are not held while the group is gathered; they are read again."""
    ring = UnsureFolder(tmp_path / "ring", 5, meter=Metrics(strict=True))
    told = record(camera(tmp_path / "camera", "a.jpg", b"first"), 1, held=False)
    ring(told)
    assert [path.read_bytes() for path in (tmp_path / "ring").iterdir()] == [b"first"]
    changed = replace(told.picture, sha256=hashlib.sha256(b"else").hexdigest())
    ring(replace(told, n=2, picture=changed))
    assert len(list((tmp_path / "ring").iterdir())) == 1


def test_a_class_code_is_never_a_path(tmp_path: Path) -> None:
    ring = UnsureFolder(tmp_path / "ring", 5, meter=Metrics(strict=True))
    told = record(camera(tmp_path / "camera", "a.jpg"), 1)
    assert told.decision is not None
    odd = replace(told.decision, label=replace(CAN, code="../../x"))
    ring(replace(told, decision=odd))
    assert [p.name for p in (tmp_path / "ring").iterdir()] == ["20231114T221321Z_n1_.._.._x_40.jpg"]
