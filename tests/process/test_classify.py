"""`sorter classify` as a user runs it: a real process, a real model, good and bad files."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sorter.display.progress import Progress
from sorter.display.summary import BatchSummary
from sorter.domain import Taxonomy
from sorter.errors import FolderError
from sorter.text import columns
from tests.support.corpus import write_bad
from tests.support.tiny import colour_of, paint, taxonomy3

TAXONOMY: Taxonomy = taxonomy3()


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sorter", "classify", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "ms"} for row in rows]


def paint_some(folder: Path, count: int = 6) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        paint(folder / f"p{i:03d}.png", colour_of(TAXONOMY, i % len(TAXONOMY.categories)))
        for i in range(count)
    ]


def test_rows_in_path_order_each_in_its_bin(tmp_path: Path, bundle: Path) -> None:
    paint_some(tmp_path / "in")
    done = run(tmp_path / "in", "--model", bundle, "--csv", tmp_path / "out.csv", "--jobs", "4")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "out.csv")
    assert [Path(r["path"]).name for r in rows] == [f"p{i:03d}.png" for i in range(6)]
    assert [r["code"] for r in rows] == ["0001", "0101", "0102"] * 2
    assert {r["status"] for r in rows} == {"sorted"}
    assert [r["bin"] for r in rows[:3]] == ["Metal", "Rest", "Rest"]


def test_bad_files_get_their_row_and_change_no_other(tmp_path: Path, bundle: Path) -> None:
    folder = tmp_path / "in"
    paint_some(folder)
    before = run(folder, "--model", bundle, "--csv", tmp_path / "before.csv")
    assert before.returncode == 0
    bad = write_bad(folder)
    after = run(folder, "--model", bundle, "--csv", tmp_path / "after.csv")
    assert after.returncode == 1
    assert "Traceback" not in after.stderr
    rows = rows_of(tmp_path / "after.csv")
    good = [r for r in rows if Path(r["path"]).name.startswith("p0")]
    assert without_times(good) == without_times(rows_of(tmp_path / "before.csv"))
    named = {Path(r["path"]).name: r for r in rows}
    for file in bad:
        shown = file.name.replace("\n", "\\n")
        if file.row:
            assert named[shown]["status"] == "error", file
            assert file.says in named[shown]["error"], file
    assert named["new\\nline [red].jpg"]["status"] in ("sorted", "unsure")
    assert named["x.jpg"]["error"] == "a folder, not a picture"


def test_resume_keeps_finished_rows_and_tries_errors_again(tmp_path: Path, bundle: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out.csv"
    paint_some(folder)
    (folder / "p003.png").write_bytes(b"not yet")
    assert run(folder, "--model", bundle, "--csv", out).returncode == 1
    first = rows_of(out)
    paint(folder / "p003.png", colour_of(TAXONOMY, 0))
    # A finished row is kept as it stands, even where the file is another one by now.
    paint(folder / "p001.png", colour_of(TAXONOMY, 0))
    assert run(folder, "--model", bundle, "--csv", out, "--resume").returncode == 0
    second = rows_of(out)
    assert second[3]["status"] == "sorted"
    assert [second[i] for i in (0, 1, 2, 4, 5)] == [first[i] for i in (0, 1, 2, 4, 5)]


def test_a_kill_leaves_a_readable_csv_that_resume_completes(tmp_path: Path, bundle: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out.csv"
    paint_some(folder, 400)
    words = ["classify", str(folder), "--model", str(bundle), "--csv", str(out), "--jobs", "1"]
    process = subprocess.Popen([sys.executable, "-m", "sorter", *words], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until and (not out.exists() or out.read_bytes().count(b"\n") < 5):
        time.sleep(0.002)
    process.kill()
    process.wait()
    left = rows_of(out)
    assert all(len(row) == 13 and None not in row.values() for row in left)
    assert run(folder, "--model", bundle, "--csv", out, "--resume").returncode == 0
    assert len(rows_of(out)) == 400
    assert rows_of(out)[: len(left)] == left


def test_ctrl_c_ends_with_130_and_a_readable_csv(tmp_path: Path, bundle: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out.csv"
    paint_some(folder, 3)
    os.mkfifo(folder / "zz.jpg")
    many = [str(folder)] + [str(paint_some(tmp_path / f"more{i}", 60)[0].parent) for i in range(6)]
    words = ["classify", *many, "--model", str(bundle), "--csv", str(out), "--jobs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sorter", *words], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and (not out.exists() or out.read_bytes().count(b"\n") < 3):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    if process.returncode == 1:
        pytest.skip("done before the signal came")
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "the same command with --resume goes on" in said
    assert all(len(row) == 13 for row in rows_of(out))


def test_errors_are_named_and_an_empty_folder_is_said(tmp_path: Path, bundle: Path) -> None:
    paint_some(tmp_path / "in", 2)
    for number in range(12):
        (tmp_path / "in" / f"bad{number:02d}.jpg").write_bytes(b"no picture")
    words = ("--model", bundle, "--csv", tmp_path / "out.csv", "--excel")
    done = run(tmp_path / "in", *words)
    assert done.returncode == 1
    named = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(named) == 10 and "bad00.jpg: " in named[0]
    assert "and 2 more errors" in done.stderr
    assert (tmp_path / "out.csv").read_bytes().startswith(b"\xef\xbb\xbfpath,status,")
    (tmp_path / "empty").mkdir()
    nothing = run(tmp_path / "empty", "--model", bundle)
    assert (nothing.returncode, "holds no pictures" in nothing.stderr) == (1, True)


def test_json_lines_on_stdout(tmp_path: Path, bundle: Path) -> None:
    paint_some(tmp_path / "in", 3)
    done = run(tmp_path / "in", "--model", bundle, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["code"] for row in rows] == ["0001", "0101", "0102"]


def test_unsure_by_a_higher_threshold_and_by_a_unknown_picture(
    tmp_path: Path, bundle: Path
) -> None:
    paint(tmp_path / "grey.png", (128, 128, 128))
    done = run(tmp_path / "grey.png", "--model", bundle, "--csv", tmp_path / "o.csv")
    assert done.returncode == 0
    assert rows_of(tmp_path / "o.csv")[0]["status"] == "unsure"
    paint(tmp_path / "mixed.png", (255, 254, 0))  # nearly halfway between two classes
    for least, status in (("0", "sorted"), ("1", "unsure")):
        run(
            tmp_path / "mixed.png",
            *("--model", bundle, "--csv", tmp_path / "m.csv", "--min-confidence", least),
        )
        assert rows_of(tmp_path / "m.csv")[0]["status"] == status


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--model", "MISSING"], 3, "MISSING"),
        (["--min-confidence", "7"], 2, "min-confidence"),
        (["--resume"], 2, "--resume"),
        (["--csv", "/proc/none/out.csv"], 5, "/proc/none/out.csv"),
        (["--precision", "int4"], 2, "int4"),
    ],
)
def test_what_a_user_can_get_wrong(
    words: list[str], code: int, says: str, tmp_path: Path, bundle: Path
) -> None:
    paint_some(tmp_path / "in", 1)
    model = [] if "--model" in words else ["--model", str(bundle)]
    done = run(tmp_path / "in", *words, *model)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_is_not_there_stops_before_anything_is_written(
    tmp_path: Path, bundle: Path
) -> None:
    done = run(tmp_path / "nowhere", "--model", bundle, "--csv", tmp_path / "o.csv")
    assert done.returncode == 5
    assert "no such file or folder" in done.stderr
    assert not (tmp_path / "o.csv").exists()


def test_nothing_is_written_into_the_folder_of_pictures(tmp_path: Path, bundle: Path) -> None:
    folder = tmp_path / "in"
    paint_some(folder)
    before = sorted((p.name, p.stat().st_mtime_ns) for p in folder.iterdir())
    run(folder, "--model", bundle, "--csv", tmp_path / "o.csv")
    assert sorted((p.name, p.stat().st_mtime_ns) for p in folder.iterdir()) == before


def test_a_report_never_takes_a_pictures_name(tmp_path: Path, bundle: Path) -> None:
    """`--csv *.png` makes the shell's first picture the report's name."""
    pictures = paint_some(tmp_path / "in", 2)
    before = pictures[0].read_bytes()
    for option in ("--csv", "--jsonl", "--parquet", "--html"):
        done = run("--model", bundle, option, *pictures)
        assert done.returncode == 2
        assert "is a picture's name" in done.stderr and done.stderr.count("\n") == 1
    assert pictures[0].read_bytes() == before


def test_a_count_that_fails_leaves_the_error_to_the_work() -> None:
    """pytest turns what a thread raises into a failure."""

    def count() -> int:
        raise FolderError("cannot be listed")

    with Progress(count) as progress:
        progress.advance()
        for thread in threading.enumerate():
            if thread.name == "sorter-count":
                thread.join()


def test_chinese_names_keep_the_table_straight() -> None:
    lines = BatchSummary(TAXONOMY, lang="zh").table().splitlines()[:-1]
    assert any("金属" in line for line in lines)
    assert len({columns(line) for line in lines}) == 1
