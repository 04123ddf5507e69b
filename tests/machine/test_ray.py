"""`--engine ray`: the rows of one machine, byte for byte, from a local cluster of two workers."""

from __future__ import annotations

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sorter.cli.app import app
from sorter.distributed import urls
from sorter.domain import Taxonomy
from tests.support.corpus import write_bad
from tests.support.tiny import colour_of, paint, taxonomy3

TAXONOMY: Taxonomy = taxonomy3()

Words = list[str | Path]


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    """A cluster of two cores, which commands in other processes find by RAY_ADDRESS."""
    ray = pytest.importorskip("ray", reason="the package ray is missing: pip install 'sorter[ray]'")
    pytest.importorskip("pyarrow", reason="the package pyarrow is missing")
    before = signal.getsignal(signal.SIGTERM)  # Ray puts its own there
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        started = ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False
        )
        yield started.address_info["address"]
        ray.shutdown()
    signal.signal(signal.SIGTERM, before)


def run(*words: str | Path, at: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    environment.pop("RAY_ADDRESS", None)
    if at is not None:
        environment["RAY_ADDRESS"] = at
    return subprocess.run(
        [sys.executable, "-m", "sorter", "classify", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env=environment,
    )


def without_times(file: Path) -> bytes:
    """A CSV's bytes with the cell `ms` emptied: no two runs take the same time."""
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    place = rows[0].index("ms")
    lines = [[*row[:place], "", *row[place + 1 :]] for row in rows]
    return "\n".join("\x1f".join(row) for row in lines).encode()


def paint_some(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        size = (40 + i, 48)
        paint(
            folder / f"p{i:03d}.png", colour_of(TAXONOMY, i % len(TAXONOMY.categories)), size=size
        )


def test_same_bytes_as_one_machine_bad_files_and_all(
    tmp_path: Path, bundle: Path, two_workers: str
) -> None:
    folder = tmp_path / "in"
    paint_some(folder, 60)
    write_bad(folder)
    done = {}
    for name, engine in (("alone", []), ("ray", ["--engine", "ray"])):
        words: Words = ["--csv", tmp_path / f"{name}.csv", "--html", tmp_path / f"{name}.html"]
        words += ["--parquet", tmp_path / f"{name}.parquet", "--sort-into", tmp_path / name]
        done[name] = run(folder, "--model", bundle, *engine, *words, at=two_workers)
    assert done["alone"].returncode == done["ray"].returncode == 1, done["ray"].stderr
    assert "Traceback" not in done["ray"].stderr
    assert (tmp_path / "ray.html").read_bytes() == (tmp_path / "alone.html").read_bytes()
    assert (tmp_path / "ray.html").read_text(encoding="utf-8").count("data:image/jpeg") >= 60
    manifests = [(tmp_path / name / "filed.csv").read_bytes() for name in ("ray", "alone")]
    assert manifests[0] == manifests[1]
    expected = without_times(tmp_path / "alone.csv")
    assert expected.count(b"\n") > 60
    assert without_times(tmp_path / "ray.csv") == expected

    from pyarrow import parquet

    with (tmp_path / "ray.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = parquet.read_table(tmp_path / "ray.parquet").to_pylist()
    assert [r["status"] for r in table] == [r["status"] for r in rows]
    assert list(table[0]) == list(rows[0])
    good = [(t, r) for t, r in zip(table, rows, strict=True) if r["status"] == "sorted"]
    assert len(good) >= 60
    assert all(f"{t['confidence']:.4f}" == r["confidence"] for t, r in good)
    assert all(t["top"][0]["code"] == t["code"] for t, _ in good)


def test_resume_keeps_finished_rows(tmp_path: Path, bundle: Path, two_workers: str) -> None:
    folder, file = tmp_path / "in", tmp_path / "out.csv"
    paint_some(folder, 12)
    words: Words = [folder, "--model", bundle, "--csv", file]
    assert run(*words).returncode == 0
    whole = file.read_bytes().splitlines(keepends=True)
    marked = [line.replace(b",sorted,", b",unsure,") for line in whole[:1] + whole[4:9]]
    file.write_bytes(b"".join(marked))
    done = run(*words, "--engine", "ray", "--resume", at=two_workers)
    assert done.returncode == 0, done.stderr
    assert "5 kept" in done.stderr
    with file.open(encoding="utf-8", newline="") as stream:
        statuses = [row["status"] for row in csv.DictReader(stream)]
    assert statuses == ["sorted"] * 3 + ["unsure"] * 5 + ["sorted"] * 4


def test_pictures_behind_a_url(tmp_path: Path, bundle: Path, two_workers: str) -> None:
    """`file` is pyarrow's own, `local` goes through fsspec."""
    folder = tmp_path / "in"
    paint_some(folder / "deep", 5)
    paint_some(folder / ".hidden", 1)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    words: Words = ["--model", bundle, "--csv"]
    assert run(folder, *words, tmp_path / "here.csv").returncode == 1
    expected = without_times(tmp_path / "here.csv")
    assert run(f"file://{folder}", *words, tmp_path / "no.csv").returncode == 2
    for scheme in ("file", "local"):
        table: Words = [*words, tmp_path / f"{scheme}.csv", "--html", tmp_path / f"{scheme}.html"]
        done = run(f"{scheme}://{folder}", *table, "--engine", "ray", at=two_workers)
        assert done.returncode == 1, done.stderr
        found = without_times(tmp_path / f"{scheme}.csv")
        assert found.replace(f"{scheme}://".encode(), b"") == expected
    sheet = (tmp_path / "file.html").read_text(encoding="utf-8")
    assert sheet.count("data:image/jpeg") >= 5 and "file%3A" not in sheet


def test_a_killed_worker_costs_no_row(tmp_path: Path, bundle: Path, two_workers: str) -> None:
    folder = tmp_path / "in"
    paint_some(folder, 3)
    content = [path.read_bytes() for path in sorted(folder.iterdir())]
    for i in range(3, 3000):
        (folder / f"q{i:05d}.png").write_bytes(content[i % 3])
    paths = [str(path) for path in sorted(folder.iterdir())]
    words = ["classify", str(folder), "--model", str(bundle), "--engine", "ray", "--json", "-q"]
    with subprocess.Popen(
        [sys.executable, "-m", "sorter", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_ADDRESS": two_workers},
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        os.kill(actors_of_ours()[0], signal.SIGKILL)
        lines += process.stdout
    rows = [json.loads(line) for line in lines]
    assert process.returncode == 0
    assert [row["path"] for row in rows] == paths
    assert [row["code"] for row in rows] == ["0001", "0101", "0102"] * 1000


def actors_of_ours() -> list[int]:
    """The process ids of the cluster's actors: grandchildren of this process."""
    children: dict[int, list[int]] = {}
    names: dict[int, bytes] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                names[int(entry.name)] = (entry / "cmdline").read_bytes()
            except (OSError, ValueError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    below, found = [os.getpid()], []
    while below:
        pid = below.pop()
        below += children.get(pid, [])
        if b"MapWorker" in names.get(pid, b""):
            found.append(pid)
    return found


def test_an_address_keeps_its_text() -> None:
    kept = urls.address("s3://bucket//deep/a b.jpg?region=x")
    assert str(kept) == os.fspath(kept) == "s3://bucket//deep/a b.jpg?region=x"
    assert str(pickle.loads(pickle.dumps(kept))) == str(kept)
    assert urls.is_url("gs://b/c")
    assert not urls.is_url("C://b")
    assert not urls.is_url("folder/a://b.jpg")


def test_without_ray_it_says_how_to_install(tmp_path: Path, bundle: Path) -> None:
    paint_some(tmp_path / "in", 1)
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from sorter.cli.app import main\n"
        f"sys.argv = ['sorter', 'classify', {str(tmp_path / 'in')!r}, '--engine', 'ray']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 5
    assert "pip install 'sorter[ray]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_cluster_where_one_is_named(tmp_path: Path, bundle: Path, two_workers: str) -> None:
    paint_some(tmp_path / "in", 1)
    words: Words = [tmp_path / "in", "--model", bundle, "--engine", "ray"]
    done = run(*words, at="127.0.0.1:1")
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    assert "RAY_AUTH_MODE=token" in done.stderr.splitlines()[-1]


def test_help_names_the_engine() -> None:
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, ["classify", "--help"]).output
    assert "--engine" in shown
