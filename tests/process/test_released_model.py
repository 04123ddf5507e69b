"""The released model on the real pictures: the figures a user was promised, and the whole station.

Floors, not choices: the validation split is read here as a user would, and tunes nothing.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from sorter.taxonomy import default_taxonomy
from tests.support.corpus import write_bad
from tests.support.processes import SORTER, process
from tests.support.waiting import wait_for


def classify(folder: Path, out: Path) -> tuple[int, str]:
    words = [*SORTER, "classify", str(folder), "--csv", str(out), "--quiet"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    return done.returncode, done.stderr


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def val(data_root: Path) -> Path:
    return data_root / "garbage_26x100" / "val"


@pytest.fixture(scope="module")
def rows(val: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    out = tmp_path_factory.mktemp("rows") / "out.csv"
    code, said = classify(val, out)
    assert code == 0, said
    return rows_of(out)


def truth(path: str) -> str:
    """The class code of a picture's folder."""
    name = Path(path).parent.name
    items = default_taxonomy().categories
    return next(i.code for i in items if name in (i.code, i.name, i.name_zh))


def test_validation_labels_and_bins(rows: list[dict[str, str]]) -> None:
    taxonomy = default_taxonomy()
    bins = dict(zip((i.code for i in taxonomy.categories), taxonomy.bin_indices(), strict=True))
    names = [b.name for b in taxonomy.bins]
    labels = sum(row["code"] == truth(row["path"]) for row in rows)
    placed = sum(row["bin"] == names[bins[truth(row["path"])]] for row in rows)
    assert len(rows) == 130
    assert labels >= 125
    assert placed >= 128
    wrong = [r for r in rows if r["status"] == "sorted"]
    assert all(r["bin"] == names[bins[truth(r["path"])]] for r in wrong)


def test_bad_files_beside_them_change_no_row(
    val: Path, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    folder = tmp_path / "val"
    shutil.copytree(val, folder)
    bad = write_bad(folder)
    code, said = classify(folder, tmp_path / "out.csv")
    assert code == 1
    assert "Traceback" not in said
    found = {row["path"]: row for row in rows_of(tmp_path / "out.csv")}

    def kept(row: dict[str, str]) -> dict[str, str]:
        return {k: v for k, v in row.items() if k not in ("path", "ms")}

    for row in rows:
        twin = found.pop(row["path"].replace(str(val), str(folder)))
        assert kept(twin) == kept(row)
    assert len(found) == len(bad) == 10  # a row for each of them
    for file in bad:
        row = found[str(folder / file.name).replace("\n", "\\n")]
        assert (row["status"] == "error") == bool(row["error"])
        assert not file.row or file.says in row["error"]


def test_fifty_pictures_one_by_one(rows: list[dict[str, str]], tmp_path: Path) -> None:
    chosen = [row for row in rows if row["status"] == "sorted"][::2][:50]
    assert len(chosen) == 50
    taxonomy = default_taxonomy()
    number = {b.name: b.number for b in taxonomy.bins}
    camera, port, state = tmp_path / "camera", tmp_path / "gate", tmp_path / "journal.sqlite"
    camera.mkdir()
    simulate = ["actuator", "simulate", "--link", str(port), "--log", str(tmp_path / "moves.jsonl")]
    watch = ["watch", str(camera), "--serial", str(port), "--journal", str(state)]
    log = tmp_path / "log.txt"
    with process(*simulate, "--move-ms", "50", log=log) as gate:
        wait_for(port.exists)
        with process(*watch, log=log) as station:
            wait_for(lambda: "device ready" in log.read_text(), told=log.read_text)
            for i, row in enumerate(chosen):
                part = camera / f".{i:02d}.part"
                shutil.copyfile(row["path"], part)
                part.rename(camera / f"{i:02d}.jpg")
                time.sleep(0.15)
            wait_for(lambda: counts(state).get("DONE", 0) == 50, told=log.read_text)
            for one in (station, gate):
                one.send_signal(signal.SIGINT)
                assert one.wait(20) == 0, log.read_text()
    assert counts(state) == {"DONE": 50}
    lines = (tmp_path / "moves.jsonl").read_text().splitlines()
    moves = {e["n"]: e["bin"] for e in map(json.loads, lines) if e["event"] == "move"}
    with contextlib.closing(sqlite3.connect(state)) as db:
        names = dict(db.execute("SELECT n, path FROM items"))
    assert len(moves) == 50
    for n, path in names.items():
        assert moves[n] == number[chosen[int(Path(os.fsdecode(path)).stem)]["bin"]]


def counts(state: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(state, timeout=5)) as db:
        return dict(db.execute("SELECT state, count(*) FROM items GROUP BY state"))
