"""The three paths of a newcomer, each one script that is run here as it is written."""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.booted import boot
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


def test_from_a_box_with_a_simulated_device_to_a_running_unit(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own folders are for one user only
        if os.access(folder, os.W_OK) and folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    with boot(tmp_path) as machine:
        done = machine.run("sh /opt/checkout/tests/paths/box.sh", check=False, timeout_s=240)
        log = machine.run("journalctl -u sorter-watch -o cat --no-pager -n 30", check=False).stdout
        assert done.returncode == 0, done.stdout + done.stderr + log
        rows = list(csv.DictReader(done.stdout.splitlines()[-4:]))
        assert [row["state"] for row in rows] == ["DONE"] * 3, done.stdout
        moves = machine.run("cat /tmp/moves.jsonl").stdout
        assert moves.count('"event": "move"') == 3, moves


@pytest.mark.timeout(900)  # a minute on two free cores
def test_from_corrected_pictures_to_refreshed_weights(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the training extra is not installed")
    done = _run("refresh.sh", tmp_path / "work", env=with_sorter(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr[-2000:]
    rows = _rows(tmp_path / "work" / "out.csv")
    assert len(rows) == 20
    right = sum(row["code"] == Path(row["path"]).parent.name for row in rows)
    assert right >= 18
