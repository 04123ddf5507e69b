"""The three paths of a newcomer, each one script that is run here as it is written."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from sorter.vision.bundle import open_bundle
from tests.support.booted import Booted, boot
from tests.support.pattern_camera import PatternCamera, pattern_camera
from tests.support.processes import ROOT, with_sorter

PATHS = ROOT / "tests" / "paths"


def _run(script: str, *words: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    line = ["sh", str(PATHS / script), *map(str, words)]
    return subprocess.run(line, cwd="/", env=env, capture_output=True, text=True, check=False)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_from_a_clean_machine_to_a_sorted_folder(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = _run("clean.sh", tmp_path / "new", env=env)
    if "No matching distribution" in done.stderr or "Connection" in done.stderr:
        pytest.skip("no package index answers here")
    assert done.returncode == 0, done.stderr[-2000:]
    rows = _rows(tmp_path / "new" / "out.csv")
    assert len(rows) == 12 and {row["status"] for row in rows} == {"sorted"}
    place = tmp_path / "new" / "sorted"
    filed = [p.relative_to(place) for p in place.rglob("*.jpg")]
    assert sorted(p.name for p in filed) == sorted(Path(row["path"]).name for row in rows)
    assert len({p.parts[0] for p in filed}) == len({row["bin"] for row in rows}) == 4


@pytest.mark.timeout(600)  # a minute and a half on two free cores
def test_from_a_box_with_nothing_to_a_camera_a_running_unit_and_a_first_report(
    tmp_path: Path,
) -> None:
    if shutil.which("motion") is None:
        pytest.skip("no motion: install the package motion")
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own folders are for one user only
        if os.access(folder, os.W_OK) and folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    items = [ROOT / "sorter/samples/pictures" / f"{n}.jpg" for n in ("can", "banana-peel")]
    with boot(tmp_path) as machine, pattern_camera() as camera:
        hand = threading.Thread(target=_lay, args=(machine, camera, items))
        hand.start()
        script = f"sh /opt/checkout/tests/paths/box.sh {camera.url} {len(items)}"
        done = machine.run(script, check=False, timeout_s=500)
        hand.join()
        log = "journalctl -u sorter-watch -u sorter-camera -o cat --no-pager -n 40"
        assert done.returncode == 0, (
            done.stdout + done.stderr + machine.run(log, check=False).stdout
        )
        # One picture an item, and none of the empty tray.
        rows = list(csv.DictReader(done.stdout.splitlines()[-1 - len(items) :]))
        assert [row["state"] for row in rows] == ["DONE"] * len(items), done.stdout
        moves = machine.run("cat /tmp/moves.jsonl").stdout
        assert moves.count('"event": "move"') == len(items), moves
        assert "sorter-camera" in done.stdout and "640 x 480 px" in done.stdout, done.stdout
        assert "</html>" in machine.run("cat /tmp/report.html").stdout
        modes = machine.run("stat -c '%G %a' /srv/sorter/camera/*.jpg").stdout.splitlines()
        assert modes == ["sorter 664"] * len(items)


def _lay(machine: Booted, camera: PatternCamera, items: Sequence[Path]) -> None:
    """Lay one item after the other before the camera, once motion knows the empty tray."""
    machine.wait_for("test -e /tmp/ready && echo yes", "yes", within_s=450)
    time.sleep(20)
    for item in items:
        camera.show(item)
        time.sleep(4)
        camera.show(None)
        time.sleep(4)


@pytest.mark.timeout(900)  # a minute on two free cores
def test_from_corrected_pictures_to_refreshed_weights(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the training extra is not installed")
    done = _run("refresh.sh", tmp_path / "work", env=with_sorter(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr[-2000:]
    rows = _rows(tmp_path / "work" / "out.csv")
    assert len(rows) == 20
    right = sum(row["code"] == Path(row["path"]).parent.name for row in rows)
    assert right >= 18


@pytest.mark.timeout(900)  # a minute on two free cores, most of it the training
def test_own_kinds_and_bins_to_a_running_station_as_the_page_says(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the training extra is not installed")
    for name in ("sorter", "train", "weights"):
        (tmp_path / name).symlink_to(ROOT / name)
    page = (ROOT / "train" / "OWN.md").read_text(encoding="utf-8")
    lines = "set -eu\n" + "".join(re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S))
    # A busy machine may need more than five seconds for a picture.
    env = {**with_sorter(tmp_path / "bin"), "SORTER_MAX_AGE": "60"}
    words = ["bash", "-c", lines]
    done = subprocess.run(
        words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    two = open_bundle(tmp_path / "two")
    assert [b.key for b in two.taxonomy.bins] == ["other", "danger"]
    assert {c.bin for c in two.taxonomy.categories} == {"other", "danger"}
    station = (tmp_path / "watch.log").read_text(encoding="utf-8")
    assert "n=1 DONE bin=1:metal 'Drink can'" in station, station
    assert "Metal" in done.stdout.rpartition("n=1 DONE")[2], done.stdout
