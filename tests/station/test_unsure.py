"""The folder of unsure pictures: the newest stay, others' files too; its names are read back."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from sorter.audit import AUDITED, is_audited
from sorter.domain import Status
from sorter.station.health.metrics import Metrics
from sorter.station.settings import Settings
from sorter.station.sinks.unsure import UnsureFolder, UnsureName
from tests.support.recorded import CAN, UNSURE, camera, record


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    told = record(camera(tmp_path, "A.JPEG"), 7)
    name = UnsureName.of(told)
    assert str(name) == "20231114T221327Z_n7_0001_40.jpeg"
    assert UnsureName.read(str(name)) == name
    for other in ("holiday.jpg", str(name) + ".part", str(name).replace("n7", "n007")):
        assert UnsureName.read(other) is None


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


def test_audited_items_are_kept_beside_and_marked(tmp_path: Path) -> None:
    ring = UnsureFolder(tmp_path / "ring", 2, meter=Metrics(strict=True))
    for n in range(1, 9):
        told = record(camera(tmp_path / "camera", f"{n}.jpg", b"%d" % n), n)
        if n > 3:
            assert told.decision is not None
            sure = replace(told.decision, status=Status.SORTED, confidence=0.97)
            told = replace(told, decision=sure, reason=AUDITED if n % 2 else "")
        ring(told)
    names = sorted(filter(None, (UnsureName.read(p.name) for p in (tmp_path / "ring").iterdir())))
    assert [(name.n, name.audited) for name in names] == [
        (2, False),
        (3, False),
        (5, True),
        (7, True),
    ]


def test_sorted_items_are_audited_by_content_alone() -> None:
    sure = replace(UNSURE, status=Status.SORTED)
    digests = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(400)]
    chosen = [d for d in digests if Settings(audit=8).audits(d, sure)]
    assert 20 < len(chosen) < 90
    assert chosen == [d for d in digests if is_audited(d, 8)]
    assert not any(Settings(audit=1).audits(d, UNSURE) for d in digests)
    assert not any(Settings().audits(d, sure) for d in digests)
